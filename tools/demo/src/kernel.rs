// SPDX-License-Identifier: GPL-2.0
//! Which kernel this is, and whose VFIO modules it has loaded.

use anyhow::{ensure, Context, Result};
use vfio_selftests::{module, sysfs};

use crate::report::say;

/// Prints the versions, and makes sure that the modules are those we were
/// asked to show: `IMPL` in the environment, if it is set.
pub(crate) fn look() -> Result<()> {
    let name = rustix::system::uname();
    say!(
        "{} {} on {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy(),
    );
    let symbols = sysfs::read("/proc/kallsyms")?;
    let core = look_at(&symbols, module::CORE)?;
    let type1 = look_at(&symbols, module::TYPE1)?;
    if let Ok(wanted) = std::env::var("IMPL") {
        let loaded = match (core, type1) {
            (Language::C, Language::C) => "c",
            (Language::Rust, Language::Rust) => "rust",
            (Language::Rust, Language::C) => "rust-core",
            (Language::C, Language::Rust) => "rust-type1",
        };
        ensure!(
            loaded == wanted,
            "asked for IMPL={wanted}, but {loaded} is loaded"
        );
    }
    Ok(())
}

/// What a module is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    C,
    Rust,
}

fn look_at(symbols: &str, name: &str) -> Result<Language> {
    let version = sysfs::read(format!("/sys/module/{name}/version"))
        .with_context(|| format!("is {name}.ko loaded?"))?;
    let rust = module::rust_symbols(symbols, name);
    let (language, text) = match rust {
        0 => (Language::C, "the kernel's own, in C".to_owned()),
        _ => (
            Language::Rust,
            format!("ours, in Rust ({rust} Rust symbols)"),
        ),
    };
    say!("{:<20} version {version}: {text}", format!("{name}.ko"));
    Ok(language)
}

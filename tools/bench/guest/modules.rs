// SPDX-License-Identifier: GPL-2.0
//! Exchanges the modules below the running program.

use std::{
    fs, io,
    os::unix::fs::symlink,
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, Context, Result};
use rustix::io::Errno;
use vfio_bench::By;
use vfio_selftests::module;

use crate::fixture;

/// What is loaded, in this order. Those that others need first are the same in
/// both cases, and so are the drivers on top.
const MODULES: [&str; 6] = [
    "irqbypass",
    "iommufd",
    module::CORE,
    module::TYPE1,
    "vfio-pci-core",
    "vfio-pci",
];

/// Loads VFIO: the kernel's, or ours.
pub(crate) fn load(by: By) -> Result<()> {
    let whose = match by {
        By::C => "c",
        By::Rust | By::Iommufd | By::Floor => "rust",
    };
    for twin in [module::CORE, module::TYPE1] {
        let link = module::file(twin);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        symlink(format!("{whose}/{twin}.ko"), &link)
            .with_context(|| format!("link {}", link.display()))?;
    }
    MODULES
        .iter()
        // What a kernel has built in is no file.
        .filter(|name| module::file(name).exists())
        .try_for_each(|name| module::load(name, ""))
}

/// Unloads all of it. Devices lose their drivers by that.
pub(crate) fn unload() -> Result<()> {
    let names = [fixture::MODULE]
        .into_iter()
        .chain(MODULES.into_iter().rev());
    for name in names {
        let name = name.replace('-', "_");
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match module::unload(&name) {
                // Not all was loaded.
                Ok(()) | Err(Errno::NOENT) => break,
                // Who has used it may still be going.
                Err(Errno::WOULDBLOCK | Errno::BUSY) if Instant::now() < end => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(error) => bail!("unload {name}: {error}"),
            }
        }
    }
    Ok(())
}

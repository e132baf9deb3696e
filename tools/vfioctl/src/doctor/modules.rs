// SPDX-License-Identifier: GPL-2.0
//! The modules: whether they are loaded, and whose they are.

use vfio_selftests::module::{rust_symbols, CORE, TYPE1};

use super::Check;
use crate::root::Root;

const TOPIC: &str = "modules";

/// Checks those of VFIO.
pub(super) fn checks(root: &Root) -> Vec<Check> {
    if !root.exists(format!("/sys/module/{CORE}")) {
        return vec![Check::ok(
            TOPIC,
            "VFIO is not loaded; it will be when a device is bound to it.",
        )];
    }
    let symbols = root.read("/proc/kallsyms").unwrap_or_default();
    [CORE, TYPE1]
        .iter()
        .map(|name| module(root, &symbols, name))
        .collect()
}

fn module(root: &Root, symbols: &str, name: &str) -> Check {
    let dir = format!("/sys/module/{name}");
    if !root.exists(&dir) {
        return Check::warning(
            TOPIC,
            format!("{name} is not loaded: programs that use containers need it."),
            format!("modprobe {name}"),
        );
    }
    let tagged = format!("[{name}]");
    let whose = if !root.exists(format!("{dir}/initstate")) {
        "built into the kernel"
    } else if !symbols.lines().any(|line| line.ends_with(&tagged)) {
        "in C or in Rust: /proc/kallsyms does not tell"
    } else if rust_symbols(symbols, name) > 0 {
        "in Rust, of rust_vfio"
    } else {
        "the kernel's own, in C"
    };
    let of = |file: &str| {
        root.read(format!("{dir}/{file}"))
            .unwrap_or_else(|| "unknown".into())
    };
    Check::ok(
        TOPIC,
        format!(
            "{name} is {whose}, version {}, source {}.",
            of("version"),
            of("srcversion")
        ),
    )
}

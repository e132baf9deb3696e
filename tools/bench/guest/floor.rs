// SPDX-License-Identifier: GPL-2.0
//! The floor: what the kernel functions take that no backend can do without,
//! measured by a kernel module of the benchmark's own.

use std::{fs, io::Write};

use anyhow::{Context, Result};
use vfio_selftests::{memory::Memory, module, pci, sysfs, target::Target};

use crate::stage;

const MODULE: &str = "vfio_floor";
const FILE: &str = "/sys/kernel/debug/vfio_floor/measure";

/// The module, loaded.
pub(crate) struct Floor {
    _private: (),
}

impl Floor {
    /// Loads it with a device of its own, which must have no driver.
    pub(crate) fn open() -> Result<Self> {
        let device = stage::lone(pci::EDU)?;
        module::load(MODULE, &format!("device={}", device.name()))?;
        Ok(Self { _private: () })
    }

    /// What mapping the first `len` bytes of `memory` takes at least, and
    /// unmapping them.
    pub(crate) fn measure(&self, memory: &Memory, len: usize) -> Result<[u64; 2]> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(FILE)
            .context("open the floor's file")?;
        // In one piece, which `write!` does not promise.
        let request = format!("{:x} {len:x}", memory.address());
        file.write_all(request.as_bytes())
            .context("measure the floor")?;
        let text = sysfs::read(FILE)?;
        let (map, unmap) = text
            .split_once(' ')
            .with_context(|| format!("the floor says {text:?}"))?;
        Ok([map.parse()?, unmap.parse()?])
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        if let Err(error) = module::unload(MODULE) {
            eprintln!("unload {MODULE}: {error}");
        }
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Emulated devices: those of the kernel's samples, of which `mtty`, a serial
//! port, is always there.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{
    sysfs,
    target::{bus_device, wait_for, Target},
};

/// Where the sample offers its types of devices.
pub const MTTY: &str = "/sys/class/mdev_bus/mtty/mdev_supported_types";

/// An emulated device, removed when dropped, which waits until nobody has it
/// open; in a panic it is left alone, because what panicked may have it open.
#[derive(Debug)]
pub struct Mdev {
    uuid: String,
    sysfs: PathBuf,
}

impl Target for Mdev {
    fn name(&self) -> &str {
        &self.uuid
    }

    fn sysfs(&self) -> &Path {
        &self.sysfs
    }
}

impl Mdev {
    /// Whether the sample is loaded.
    pub fn available() -> bool {
        Path::new(MTTY).exists()
    }

    /// Creates a device with one port. `number` makes its name; each can exist
    /// once.
    pub fn create(number: u32) -> Result<Self> {
        Self::create_type("mtty-1", number)
    }

    /// Creates a device of this type.
    pub fn create_type(kind: &str, number: u32) -> Result<Self> {
        Self::create_at("mtty", kind, number)
    }

    /// Creates a device of this type of another sample.
    pub fn create_at(parent: &str, kind: &str, number: u32) -> Result<Self> {
        let uuid = format!("f00d0000-0000-4000-8000-{number:012x}");
        let types = Path::new("/sys/class/mdev_bus")
            .join(parent)
            .join("mdev_supported_types");
        sysfs::write(types.join(kind).join("create"), &uuid)
            .with_context(|| format!("create emulated device {number}"))?;
        let sysfs = bus_device("mdev", &uuid);
        let mdev = Self { uuid, sysfs };
        wait_for("the driver of an emulated device", || {
            // Also there if devices have no groups.
            mdev.vfio_name().is_some()
        })?;
        Ok(mdev)
    }

    /// All that exist.
    pub fn all() -> Vec<Self> {
        sysfs::list("/sys/bus/mdev/devices")
            .iter()
            .map(|path| sysfs::name(path))
            .map(|uuid| Self {
                uuid: uuid.to_owned(),
                sysfs: bus_device("mdev", uuid),
            })
            .collect()
    }

    /// Removes it now. Returns when nobody has it open, which may be never.
    pub fn remove(&self) -> Result<()> {
        sysfs::write(self.sysfs.join("remove"), "1")
    }
}

impl Drop for Mdev {
    fn drop(&mut self) {
        if self.sysfs.exists() && !std::thread::panicking() {
            if let Err(error) = self.remove() {
                eprintln!("{error:#}");
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0
//! PCI devices: finding them, and handing them to `vfio-pci` and back.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use crate::{
    device::Device,
    sysfs,
    target::{bus_device, Target},
    uapi,
};

const DEVICES: &str = "/sys/bus/pci/devices";
const DRIVERS: &str = "/sys/bus/pci/drivers";
/// The driver that hands devices to user space.
pub const VFIO_PCI: &str = "vfio-pci";

/// QEMU's teaching device: vendor and device number.
pub const EDU: (u16, u16) = (0x1234, 0x11e8);
/// The network card with virtual functions.
pub const IGB: (u16, u16) = (0x8086, 0x10c9);
/// Memory as a PCI device.
pub const IVSHMEM: (u16, u16) = (0x1af4, 0x1110);

/// A PCI device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    address: String,
    sysfs: PathBuf,
}

impl Target for PciDevice {
    fn name(&self) -> &str {
        &self.address
    }

    fn sysfs(&self) -> &Path {
        &self.sysfs
    }
}

impl PciDevice {
    /// The device at an address such as `0000:00:03.0`.
    pub fn at(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            sysfs: bus_device("pci", address),
        }
    }

    /// All devices of this machine, by address.
    pub fn all() -> Vec<Self> {
        sysfs::list(DEVICES)
            .iter()
            .map(|path| Self::at(sysfs::name(path)))
            .collect()
    }

    /// The devices with this vendor and device number, by address.
    pub fn find((vendor, device): (u16, u16)) -> Vec<Self> {
        let is = |path: PathBuf, number: u16| {
            sysfs::read_number(path).is_ok_and(|found| found == u64::from(number))
        };
        Self::all()
            .into_iter()
            .filter(|dev| {
                is(dev.sysfs.join("vendor"), vendor) && is(dev.sysfs.join("device"), device)
            })
            .collect()
    }

    /// All devices of its IOMMU group, itself among them.
    pub fn group_members(&self) -> Vec<Self> {
        sysfs::list(self.sysfs.join("iommu_group/devices"))
            .iter()
            .map(|path| Self::at(sysfs::name(path)))
            .collect()
    }

    /// Whether it is a bridge.
    pub fn is_bridge(&self) -> bool {
        sysfs::read_number(self.sysfs.join("class")).is_ok_and(|class| class >> 16 == 6)
    }

    /// The driver that has it.
    pub fn driver(&self) -> Option<String> {
        sysfs::link_name(self.sysfs.join("driver"))
    }

    /// Hands it to `vfio-pci`, until the result is dropped. Another driver that
    /// has it loses it.
    pub fn bind(&self) -> Result<Bound> {
        self.bind_driver(VFIO_PCI)
    }

    /// Hands it to this driver, until the result is dropped.
    pub fn bind_driver(&self, driver: &str) -> Result<Bound> {
        if self.driver().is_some() {
            self.unbind()?;
        }
        sysfs::write(self.sysfs.join("driver_override"), driver)?;
        sysfs::write(Path::new(DRIVERS).join(driver).join("bind"), &self.address)
            .with_context(|| format!("hand {} to {driver}", self.address))?;
        ensure!(
            self.driver().as_deref() == Some(driver),
            "{} is not bound",
            self.address
        );
        Ok(Bound { pci: self.clone() })
    }

    /// Takes it from its driver. Returns when the driver let it go, which may
    /// be never.
    pub fn unbind(&self) -> Result<()> {
        sysfs::write(self.sysfs.join("driver/unbind"), &self.address)
            .with_context(|| format!("take {} from its driver", self.address))
    }

    /// Takes it from its driver if it has one, and forgets who may have it.
    pub fn release(&self) -> Result<()> {
        if self.driver().is_some() {
            self.unbind()?;
        }
        sysfs::write(self.sysfs.join("driver_override"), "\n")
    }
}

/// A device that a driver for user space has. Dropping it gives the device back, which waits
/// until nobody has the device open; in a panic it is left alone, because what
/// panicked may have it open.
#[derive(Debug)]
pub struct Bound {
    pci: PciDevice,
}

impl std::ops::Deref for Bound {
    type Target = PciDevice;

    fn deref(&self) -> &PciDevice {
        &self.pci
    }
}

impl Target for Bound {
    fn name(&self) -> &str {
        self.pci.name()
    }

    fn sysfs(&self) -> &Path {
        self.pci.sysfs()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Err(error) = self.pci.release() {
            eprintln!("{error:#}");
        }
    }
}

/// The configuration space of an open device.
#[derive(Debug)]
pub struct Config<'a> {
    device: &'a Device,
    offset: u64,
}

/// Register: what the device may do.
pub const COMMAND: u64 = 4;
/// [`COMMAND`]: answer memory accesses.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// [`COMMAND`]: start memory accesses, that is DMA.
pub const COMMAND_MASTER: u16 = 1 << 2;

impl<'a> Config<'a> {
    /// Finds it.
    pub fn of(device: &'a Device) -> rustix::io::Result<Self> {
        let region = device.region(uapi::PCI_CONFIG_REGION_INDEX)?;
        Ok(Self {
            device,
            offset: region.head.offset,
        })
    }

    /// Reads 16 bits.
    pub fn read_u16(&self, register: u64) -> rustix::io::Result<u16> {
        self.device
            .read(self.offset + register)
            .map(u16::from_le_bytes)
    }

    /// Writes 16 bits.
    pub fn write_u16(&self, register: u64, value: u16) -> rustix::io::Result<()> {
        self.device
            .write(self.offset + register, &value.to_le_bytes())
    }

    /// Vendor and device number.
    pub fn id(&self) -> rustix::io::Result<(u16, u16)> {
        Ok((self.read_u16(0)?, self.read_u16(2)?))
    }

    /// Lets the device answer, and do DMA.
    pub fn enable(&self) -> rustix::io::Result<()> {
        let command = self.read_u16(COMMAND)?;
        self.write_u16(COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER)
    }
}

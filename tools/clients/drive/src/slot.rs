// SPDX-License-Identifier: GPL-2.0
//! A hot-plug slot of PCI Express, served as the driver `pciehp` does, which the kernel
//! of the VM lacks.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use anyhow::{bail, Context, Result};
use vfio_selftests::{sysfs, target::wait_for};

const DEVICES: &str = "/sys/bus/pci/devices";
/// Where the list of capabilities begins, and the one of PCI Express with its registers.
const FIRST_CAPABILITY: u64 = 0x34;
const CAPABILITY: u8 = 0x10;
const FLAGS: u64 = 2;
const CONTROL: u64 = 0x18;
const STATUS: u64 = 0x1a;
/// [`FLAGS`]: this port has a slot.
const HAS_SLOT: u16 = 1 << 8;
/// [`STATUS`]: somebody wants the device out; something is in the slot.
const BUTTON: u16 = 1;
const PRESENT: u16 = 1 << 6;
/// [`CONTROL`]: the power indicator (01 is on, 11 is off), and power itself (1 is off).
const INDICATOR: u16 = 3 << 8;
const INDICATOR_ON: u16 = 1 << 8;
const POWER_OFF: u16 = 1 << 10;

/// A slot, by the configuration space of its port.
pub(crate) struct Slot {
    port: PathBuf,
    config: File,
    /// Where the capability of PCI Express is in that.
    capability: u64,
}

impl Slot {
    /// Finds the only slot of the machine.
    pub(crate) fn find() -> Result<Self> {
        for port in sysfs::list(DEVICES) {
            if let Some(slot) = Self::of(port)? {
                return Ok(slot);
            }
        }
        bail!("no port has a slot")
    }

    fn of(port: PathBuf) -> Result<Option<Self>> {
        let config = OpenOptions::new()
            .read(true)
            .write(true)
            .open(port.join("config"))?;
        let mut slot = Self {
            port,
            config,
            capability: FIRST_CAPABILITY,
        };
        loop {
            slot.capability = slot.byte(0)?.into();
            if slot.capability == 0 {
                return Ok(None);
            }
            if slot.byte(0)? == CAPABILITY {
                return Ok((slot.read(FLAGS)? & HAS_SLOT != 0).then_some(slot));
            }
            // Behind the number of a capability is where the next one begins.
            slot.capability += 1;
        }
    }

    fn byte(&self, register: u64) -> Result<u8> {
        Ok(self.read(register)?.to_le_bytes()[0])
    }

    fn read(&self, register: u64) -> Result<u16> {
        let mut word = [0; 2];
        self.config
            .read_exact_at(&mut word, self.capability + register)?;
        Ok(u16::from_le_bytes(word))
    }

    fn write(&self, register: u64, value: u16) -> Result<()> {
        self.config
            .write_all_at(&value.to_le_bytes(), self.capability + register)
            .context("write a register of the port")
    }

    fn is(&self, status: u16) -> bool {
        self.read(STATUS).is_ok_and(|found| found & status != 0)
    }

    /// Returns the devices in the slot that the kernel knows.
    fn devices(&self) -> Vec<PathBuf> {
        let mut found = sysfs::list(&self.port);
        found.retain(|path| path.join("vendor").exists());
        found
    }

    /// Waits until a device is in the slot, and takes it in.
    pub(crate) fn plug(&self) -> Result<()> {
        println!("slot: waits for a device");
        wait_for("a device in the slot", || self.is(PRESENT))?;
        // Whoever puts a device in presses the button, too.
        self.write(STATUS, BUTTON)?;
        let control = self.read(CONTROL)? & !(INDICATOR | POWER_OFF);
        self.write(CONTROL, control | INDICATOR_ON)?;
        sysfs::write("/sys/bus/pci/rescan", "1")?;
        wait_for("the kernel to see it", || !self.devices().is_empty())
    }

    /// Waits until the device is wanted back, and lets it go.
    pub(crate) fn unplug(&self) -> Result<()> {
        println!("slot: waits for the button");
        wait_for("the button of the slot", || self.is(BUTTON))?;
        for device in self.devices() {
            sysfs::write(device.join("remove"), "1")?;
        }
        self.write(STATUS, BUTTON)?;
        let control = self.read(CONTROL)?;
        self.write(CONTROL, control | INDICATOR | POWER_OFF)?;
        wait_for("the slot to be empty", || !self.is(PRESENT))
    }
}

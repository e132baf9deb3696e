// SPDX-License-Identifier: GPL-2.0
//! A driver for `edu`, the device that QEMU has for teaching.
//!
//! It computes factorials, raises an interrupt when asked, and copies between
//! memory and a buffer of its own. By default it reaches only the lowest 256
//! MiB of addresses. One copy takes a tenth of a second of the guest's time.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::io::{Errno, Result};
use vfio_uapi as uapi;

use crate::{device::Device, pci::Config};

/// The buffer inside the device, in bytes.
pub const BUFFER_LEN: u64 = 4096;
/// The highest address that the device reaches unless QEMU was told otherwise.
pub const DMA_LAST: u64 = 0x0fff_ffff;

mod register {
    //! Offsets in the first region. Those below 0x80 take 4-byte accesses only.
    pub(super) const ID: u64 = 0x00;
    pub(super) const LIVENESS: u64 = 0x04;
    pub(super) const FACTORIAL: u64 = 0x08;
    pub(super) const STATUS: u64 = 0x20;
    pub(super) const IRQ_STATUS: u64 = 0x24;
    pub(super) const IRQ_RAISE: u64 = 0x60;
    pub(super) const IRQ_ACK: u64 = 0x64;
    pub(super) const DMA_SOURCE: u64 = 0x80;
    pub(super) const DMA_TARGET: u64 = 0x88;
    pub(super) const DMA_COUNT: u64 = 0x90;
    pub(super) const DMA_COMMAND: u64 = 0x98;
}

/// Where the buffer is in the device's own addresses.
const BUFFER: u64 = 0x4_0000;
const STATUS_COMPUTING: u32 = 1;
const DMA_START: u32 = 1;
const DMA_TO_MEMORY: u32 = 2;
const DMA_IRQ: u32 = 4;
/// [`Edu::irq_status`]: a copy ended.
pub const IRQ_OF_DMA: u32 = 0x100;

/// An open edu device.
#[derive(Debug)]
pub struct Edu<'a> {
    device: &'a Device,
    offset: u64,
}

impl<'a> Edu<'a> {
    /// Takes an open device and lets it do DMA. `ENODEV` if it is another one.
    pub fn new(device: &'a Device) -> Result<Self> {
        Config::of(device)?.enable()?;
        let offset = device.region(uapi::PCI_BAR0_REGION_INDEX)?.head.offset;
        let edu = Self { device, offset };
        // 0xRRrr00ed with the version in the upper half.
        match edu.get(register::ID)? & 0xffff {
            0x00ed => Ok(edu),
            _ => Err(Errno::NODEV),
        }
    }

    fn get(&self, register: u64) -> Result<u32> {
        self.device
            .read(self.offset + register)
            .map(u32::from_le_bytes)
    }

    fn set(&self, register: u64, value: u32) -> Result<()> {
        self.device
            .write(self.offset + register, &value.to_le_bytes())
    }

    /// Its identification: the version and 0x00ed.
    pub fn id(&self) -> Result<u32> {
        self.get(register::ID)
    }

    /// Gives it a number, and gets that with all bits inverted.
    pub fn invert(&self, value: u32) -> Result<u32> {
        self.set(register::LIVENESS, value)?;
        self.get(register::LIVENESS)
    }

    /// Lets it compute a factorial, modulo 2^32.
    pub fn factorial(&self, n: u32) -> Result<u32> {
        self.set(register::FACTORIAL, n)?;
        self.wait(register::STATUS, STATUS_COMPUTING)?;
        self.get(register::FACTORIAL)
    }

    /// Lets it raise its interrupt, with these bits as the reason.
    pub fn raise_irq(&self, reason: u32) -> Result<()> {
        self.set(register::IRQ_RAISE, reason)
    }

    /// The reasons of the interrupts it raised and that were not acknowledged.
    pub fn irq_status(&self) -> Result<u32> {
        self.get(register::IRQ_STATUS)
    }

    /// Acknowledges reasons.
    pub fn acknowledge_irq(&self, reasons: u32) -> Result<()> {
        self.set(register::IRQ_ACK, reasons)
    }

    /// Lets it copy `len` bytes of memory at `iova` into its buffer.
    pub fn read_memory(&self, iova: u64, len: u64) -> Result<()> {
        self.dma(iova, BUFFER, len, DMA_START)
    }

    /// Lets it copy `len` bytes of its buffer to memory at `iova`.
    pub fn write_memory(&self, iova: u64, len: u64) -> Result<()> {
        self.dma(BUFFER, iova, len, DMA_START | DMA_TO_MEMORY)
    }

    /// The same, with an interrupt at the end.
    pub fn write_memory_and_interrupt(&self, iova: u64, len: u64) -> Result<()> {
        self.dma(BUFFER, iova, len, DMA_START | DMA_TO_MEMORY | DMA_IRQ)
    }

    fn dma(&self, source: u64, target: u64, len: u64, command: u32) -> Result<()> {
        // The device gives up the whole machine for more than its buffer has.
        if len > BUFFER_LEN {
            return Err(Errno::INVAL);
        }
        for (register, value) in [
            (register::DMA_SOURCE, source),
            (register::DMA_TARGET, target),
            (register::DMA_COUNT, len),
        ] {
            // In one access: the device has no separate upper halves.
            self.device
                .write(self.offset + register, &value.to_le_bytes())?;
        }
        self.set(register::DMA_COMMAND, command)?;
        self.wait(register::DMA_COMMAND, DMA_START)
    }

    /// Waits until a bit of a register is clear.
    fn wait(&self, register: u64, busy: u32) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while self.get(register)? & busy != 0 {
            if Instant::now() > end {
                return Err(Errno::TIMEDOUT);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

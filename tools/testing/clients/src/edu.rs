// SPDX-License-Identifier: GPL-2.0
//! A driver for QEMU's teaching device that reaches the registers by whichever crate is
//! tested. The device itself is explained in our library's `edu`.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{ensure, Result};

/// How a crate reaches the first region of a device.
pub(crate) trait Bar {
    /// Reads a register.
    fn get(&self, at: u64) -> Result<u32>;
    /// Writes a register.
    fn set(&self, at: u64, value: u32) -> Result<()>;
}

/// The end of the addresses that the device reaches.
pub(crate) const DMA_END: u64 = 0x1000_0000;

const ID: u64 = 0x00;
const LIVENESS: u64 = 0x04;
const FACTORIAL: u64 = 0x08;
const STATUS: u64 = 0x20;
const IRQ_STATUS: u64 = 0x24;
const IRQ_RAISE: u64 = 0x60;
const IRQ_ACK: u64 = 0x64;
const DMA_SOURCE: u64 = 0x80;
const DMA_TARGET: u64 = 0x88;
const DMA_COUNT: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;

/// Where the device has its buffer of a page.
const BUFFER: u32 = 0x4_0000;
const PAGE: u32 = 4096;
const COMPUTING: u32 = 1;
const START: u32 = 1;
const TO_MEMORY: u32 = 2;
const THEN_INTERRUPT: u32 = 4;
/// The reason of an interrupt at the end of a copy.
pub(crate) const COPIED: u32 = 0x100;

/// An edu device.
pub(crate) struct Edu<B>(B);

impl<B: Bar> Edu<B> {
    /// Takes a device, which must be one.
    pub(crate) fn new(bar: B) -> Result<Self> {
        let id = bar.get(ID)?;
        ensure!(id & 0xffff == 0x00ed, "this is no edu: {id:#x}");
        Ok(Self(bar))
    }

    /// Gives it a number, and gets that with all bits inverted.
    pub(crate) fn invert(&self, value: u32) -> Result<u32> {
        self.0.set(LIVENESS, value)?;
        self.0.get(LIVENESS)
    }

    /// Lets it compute a factorial, modulo 2^32.
    pub(crate) fn factorial(&self, n: u32) -> Result<u32> {
        self.0.set(FACTORIAL, n)?;
        self.wait(STATUS, COMPUTING)?;
        self.0.get(FACTORIAL)
    }

    /// Lets it raise its interrupt for these reasons.
    pub(crate) fn raise(&self, reasons: u32) -> Result<()> {
        self.0.set(IRQ_RAISE, reasons)
    }

    /// Takes the reasons of its interrupts, and acknowledges them.
    pub(crate) fn acknowledge(&self) -> Result<u32> {
        let reasons = self.0.get(IRQ_STATUS)?;
        self.0.set(IRQ_ACK, reasons)?;
        Ok(reasons)
    }

    /// Lets it copy a page of memory into its buffer.
    pub(crate) fn read_page(&self, iova: u64) -> Result<()> {
        self.copy(u32::try_from(iova)?, BUFFER, START)
    }

    /// Lets it copy its buffer to a page of memory.
    pub(crate) fn write_page(&self, iova: u64) -> Result<()> {
        self.copy(BUFFER, u32::try_from(iova)?, START | TO_MEMORY)
    }

    /// The same, with an interrupt at the end.
    pub(crate) fn write_page_and_interrupt(&self, iova: u64) -> Result<()> {
        let command = START | TO_MEMORY | THEN_INTERRUPT;
        self.copy(BUFFER, u32::try_from(iova)?, command)
    }

    fn copy(&self, source: u32, target: u32, command: u32) -> Result<()> {
        self.0.set(DMA_SOURCE, source)?;
        self.0.set(DMA_TARGET, target)?;
        self.0.set(DMA_COUNT, PAGE)?;
        self.0.set(DMA_COMMAND, command)?;
        self.wait(DMA_COMMAND, START)
    }

    /// Waits until a bit of a register is clear.
    fn wait(&self, at: u64, busy: u32) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while self.0.get(at)? & busy != 0 {
            ensure!(Instant::now() < end, "edu is still busy");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0
//! What emulated devices do with the memory of the user: the fixture's devices
//! pin it and copy it when told to.

use std::{thread, time::Duration};

use rustix::io::Result;
use vfio_selftests::memory::Memory;

use crate::fixture::{abi, answer, Device, Kind, Op};

/// The device only reads.
pub(crate) const READ: u64 = 1;
/// The device only writes.
pub(crate) const WRITE: u64 = 2;
/// Both.
pub(crate) const BOTH: u64 = READ | WRITE;

/// Who copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The thread that asks.
    Caller,
    /// A thread of the kernel.
    Kthread,
}

impl Device<'_> {
    /// Pins pages, which the driver unpins when it is told that they go.
    pub(crate) fn pin(&self, iova: u64, pages: u64, how: u64) -> Result<i64> {
        self.call(Op::Pin, &[iova, pages, how])
    }

    /// Unpins what was pinned with this address.
    pub(crate) fn unpin(&self, iova: u64) -> Result<()> {
        self.call(Op::Unpin, &[iova]).map(drop)
    }

    /// Pins pages behind the driver's back. Beside the result: the page frame
    /// of each, or `abi::PAGE_*`.
    pub(crate) fn pin_raw(&self, iova: u64, pages: i32, how: u64) -> (Result<i64>, Vec<u64>) {
        let mut frames = vec![0; usize::try_from(pages).unwrap_or(0).max(1)];
        let args = [iova, pages as u64, how, frames.as_mut_ptr() as u64];
        let result = self.call(Op::PinRaw, &args);
        (result, frames)
    }

    /// Unpins pages behind the driver's back, whether they are pinned or not.
    pub(crate) fn unpin_raw(&self, iova: u64, pages: i32) -> Result<()> {
        self.call(Op::UnpinRaw, &[iova, pages as u64]).map(drop)
    }

    /// Copies from memory.
    pub(crate) fn dma_read(&self, iova: u64, len: usize, by: By) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.rw(iova, bytes.as_mut_ptr() as u64, len, by, 0)?;
        Ok(bytes)
    }

    /// Copies to memory.
    pub(crate) fn dma_write(&self, iova: u64, bytes: &[u8], by: By) -> Result<()> {
        let address = bytes.as_ptr() as u64;
        self.rw(iova, address, bytes.len(), by, abi::RW_WRITE)
    }

    fn rw(&self, iova: u64, address: u64, len: usize, by: By, how: u64) -> Result<()> {
        let how = how
            | if by == By::Kthread {
                abi::RW_KTHREAD
            } else {
                0
            };
        let call = self.raw_call(Op::Rw, &[iova, len as u64, how, address])?;
        answer(call.result).map(drop)
    }

    /// What the driver was told since events were last read: addresses and
    /// lengths.
    pub(crate) fn told(&self) -> anyhow::Result<Vec<(u64, u64)>> {
        let events = self.events_of(Kind::DmaUnmap)?;
        Ok(events.iter().map(|event| (event.a, event.b)).collect())
    }
}

/// Memory that is there, so that the frames of its pages are known and stay.
pub(crate) fn touched(pages: usize) -> Result<Memory> {
    let memory = Memory::anonymous(pages * vfio_selftests::PAGE)?;
    memory.fill(0x11);
    Ok(memory)
}

/// Gives other threads a chance.
pub(crate) fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

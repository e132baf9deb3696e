// SPDX-License-Identifier: GPL-2.0

//! Drivers of emulated devices read and write the user's memory: `vfio_dma_rw()`.
//!
//! Deviation from C: pages that were written before a fault are dirty too.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        logic::units::Iova,
        state::{
            Type1,
            Type1State, //
        },
        views::driver_buffers::DmaBuffer, //
    },
    kernel::uaccess::UserAddr, //
};

impl Type1 {
    /// Copies all of `buffer` to or from the memory that is mapped at and behind `iova`.
    ///
    /// # Errors
    ///
    /// `EBUSY` while a mapping has lost its memory; `EINVAL` where nothing is mapped; `EPERM` if
    /// the mapping does not allow it, which for C includes writing what devices may not read, or
    /// if the process is gone; `EFAULT` if the caller is a task with other memory, or the memory
    /// is not there. What lies before the fault was copied.
    pub(super) fn dma_rw(&self, iova: Iova, mut buffer: DmaBuffer<'_>) -> Result {
        let mut state = self.state.lock();
        state.check_all_valid()?;
        let mut done = 0;
        while done < buffer.len() {
            // CAST: No number gets smaller.
            let at = iova.checked_add(done as u64).ok_or(EINVAL)?;
            done += state.copy(at, done, &mut buffer)?;
        }
        Ok(())
    }
}

impl Type1State {
    /// Copies what one mapping has of the buffer from byte `offset` on. Returns how much.
    fn copy(&mut self, iova: Iova, offset: usize, buffer: &mut DmaBuffer<'_>) -> Result<usize> {
        let tracking = self.tracking;
        let (range, mut place) = self.mappings.at(iova).ok_or(EINVAL)?;
        let mapping = place.mapping();
        let access = mapping.access();
        if !access.read || buffer.writes() && !access.write {
            return Err(EPERM);
        }
        let rest = range.last().get() - iova.get();
        let len = usize::try_from(rest)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
            .min(buffer.len() - offset);
        // CAST: Not larger than the mapping.
        let into = (iova.get() - range.first().get()) as usize;
        let addr = UserAddr::new(mapping.vaddr()).offset(into);
        let copied = mapping
            .owner()
            .with_memory(|| buffer.copy(offset, len, addr));
        // Even if it failed: what lies before the fault was written.
        if let (Some(tracking), true) = (tracking, buffer.writes()) {
            // CAST: As above.
            let last = iova.checked_add(len as u64 - 1).unwrap_or(range.last());
            mapping.mark_dirty(range, iova, last, tracking);
        }
        copied?;
        Ok(len)
    }
}

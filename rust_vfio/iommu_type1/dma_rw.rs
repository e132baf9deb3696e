// SPDX-License-Identifier: GPL-2.0

//! Copies between buffers of drivers and user memory: `vfio_dma_rw()` (contract 6.14).
//!
//! Corresponds to `vfio_iommu_type1_dma_rw()` and `vfio_iommu_type1_dma_rw_chunk()`.
//!
//! Deviation: if a write to user memory faults midway, C marks no page of this mapping as dirty,
//! although those before the fault were written. We mark the pages of the whole write.

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
    /// Copies all of `buffer` to or from the memory that is mapped from `iova` on.
    ///
    /// Takes the lock of the container, and sleeps. The calling task is a kernel thread or uses the
    /// address space of the owner of the mappings.
    ///
    /// # Errors
    ///
    /// The bytes before the error have been copied.
    ///
    /// - `EBUSY` if the user address of a mapping is invalid.
    /// - `EINVAL` if nothing is mapped at an address.
    /// - `EPERM` if devices may not read the mapping, which C also requires for writing, or may not
    ///   write to it when they would.
    /// - `EPERM` if the process that made the mapping has exited.
    /// - `EFAULT` if the calling task has another address space.
    /// - `EFAULT` if the memory is not accessible in user space.
    #[doc(alias = "vfio_iommu_type1_dma_rw")]
    pub(super) fn dma_rw(&self, iova: Iova, mut buffer: DmaBuffer<'_>) -> Result {
        let mut state = self.state.lock();
        state.check_all_valid()?;
        let mut done = 0;
        while done < buffer.len() {
            // CAST: A `usize` fits into an `u64`.
            let at = iova.checked_add(done as u64).ok_or(EINVAL)?;
            done += state.copy(at, done, &mut buffer)?;
        }
        Ok(())
    }
}

impl Type1State {
    /// Copies the part of the buffer from byte `offset` on that belongs to the mapping at `iova`.
    /// Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// Those of [`Type1::dma_rw`] without the first.
    #[doc(alias = "vfio_iommu_type1_dma_rw_chunk")]
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
        // CAST: The offset is less than the size of the mapping, which fits native words.
        let into = (iova.get() - range.first().get()) as usize;
        let addr = UserAddr::new(mapping.vaddr()).offset(into);
        let copied = mapping
            .owner()
            .with_memory(|| buffer.copy(offset, len, addr));
        // This is done even if the copy failed, since the bytes before the fault were written.
        if let (Some(tracking), true) = (tracking, buffer.writes()) {
            // CAST: A `usize` fits into an `u64`.
            let last = iova.checked_add(len as u64 - 1).unwrap_or(range.last());
            mapping.mark_dirty(range, iova, last, tracking);
        }
        copied?;
        Ok(len)
    }
}

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
        let mut at = Some(iova);
        while !buffer.is_empty() {
            at = state.copy(at.ok_or(EINVAL)?, &mut buffer)?;
        }
        Ok(())
    }
}

impl Type1State {
    /// Copies the front of `buffer`, which is not empty, as far as the mapping at `iova` reaches,
    /// and removes it from the buffer. Returns the address behind it, or `None` at the end of the
    /// address space.
    ///
    /// # Errors
    ///
    /// Those of [`Type1::dma_rw`] without the first.
    #[doc(alias = "vfio_iommu_type1_dma_rw_chunk")]
    fn copy(&mut self, iova: Iova, buffer: &mut DmaBuffer<'_>) -> Result<Option<Iova>> {
        let (range, mut place) = self.mappings.at(iova).ok_or(EINVAL)?;
        let mapping = place.mapping();
        let access = mapping.access();
        let writes = buffer.writes();
        if !access.read || writes && !access.write {
            return Err(EPERM);
        }
        // The range contains the address, so nothing wraps here.
        let front = buffer.take_front(range.last().get().wrapping_sub(iova.get()));
        // CAST: The buffer is in memory, so its size fits into an `u64`.
        let len = front.len() as u64;
        // CAST: The offset is less than the size of the mapping, which fits native words.
        let offset = iova.get().wrapping_sub(range.first().get()) as usize;
        let addr = UserAddr::new(mapping.vaddr()).offset(offset);
        let owner = mapping.owner();
        let copied = if owner.is_current_mm() {
            front.copy(addr)
        } else {
            owner.with_memory(move || front.copy(addr))
        };
        // This is done even if the copy failed, since the bytes before the fault were written.
        if let (true, Some(tracking)) = (writes, self.tracking) {
            let last = Iova::new(iova.get().wrapping_add(len).wrapping_sub(1));
            mapping.mark_dirty(range, iova, last, tracking);
        }
        copied?;
        Ok(iova.checked_add(len))
    }
}

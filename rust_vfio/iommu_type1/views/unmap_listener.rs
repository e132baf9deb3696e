// SPDX-License-Identifier: GPL-2.0

//! Devices whose drivers are notified before addresses are unmapped (contract 6.15).
//!
//! C header: `include/linux/vfio.h` (`dma_unmap` of `struct vfio_device_ops`).

use core::ptr::NonNull;

use crate::{
    bindings,
    iommu_type1::logic::units::IovaRange, //
};

/// A device whose driver has the operation `dma_unmap`.
///
/// # Invariants
///
/// The pointer is valid as long as the value is used, by the safety requirements of
/// [`UnmapListener::from_raw`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnmapListener(NonNull<bindings::vfio_device>);

// SAFETY: The operations of a driver may be called by any thread.
unsafe impl Send for UnmapListener {}
// SAFETY: The operations of a driver may be called by several threads at the same time.
unsafe impl Sync for UnmapListener {}

impl UnmapListener {
    /// Returns the device at `device`, or `None` if the pointer is null or the driver has no
    /// `dma_unmap`.
    ///
    /// # Safety
    ///
    /// `device` must be null or point to a device that stays valid, together with its table of
    /// operations, as long as the result and its copies are used.
    pub(crate) unsafe fn from_raw(device: *mut bindings::vfio_device) -> Option<Self> {
        // INVARIANT: By the safety requirements of this function.
        let listener = Self(NonNull::new(device)?);
        listener.operation().is_some().then_some(listener)
    }

    /// Returns the operation `dma_unmap` of the driver.
    fn operation(
        self,
    ) -> Option<unsafe extern "C" fn(*mut bindings::vfio_device, dma_unmap: u64, length: u64)> {
        // SAFETY: By the type invariants the device and its table of operations are valid.
        unsafe { (*(*self.0.as_ptr()).ops).dma_unmap }
    }

    /// Calls the driver's `dma_unmap` for `range`. The driver must unpin the pages that it has
    /// pinned there before it returns.
    ///
    /// Takes locks of the driver, and through `vfio_unpin_pages()` the lock of the container, which
    /// the caller must not hold. May sleep.
    pub(crate) fn dma_unmap(self, range: IovaRange) {
        if let Some(dma_unmap) = self.operation() {
            // SAFETY: By the type invariants the device is valid, and the operation is that of its
            // driver.
            unsafe { dma_unmap(self.0.as_ptr(), range.first().get(), range.bytes()) };
        }
    }
}

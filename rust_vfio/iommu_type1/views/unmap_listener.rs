// SPDX-License-Identifier: GPL-2.0

//! Devices whose drivers pin memory of the user, and want to know which addresses go away.
//!
//! C header: `include/linux/vfio.h` (`dma_unmap` of `struct vfio_device_ops`).

use core::ptr::NonNull;

use crate::{
    bindings,
    iommu_type1::logic::units::IovaRange, //
};

/// A device that the core registered with a container.
///
/// # Invariants
///
/// The pointer is valid: the core registers a device before it is opened, and removes it after it
/// was closed, which waits for calls of the driver that are running.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnmapListener(NonNull<bindings::vfio_device>);

// SAFETY: Drivers let any thread call their operations.
unsafe impl Send for UnmapListener {}
// SAFETY: As above.
unsafe impl Sync for UnmapListener {}

impl UnmapListener {
    /// The device that the core names, if its driver wants to know.
    ///
    /// # Safety
    ///
    /// The device must stay valid while values of this type are used: until the core has removed
    /// it from the container.
    pub(crate) unsafe fn from_raw(device: *mut bindings::vfio_device) -> Option<Self> {
        // INVARIANT: By the contract of this function.
        let listener = Self(NonNull::new(device)?);
        listener.operation().is_some().then_some(listener)
    }

    fn operation(
        self,
    ) -> Option<unsafe extern "C" fn(*mut bindings::vfio_device, dma_unmap: u64, length: u64)> {
        // SAFETY: By the invariant; the operations of a driver stay while its device is
        // registered.
        unsafe { (*(*self.0.as_ptr()).ops).dma_unmap }
    }

    /// Tells the driver that `range` goes away. It unpins what it has pinned there before it
    /// returns, for which it needs the lock of the container.
    pub(crate) fn dma_unmap(self, range: IovaRange) {
        if let Some(dma_unmap) = self.operation() {
            // SAFETY: The device is valid, see the invariant.
            unsafe { dma_unmap(self.0.as_ptr(), range.first().get(), range.bytes()) };
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! What a device is bound to an iommufd with: members of `struct vfio_device`.
//!
//! They are `iommufd_device` and `pasids` for a device with DMA of its own, `iommufd_access` for an
//! emulated one, and `iommufd_attached` for both. They are protected by the lock of the device's
//! set, which is held whenever one of the methods here is called: drivers call them from callbacks
//! under that lock.

use core::{
    mem::replace,
    ptr::{
        null_mut,
        NonNull, //
    },
};

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    bindings,
    kernel::iommufd::{
        AccessOps,
        IommufdAccess,
        IommufdCtx,
        IommufdDevice,
        Pasid, //
    },
    views::device::Device, //
};

/// What iommufd calls for emulated devices.
static ACCESS_OPS: AccessOps = AccessOps::pinning(unmap);

/// Tells the driver of an emulated device that memory goes which it may have pinned.
///
/// # Safety
///
/// Called by iommufd with the device that [`Device::create_iommufd_access`] passed on.
unsafe extern "C" fn unmap(data: *mut c_void, iova: usize, length: usize) {
    let device = data.cast::<bindings::vfio_device>();
    // SAFETY: The device is valid until after the access was destroyed, and `ops` never changes.
    // The driver wants to hear of it whether or not the device is open.
    unsafe {
        if let Some(dma_unmap) = (*(*device).ops).dma_unmap {
            dma_unmap(device, iova as u64, length as u64);
        }
    }
}

/// The members of a device. The lock of its set is held.
impl Device {
    /// Makes lockdep complain unless the lock of the device's set is held.
    pub(crate) fn assert_set_locked(&self) {
        // SAFETY: A registered device is in a set.
        unsafe { bindings::vfio_rs_assert_mutex_held(&raw mut (*(*self.as_raw()).dev_set).lock) };
    }

    /// Returns what the device is bound with, if it has DMA of its own and is bound.
    pub(crate) fn iommufd_device(&self) -> Option<&IommufdDevice> {
        // SAFETY: The lock of the set is held. The binding is valid until the device forgets it.
        unsafe {
            (*self.as_raw())
                .iommufd_device
                .cast::<IommufdDevice>()
                .as_ref()
        }
    }

    /// Sets what the device is bound with, and starts without any PASID.
    pub(crate) fn set_iommufd_device(&self, bound: NonNull<IommufdDevice>) {
        // SAFETY: The lock of the set is held. Every PASID was removed before, so that the set of
        // them owns no memory.
        unsafe {
            (*self.as_raw()).iommufd_device = bound.as_ptr().cast();
            bindings::vfio_rs_ida_init(&raw mut (*self.as_raw()).pasids);
        }
    }

    /// Returns what the device is bound with, if it is emulated and bound.
    pub(crate) fn iommufd_access(&self) -> Option<&IommufdAccess> {
        // SAFETY: The lock of the set is held. The access is valid until the device forgets it.
        unsafe {
            (*self.as_raw())
                .iommufd_access
                .cast::<IommufdAccess>()
                .as_ref()
        }
    }

    /// Sets what the device is bound with.
    pub(crate) fn set_iommufd_access(&self, access: NonNull<IommufdAccess>) {
        // SAFETY: The lock of the set is held.
        unsafe { (*self.as_raw()).iommufd_access = access.as_ptr().cast() };
    }

    /// Whether something is attached for requests without a PASID.
    pub(crate) fn is_iommufd_attached(&self) -> bool {
        // SAFETY: The lock of the set is held.
        unsafe { bindings::vfio_device::iommufd_attached_raw(self.as_raw()) != 0 }
    }

    /// Notes whether something is attached.
    pub(crate) fn set_iommufd_attached(&self, attached: bool) {
        // SAFETY: The lock of the set is held, which also protects the other bits of the byte that
        // change.
        unsafe { bindings::vfio_device::set_iommufd_attached_raw(self.as_raw(), attached.into()) };
    }

    /// The lowest PASID from `from` on for which something is attached.
    pub(crate) fn next_pasid(&self, from: Pasid) -> Option<Pasid> {
        // SAFETY: The member is initialised while the device is bound; it has a lock of its own.
        let id = unsafe {
            bindings::ida_find_first_range(&raw mut (*self.as_raw()).pasids, from, u32::MAX)
        };
        Pasid::try_from(id).ok()
    }

    /// Notes that something is attached for the PASID.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC` if it was noted before or is no PASID at all.
    pub(crate) fn add_pasid(&self, pasid: Pasid) -> Result {
        // The C function takes numbers up to `INT_MAX`.
        i32::try_from(pasid).map_err(|_| ENOSPC)?;
        // SAFETY: The member is initialised while the device is bound; it has a lock of its own.
        to_result(unsafe {
            bindings::ida_alloc_range(
                &raw mut (*self.as_raw()).pasids,
                pasid,
                pasid,
                bindings::GFP_KERNEL,
            )
        })
    }

    /// Forgets a PASID that was noted.
    pub(crate) fn remove_pasid(&self, pasid: Pasid) {
        // SAFETY: The member is initialised while the device is bound; it has a lock of its own.
        unsafe { bindings::ida_free(&raw mut (*self.as_raw()).pasids, pasid) };
    }

    /// Gives the emulated device access to what will be attached; returns the access and its id in
    /// the context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn create_iommufd_access(
        &self,
        ctx: &IommufdCtx,
    ) -> Result<(NonNull<IommufdAccess>, u32)> {
        // SAFETY: The device is valid until after the access is destroyed.
        unsafe { IommufdAccess::create(ctx, &ACCESS_OPS, self.as_raw().cast()) }
    }

    /// Forgets what the device is bound with, of which nothing is attached any more, and undoes the
    /// binding.
    pub(crate) fn unbind_iommufd_device(&self) {
        // SAFETY: The lock of the set is held.
        let bound = unsafe { replace(&mut (*self.as_raw()).iommufd_device, null_mut()) };
        if let Some(bound) = NonNull::new(bound) {
            // SAFETY: The device was the only one to know the binding.
            unsafe { IommufdDevice::unbind(bound.cast()) };
        }
    }

    /// Undoes what the emulated device does through its access, and forgets it.
    pub(crate) fn destroy_iommufd_access(&self) {
        let Some(access) = self.iommufd_access().map(NonNull::from) else {
            return;
        };
        // SAFETY: The device forgets the access before somebody else gets the lock of its set.
        unsafe { IommufdAccess::destroy(access) };
        self.set_iommufd_attached(false);
        // SAFETY: The lock of the set is held.
        unsafe { (*self.as_raw()).iommufd_access = null_mut() };
    }
}

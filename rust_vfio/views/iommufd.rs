// SPDX-License-Identifier: GPL-2.0

//! The members of `struct vfio_device` for its binding to an iommufd.
//!
//! They are `iommufd_device` and `pasids` for a device with DMA of its own, `iommufd_access` for an
//! emulated one, and `iommufd_attached` for both. The lock of the device's set protects them. The
//! callers of all methods here hold it: drivers call them from callbacks under that lock.
//!
//! Corresponds to the accesses to these members in `drivers/vfio/iommufd.c`; contract section 4.7.

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

/// The functions that iommufd calls for emulated devices.
static ACCESS_OPS: AccessOps = AccessOps::pinning(unmap);

/// Tells the driver of an emulated device that the `length` bytes from IOVA `iova` on are being
/// unmapped, so that it unpins them.
///
/// # Safety
///
/// Must be called by iommufd with the device that [`Device::create_iommufd_access`] passed.
#[doc(alias = "vfio_emulated_unmap")]
unsafe extern "C" fn unmap(data: *mut c_void, iova: usize, length: usize) {
    let device = data.cast::<bindings::vfio_device>();
    // SAFETY: iommufd calls this until the access is destroyed, and the device is valid until then.
    // The table `ops` never changes. A driver must accept the call even if its device is not open.
    unsafe {
        if let Some(dma_unmap) = (*(*device).ops).dma_unmap {
            dma_unmap(device, iova as u64, length as u64);
        }
    }
}

/// The members for iommufd. The lock of the device's set is held.
impl Device {
    /// Warns, if lockdep is on, unless the lock of the device's set is held.
    pub(crate) fn assert_set_locked(&self) {
        // Without lockdep not even the call is worth its time.
        if cfg!(CONFIG_LOCKDEP) {
            // SAFETY: A registered device is in a set until it is freed.
            unsafe {
                bindings::vfio_rs_assert_mutex_held(&raw mut (*(*self.as_raw()).dev_set).lock)
            };
        }
    }

    /// Returns the binding of a device that has DMA of its own, or none if it is not bound.
    pub(crate) fn iommufd_device(&self) -> Option<&IommufdDevice> {
        // SAFETY: The lock of the set is held, which protects the member. The binding is freed by
        // `unbind_iommufd_device` only, which clears the member.
        unsafe {
            (*self.as_raw())
                .iommufd_device
                .cast::<IommufdDevice>()
                .as_ref()
        }
    }

    /// Stores the binding of a device that has DMA of its own, and initialises the set of PASIDs.
    pub(crate) fn set_iommufd_device(&self, bound: NonNull<IommufdDevice>) {
        // SAFETY: The lock of the set is held, which protects the members. An earlier set of PASIDs
        // was emptied before the device was unbound, so it owns no memory.
        unsafe {
            (*self.as_raw()).iommufd_device = bound.as_ptr().cast();
            bindings::vfio_rs_ida_init(&raw mut (*self.as_raw()).pasids);
        }
    }

    /// Returns the access of an emulated device, or none if it is not bound.
    pub(crate) fn iommufd_access(&self) -> Option<&IommufdAccess> {
        // SAFETY: The lock of the set is held, which protects the member. The access is freed by
        // `destroy_iommufd_access` only, which clears the member.
        unsafe {
            (*self.as_raw())
                .iommufd_access
                .cast::<IommufdAccess>()
                .as_ref()
        }
    }

    /// Stores the access of an emulated device.
    pub(crate) fn set_iommufd_access(&self, access: NonNull<IommufdAccess>) {
        // SAFETY: The lock of the set is held, which protects the member.
        unsafe { (*self.as_raw()).iommufd_access = access.as_ptr().cast() };
    }

    /// Returns whether an IOAS or a page table is attached for requests without a PASID.
    pub(crate) fn is_iommufd_attached(&self) -> bool {
        // SAFETY: The lock of the set is held, which protects the bit.
        unsafe { bindings::vfio_device::iommufd_attached_raw(self.as_raw()) != 0 }
    }

    /// Sets whether an IOAS or a page table is attached for requests without a PASID.
    pub(crate) fn set_iommufd_attached(&self, attached: bool) {
        // SAFETY: The lock of the set is held. It protects this bit and the other bits of the byte
        // that change while the device is registered.
        unsafe { bindings::vfio_device::set_iommufd_attached_raw(self.as_raw(), attached.into()) };
    }

    /// Returns the lowest PASID from `from` on that is in the set of PASIDs, or none.
    pub(crate) fn next_pasid(&self, from: Pasid) -> Option<Pasid> {
        // SAFETY: `set_iommufd_device` initialised the member; callers call this for a bound device
        // only. The IDA has a lock of its own.
        let id = unsafe {
            bindings::ida_find_first_range(&raw mut (*self.as_raw()).pasids, from, u32::MAX)
        };
        Pasid::try_from(id).ok()
    }

    /// Adds a PASID, for which a page table is to be attached, to the set of PASIDs.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` if the number is larger than `i32::MAX`, and so no PASID.
    /// - `ENOMEM`.
    /// - `ENOSPC` if the set has the PASID already.
    pub(crate) fn add_pasid(&self, pasid: Pasid) -> Result {
        // The C function takes numbers up to `INT_MAX`.
        i32::try_from(pasid).map_err(|_| ENOSPC)?;
        // SAFETY: `set_iommufd_device` initialised the member; callers call this for a bound device
        // only. The IDA has a lock of its own.
        to_result(unsafe {
            bindings::ida_alloc_range(
                &raw mut (*self.as_raw()).pasids,
                pasid,
                pasid,
                bindings::GFP_KERNEL,
            )
        })
    }

    /// Removes a PASID from the set of PASIDs, which must have it.
    pub(crate) fn remove_pasid(&self, pasid: Pasid) {
        // SAFETY: `set_iommufd_device` initialised the member; callers call this for a bound device
        // only. The IDA has a lock of its own.
        unsafe { bindings::ida_free(&raw mut (*self.as_raw()).pasids, pasid) };
    }

    /// Creates an access for the emulated device, and returns it and its id in the context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn create_iommufd_access(
        &self,
        ctx: &IommufdCtx,
    ) -> Result<(NonNull<IommufdAccess>, u32)> {
        // SAFETY: `unmap` expects this device. The device is closed, and its access destroyed,
        // before it can be freed.
        unsafe { IommufdAccess::create(ctx, &ACCESS_OPS, self.as_raw().cast()) }
    }

    /// Unbinds a device that has DMA of its own, and to which nothing is attached any more. Does
    /// nothing if it is not bound. Sleeps.
    pub(crate) fn unbind_iommufd_device(&self) {
        // SAFETY: The lock of the set is held, which protects the member.
        let bound = unsafe { replace(&mut (*self.as_raw()).iommufd_device, null_mut()) };
        if let Some(bound) = NonNull::new(bound) {
            // SAFETY: The member had the only pointer to the binding, and `iommufd_device` lends it
            // under the lock of the set only, which is held here.
            unsafe { IommufdDevice::unbind(bound.cast()) };
        }
    }

    /// Destroys the access of an emulated device, which unmaps everything that is attached. Does
    /// nothing if it is not bound. Sleeps.
    pub(crate) fn destroy_iommufd_access(&self) {
        let Some(access) = self.iommufd_access().map(NonNull::from) else {
            return;
        };
        // SAFETY: The member has the only pointer to the access, and is cleared below, before the
        // lock of the set is released. A driver uses the access only while its device is open, and
        // the device has been closed.
        unsafe { IommufdAccess::destroy(access) };
        self.set_iommufd_attached(false);
        // SAFETY: The lock of the set is held, which protects the member.
        unsafe { (*self.as_raw()).iommufd_access = null_mut() };
    }
}

// SPDX-License-Identifier: GPL-2.0

//! IOMMU groups: sets of devices that cannot be told apart, and who owns their DMA.
//!
//! In the kernel crate: a counted type `kernel::iommu::Group`.
//!
//! C header: `include/linux/iommu.h`.

use core::ptr::NonNull;

use kernel::{
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CStr, //
};

use crate::{
    bindings,
    kernel::device::as_raw, //
};

/// A counted reference to an IOMMU group.
#[derive(PartialEq, Eq)]
pub(crate) struct IommuGroup(NonNull<bindings::iommu_group>);

// SAFETY: IOMMU groups are counted atomically and have a lock of their own.
unsafe impl Send for IommuGroup {}
// SAFETY: As above.
unsafe impl Sync for IommuGroup {}

impl Clone for IommuGroup {
    fn clone(&self) -> Self {
        // SAFETY: This value owns a reference.
        Self(unsafe { NonNull::new_unchecked(bindings::iommu_group_ref_get(self.0.as_ptr())) })
    }
}

impl Drop for IommuGroup {
    fn drop(&mut self) {
        // SAFETY: This value owns a reference.
        unsafe { bindings::iommu_group_put(self.0.as_ptr()) };
    }
}

impl IommuGroup {
    /// The group of the device, if it is in one.
    pub(crate) fn of(device: &device::Device) -> Option<Self> {
        // SAFETY: The device is valid.
        NonNull::new(unsafe { bindings::iommu_group_get(as_raw(device)) }).map(Self)
    }

    /// Makes a group without IOMMU for a device that has none, and puts the device into it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the IOMMU core or sysfs returned.
    pub(crate) fn fake(name: &CStr, device: &device::Device) -> Result<Self> {
        // SAFETY: A function without requirements.
        let group = from_err_ptr(unsafe { bindings::iommu_group_alloc() })?;
        // SAFETY: The function returns a reference or an error.
        let group = Self(unsafe { NonNull::new_unchecked(group) });
        // SAFETY: The group, the name and the device are valid.
        unsafe {
            to_result(bindings::iommu_group_set_name(
                group.0.as_ptr(),
                name.as_char_ptr(),
            ))?;
            to_result(bindings::iommu_group_add_device(
                group.0.as_ptr(),
                as_raw(device),
            ))?;
        }
        Ok(group)
    }

    /// Takes the device out of the group that [`IommuGroup::fake`] made for it.
    pub(crate) fn remove_device(device: &device::Device) {
        // SAFETY: The device is valid and in a group.
        unsafe { bindings::iommu_group_remove_device(as_raw(device)) };
    }

    /// The number that names the group.
    pub(crate) fn id(&self) -> i32 {
        // SAFETY: This value owns a reference.
        unsafe { bindings::iommu_group_id(self.0.as_ptr()) }
    }

    /// Whether somebody other than kernel drivers owns the DMA of the group's devices.
    pub(crate) fn is_claimed(&self) -> bool {
        // SAFETY: This value owns a reference.
        unsafe { bindings::iommu_group_dma_owner_claimed(self.0.as_ptr()) }
    }

    /// Gives the reference to C.
    pub(crate) fn into_raw(self) -> *mut bindings::iommu_group {
        let group = self.0.as_ptr();
        core::mem::forget(self);
        group
    }

    /// The C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommu_group {
        self.0.as_ptr()
    }
}

/// Ownership of the DMA of a group's devices; dropping it gives it back.
pub(crate) struct DmaOwner(IommuGroup);

impl DmaOwner {
    /// Claims the group. `owner` is an address that identifies the claimer.
    ///
    /// # Errors
    ///
    /// `EPERM` if a kernel driver or another claimer has it, `EBUSY` if another domain is attached.
    pub(crate) fn claim(group: &IommuGroup, owner: usize) -> Result<Self> {
        // SAFETY: The group is valid; the owner is only compared.
        to_result(unsafe {
            bindings::iommu_group_claim_dma_owner(
                group.as_ptr(),
                core::ptr::without_provenance_mut(owner),
            )
        })?;
        Ok(Self(group.clone()))
    }
}

impl Drop for DmaOwner {
    fn drop(&mut self) {
        // SAFETY: The group was claimed by `claim`.
        unsafe { bindings::iommu_group_release_dma_owner(self.0.as_ptr()) };
    }
}

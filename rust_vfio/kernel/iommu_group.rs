// SPDX-License-Identifier: GPL-2.0

//! IOMMU groups: the smallest sets of devices that an IOMMU can isolate, and the ownership of their
//! DMA. A group is reference counted and has a lock of its own.
//!
//! In the kernel crate: `kernel::iommu` would get a counted type for groups and a guard for the
//! ownership of their DMA.
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

/// Identifies an IOMMU group among those that exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupKey(usize);

/// A counted reference to an IOMMU group.
#[derive(PartialEq, Eq)]
pub(crate) struct IommuGroup(NonNull<bindings::iommu_group>);

// SAFETY: IOMMU groups are counted atomically and have a lock of their own.
unsafe impl Send for IommuGroup {}
// SAFETY: As above.
unsafe impl Sync for IommuGroup {}

impl Clone for IommuGroup {
    fn clone(&self) -> Self {
        // SAFETY: This value owns a reference, so the group is valid. The function returns its
        // argument.
        Self(unsafe { NonNull::new_unchecked(bindings::iommu_group_ref_get(self.0.as_ptr())) })
    }
}

impl Drop for IommuGroup {
    fn drop(&mut self) {
        // SAFETY: This value owns a reference, which goes here.
        unsafe { bindings::iommu_group_put(self.0.as_ptr()) };
    }
}

impl IommuGroup {
    /// Returns a reference to the group of `device`, or none if the device is in no group.
    #[doc(alias = "iommu_group_get")]
    pub(crate) fn of(device: &device::Device) -> Option<Self> {
        // SAFETY: By the type invariants of `Device` the C object is valid.
        NonNull::new(unsafe { bindings::iommu_group_get(as_raw(device)) }).map(Self)
    }

    /// Allocates a group for a device that has no IOMMU, names it `name` and adds the device to it.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - Any errno of `iommu_group_set_name()` or `iommu_group_add_device()`, which come from
    ///   sysfs.
    #[doc(alias = "iommu_group_alloc")]
    pub(crate) fn fake(name: &CStr, device: &device::Device) -> Result<Self> {
        // SAFETY: There are no safety requirements.
        let group = from_err_ptr(unsafe { bindings::iommu_group_alloc() })?;
        // SAFETY: The function returns a reference or an error pointer, and it was no error.
        let group = Self(unsafe { NonNull::new_unchecked(group) });
        // SAFETY: `group` owns a reference, and name and device are valid, being references.
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

    /// Removes the device from the group that [`IommuGroup::fake`] allocated for it. Does nothing
    /// if the device is in no group. Sleeps.
    #[doc(alias = "iommu_group_remove_device")]
    pub(crate) fn remove_device(device: &device::Device) {
        // SAFETY: By the type invariants of `Device` the C object is valid.
        unsafe { bindings::iommu_group_remove_device(as_raw(device)) };
    }

    /// Returns what identifies the group as long as somebody has a reference to it.
    pub(crate) fn key(&self) -> GroupKey {
        GroupKey(self.0.addr().get())
    }

    /// Returns the number that names the group in sysfs.
    #[doc(alias = "iommu_group_id")]
    pub(crate) fn id(&self) -> i32 {
        // SAFETY: This value owns a reference, so the group is valid.
        unsafe { bindings::iommu_group_id(self.0.as_ptr()) }
    }

    /// Returns whether the DMA of the group has an owner: a kernel driver, or the holder of a
    /// [`DmaOwner`].
    #[doc(alias = "iommu_group_dma_owner_claimed")]
    pub(crate) fn is_claimed(&self) -> bool {
        // SAFETY: This value owns a reference, so the group is valid.
        unsafe { bindings::iommu_group_dma_owner_claimed(self.0.as_ptr()) }
    }

    /// Calls `f` with the names of the devices of the group that have a driver, and of the drivers,
    /// until it returns `true`. A device that is being bound or unbound is left out. Holds the lock
    /// of the group, so `f` must not use it. Sleeps.
    #[doc(alias = "iommu_group_for_each_dev")]
    pub(crate) fn find_driver(&self, mut f: impl FnMut(&CStr, &CStr) -> bool) {
        // SAFETY: The group is valid. The callback gets what it requires: `f` lives during the
        // call, in which nobody else uses it.
        unsafe {
            bindings::iommu_group_for_each_dev(
                self.0.as_ptr(),
                (&raw mut f).cast(),
                Some(show_driver_to(&f)),
            )
        };
    }

    /// Returns the C object together with the reference, which the caller has to drop.
    pub(crate) fn into_raw(self) -> *mut bindings::iommu_group {
        let group = self.0.as_ptr();
        core::mem::forget(self);
        group
    }

    /// Returns the C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommu_group {
        self.0.as_ptr()
    }
}

/// The type of the callback of `iommu_group_for_each_dev()`.
type DeviceCallback = unsafe extern "C" fn(*mut bindings::device, *mut c_void) -> c_int;

/// Returns the callback that passes devices to closures of the type of `f`.
fn show_driver_to<F: FnMut(&CStr, &CStr) -> bool>(_f: &F) -> DeviceCallback {
    show_driver::<F>
}

/// Passes the names of a device and its driver to a closure. Returns 1 to end the iteration.
///
/// # Safety
///
/// `dev` must be valid, and `f` point to an `F` that nobody else uses.
unsafe extern "C" fn show_driver<F: FnMut(&CStr, &CStr) -> bool>(
    dev: *mut bindings::device,
    f: *mut c_void,
) -> c_int {
    let mut name = [0u8; 32];
    // SAFETY: By the safety requirements of this function for the device. The array has so many
    // bytes.
    if !unsafe { bindings::vfio_rs_driver_name(dev, name.as_mut_ptr(), name.len()) } {
        return 0;
    }
    // SAFETY: By the safety requirements of this function. The name of a device that is in a group
    // does not change.
    let (f, device) = unsafe {
        (
            &mut *f.cast::<F>(),
            CStr::from_char_ptr(bindings::dev_name(dev)),
        )
    };
    f(
        device,
        CStr::from_bytes_until_nul(&name).unwrap_or_default(),
    )
    .into()
}

/// The ownership of the DMA of all devices of a group. Dropping it releases the ownership.
///
/// # Invariants
///
/// The group was claimed and not yet released.
pub(crate) struct DmaOwner(IommuGroup);

impl DmaOwner {
    /// Claims the DMA of `group` and blocks it until a domain is attached. `owner` is an address
    /// other than 0 that identifies the claimer. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EPERM` if the DMA has an owner already: a kernel driver or another claimer.
    /// - `EBUSY` if a domain other than the default one is attached to the group, or any domain to
    ///   a PASID of it.
    /// - `ENOMEM`, or any errno of the IOMMU driver, if no blocking domain can be made.
    /// - `EBUSY` if a device of the group is being reset.
    /// - Any errno of the IOMMU driver if the blocking domain cannot be attached.
    #[doc(alias = "iommu_group_claim_dma_owner")]
    pub(crate) fn claim(group: &IommuGroup, owner: usize) -> Result<Self> {
        // SAFETY: `group` owns a reference, so it is valid. The owner is compared only, never
        // dereferenced.
        to_result(unsafe {
            bindings::iommu_group_claim_dma_owner(
                group.as_ptr(),
                core::ptr::without_provenance_mut(owner),
            )
        })?;
        // INVARIANT: Claimed above.
        Ok(Self(group.clone()))
    }
}

impl Drop for DmaOwner {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the group is claimed, and the reference keeps it valid.
        unsafe { bindings::iommu_group_release_dma_owner(self.0.as_ptr()) };
    }
}

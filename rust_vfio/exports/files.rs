// SPDX-License-Identifier: GPL-2.0

//! Exported functions that take a file of VFIO from KVM or a driver.
//!
//! KVM looks up these functions by name and calls them with a lock of its own held. So they take no
//! lock under which KVM could be called, only spinlocks and the mutex of a group's list of devices.
//! The exception is `vfio_file_iommu_group()` with `CONFIG_SPAPR_TCE_IOMMU`, which takes the mutex
//! of the group's state, as in C.
//!
//! Corresponds to the `vfio_file_*()` functions of `drivers/vfio/vfio_main.c` and
//! `drivers/vfio/group.c`; contract sections 4.2 and 9.

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use core::pin::Pin;

use kernel::fs::File;

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::device_cdev;
use crate::{
    bindings,
    kernel::kvm::KvmPtr, //
};
#[cfg(CONFIG_VFIO_GROUP)]
use crate::{
    group,
    kernel::iommu_group::IommuGroup,
    views::device::Device, //
};

/// The kinds of files of VFIO that KVM and drivers may pass.
enum VfioFile<'a> {
    /// The file of a group.
    #[cfg(CONFIG_VFIO_GROUP)]
    Group(&'a group::Group),
    /// The file of a device that was opened through its group.
    #[cfg(CONFIG_VFIO_GROUP)]
    GroupDevice(&'a Device),
    /// The file of a cdev, which need not be bound to an iommufd.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    Cdev(Pin<&'a device_cdev::CdevFile>),
}

/// Returns the kind of `file`, or none if it is not one of VFIO's.
fn vfio_file(file: &File) -> Option<VfioFile<'_>> {
    #[cfg(CONFIG_VFIO_GROUP)]
    {
        if let Some(group) = group::from_file(file) {
            return Some(VfioFile::Group(group));
        }
        if let Some(device) = group::device_file::from_file(file) {
            return Some(VfioFile::GroupDevice(device));
        }
    }
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    if let Some(cdev) = device_cdev::from_file(file) {
        return Some(VfioFile::Cdev(cdev));
    }
    None
}

/// Borrows a file.
///
/// # Safety
///
/// The caller must hold a reference to `file` during `'a`.
unsafe fn borrow<'a>(file: *mut bindings::file) -> &'a File {
    // SAFETY: By the safety requirements of this function the file is valid. Nothing here depends
    // on the lock of the file position.
    unsafe { File::from_raw_file(file) }
}

/// Returns whether `file` is a file of VFIO: of a group or of a device, bound or not. Does not
/// sleep.
///
/// # Safety
///
/// The caller must hold a reference to `file`.
#[no_mangle]
unsafe extern "C" fn vfio_file_is_valid(file: *mut bindings::file) -> bool {
    // SAFETY: By the safety requirements of this function.
    vfio_file(unsafe { borrow(file) }).is_some()
}

/// Returns whether the IOMMU can make all DMA of the device, or of all devices of the group, cache
/// coherent. Returns true for files that are not of VFIO. Takes the mutex of a group's list of
/// devices.
///
/// # Safety
///
/// The caller must hold a reference to `file`.
#[no_mangle]
unsafe extern "C" fn vfio_file_enforced_coherent(file: *mut bindings::file) -> bool {
    // SAFETY: By the safety requirements of this function.
    match vfio_file(unsafe { borrow(file) }) {
        #[cfg(CONFIG_VFIO_GROUP)]
        Some(VfioFile::Group(group)) => group.is_enforced_coherent(),
        #[cfg(CONFIG_VFIO_GROUP)]
        Some(VfioFile::GroupDevice(device)) => device.is_enforced_coherent(),
        #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
        Some(VfioFile::Cdev(cdev)) => cdev.device().is_enforced_coherent(),
        // A file that is not of VFIO allows no DMA of VFIO devices.
        None => true,
    }
}

/// Stores the virtual machine in the group or in the file of the cdev; null clears it. Devices that
/// are opened later take a reference to it; devices that are open already are not affected. Takes a
/// spinlock.
///
/// # Safety
///
/// The caller must hold a reference to `file`. `kvm` must be null or valid, and the caller must
/// clear or replace it before the virtual machine is freed.
#[no_mangle]
unsafe extern "C" fn vfio_file_set_kvm(file: *mut bindings::file, kvm: *mut bindings::kvm) {
    // SAFETY: By the safety requirements of this function the file is valid, and the virtual
    // machine is valid until it is cleared or replaced, which drops the value.
    let (file, kvm) = unsafe { (borrow(file), KvmPtr::new(kvm)) };
    match vfio_file(file) {
        #[cfg(CONFIG_VFIO_GROUP)]
        Some(VfioFile::Group(group)) => group.set_kvm(kvm),
        #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
        Some(VfioFile::Cdev(cdev)) => cdev.set_kvm(kvm),
        // A device that was opened through its group took its reference when it was opened.
        #[cfg(CONFIG_VFIO_GROUP)]
        Some(VfioFile::GroupDevice(_)) => {}
        None => {}
    }
}

/// Returns the IOMMU group of the file of a group, with a reference that the caller owns. Returns
/// null for other files, and without `CONFIG_SPAPR_TCE_IOMMU`.
///
/// # Safety
///
/// The caller must hold a reference to `file`.
#[cfg(CONFIG_VFIO_GROUP)]
#[no_mangle]
unsafe extern "C" fn vfio_file_iommu_group(
    file: *mut bindings::file,
) -> *mut bindings::iommu_group {
    if !cfg!(CONFIG_SPAPR_TCE_IOMMU) {
        return core::ptr::null_mut();
    }
    // SAFETY: By the safety requirements of this function.
    group::from_file(unsafe { borrow(file) })
        .and_then(|group| group.identity())
        .map_or(core::ptr::null_mut(), IommuGroup::into_raw)
}

/// Returns whether `file` is the file of a group. Does not sleep.
///
/// # Safety
///
/// The caller must hold a reference to `file`.
#[cfg(CONFIG_VFIO_GROUP)]
#[no_mangle]
unsafe extern "C" fn vfio_file_is_group(file: *mut bindings::file) -> bool {
    // SAFETY: By the safety requirements of this function.
    group::from_file(unsafe { borrow(file) }).is_some()
}

/// Returns whether `file` is the file of the group of `device`. Does not sleep.
///
/// # Safety
///
/// The caller must hold a reference to `file`, and `device` must be valid.
#[cfg(CONFIG_VFIO_GROUP)]
#[no_mangle]
unsafe extern "C" fn vfio_file_has_dev(
    file: *mut bindings::file,
    device: *mut bindings::vfio_device,
) -> bool {
    // SAFETY: By the safety requirements of this function.
    unsafe { group::has_device(borrow(file), Device::from_raw(device)) }
}

export! {
    vfio_file_is_valid,
    vfio_file_enforced_coherent,
    vfio_file_set_kvm,
}

#[cfg(CONFIG_VFIO_GROUP)]
export! {
    vfio_file_iommu_group,
    vfio_file_is_group,
    vfio_file_has_dev,
}

// SPDX-License-Identifier: GPL-2.0

//! Files, as KVM and drivers see them. Contract sections 4.2 and 9.
//!
//! KVM finds these functions by name and calls them under a lock of its own, so none of them takes
//! a lock under which KVM could be called.

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

/// A file of VFIO.
enum VfioFile<'a> {
    /// A group.
    #[cfg(CONFIG_VFIO_GROUP)]
    Group(&'a group::Group),
    /// A device that was opened through its group.
    #[cfg(CONFIG_VFIO_GROUP)]
    GroupDevice(&'a group::device_file::DeviceFile),
    /// A device that was opened by its own node, and need not be bound.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    Cdev(Pin<&'a device_cdev::CdevFile>),
}

/// Returns what `file` is, if it is one of VFIO's.
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

/// # Safety
///
/// The caller holds a reference to `file`.
unsafe fn borrow<'a>(file: *mut bindings::file) -> &'a File {
    // SAFETY: By the safety requirements of this function; nothing here depends on the file's position.
    unsafe { File::from_raw_file(file) }
}

/// # Safety
///
/// The caller holds a reference to `file`.
#[no_mangle]
unsafe extern "C" fn vfio_file_is_valid(file: *mut bindings::file) -> bool {
    // SAFETY: By the safety requirements of this function.
    vfio_file(unsafe { borrow(file) }).is_some()
}

/// # Safety
///
/// The caller holds a reference to `file`.
#[no_mangle]
unsafe extern "C" fn vfio_file_enforced_coherent(file: *mut bindings::file) -> bool {
    // SAFETY: By the safety requirements of this function.
    match vfio_file(unsafe { borrow(file) }) {
        #[cfg(CONFIG_VFIO_GROUP)]
        Some(VfioFile::Group(group)) => group.is_enforced_coherent(),
        #[cfg(CONFIG_VFIO_GROUP)]
        Some(VfioFile::GroupDevice(device)) => device.is_enforced_coherent(),
        #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
        Some(VfioFile::Cdev(cdev)) => cdev.is_enforced_coherent(),
        // Whatever it is, it does no DMA that VFIO let through.
        None => true,
    }
}

/// # Safety
///
/// The caller holds a reference to `file`, and clears the pointer before the virtual machine goes.
#[no_mangle]
unsafe extern "C" fn vfio_file_set_kvm(file: *mut bindings::file, kvm: *mut bindings::kvm) {
    // SAFETY: By the safety requirements of this function.
    let (file, kvm) = unsafe { (borrow(file), KvmPtr::new(kvm)) };
    match vfio_file(file) {
        #[cfg(CONFIG_VFIO_GROUP)]
        Some(VfioFile::Group(group)) => group.set_kvm(kvm),
        #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
        Some(VfioFile::Cdev(cdev)) => cdev.set_kvm(kvm),
        // A device that was opened through its group is open already.
        #[cfg(CONFIG_VFIO_GROUP)]
        Some(VfioFile::GroupDevice(_)) => {}
        None => {}
    }
}

/// The IOMMU group of a group file, referenced; for KVM on sPAPR, null elsewhere.
///
/// # Safety
///
/// The caller holds a reference to `file`.
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

/// # Safety
///
/// The caller holds a reference to `file`.
#[cfg(CONFIG_VFIO_GROUP)]
#[no_mangle]
unsafe extern "C" fn vfio_file_is_group(file: *mut bindings::file) -> bool {
    // SAFETY: By the safety requirements of this function.
    group::from_file(unsafe { borrow(file) }).is_some()
}

/// # Safety
///
/// The caller holds a reference to `file`, and `device` is valid.
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

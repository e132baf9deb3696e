// SPDX-License-Identifier: GPL-2.0

//! Files, as KVM and drivers see them. Contract sections 4.2 and 9.
//!
//! KVM finds these functions by name and calls them under a lock of its own, so none of them takes
//! a lock under which KVM could be called.

use core::ptr;

use kernel::fs::File;

use crate::{
    core::device_file,
    ffi::{
        bindings,
        device::Device,
        iommu_group::IommuGroup,
        kvm::KvmPtr, //
    },
    group, //
};

/// # Safety
///
/// The caller holds a reference to `file`.
unsafe fn borrow<'a>(file: *mut bindings::file) -> &'a File {
    // SAFETY: By the contract of this function; nothing here depends on the file's position.
    unsafe { File::from_raw_file(file) }
}

/// # Safety
///
/// The caller holds a reference to `file`.
#[no_mangle]
unsafe extern "C" fn vfio_file_is_valid(file: *mut bindings::file) -> bool {
    // SAFETY: By the contract of this function.
    let file = unsafe { borrow(file) };
    group::from_file(file).is_some() || device_file::from_file(file).is_some()
}

/// # Safety
///
/// The caller holds a reference to `file`.
#[no_mangle]
unsafe extern "C" fn vfio_file_enforced_coherent(file: *mut bindings::file) -> bool {
    // SAFETY: By the contract of this function.
    let file = unsafe { borrow(file) };
    match (group::from_file(file), device_file::from_file(file)) {
        (Some(group), _) => group.is_enforced_coherent(),
        (None, Some(device)) => device.is_enforced_coherent(),
        // Whatever it is, it does no DMA that VFIO let through.
        (None, None) => true,
    }
}

/// # Safety
///
/// The caller holds a reference to `file`, and clears the pointer before the virtual machine goes.
#[no_mangle]
unsafe extern "C" fn vfio_file_set_kvm(file: *mut bindings::file, kvm: *mut bindings::kvm) {
    // SAFETY: By the contract of this function.
    let file = unsafe { borrow(file) };
    // A device file was opened through its group, which KVM knows too.
    if let Some(group) = group::from_file(file) {
        // SAFETY: By the contract of this function.
        group.set_kvm(unsafe { KvmPtr::new(kvm) });
    }
}

/// The IOMMU group of a group file, referenced; for KVM on sPAPR, null elsewhere.
///
/// # Safety
///
/// The caller holds a reference to `file`.
#[no_mangle]
unsafe extern "C" fn vfio_file_iommu_group(
    file: *mut bindings::file,
) -> *mut bindings::iommu_group {
    if !cfg!(CONFIG_SPAPR_TCE_IOMMU) {
        return ptr::null_mut();
    }
    // SAFETY: By the contract of this function.
    group::from_file(unsafe { borrow(file) })
        .and_then(|group| group.identity())
        .map_or(ptr::null_mut(), IommuGroup::into_raw)
}

/// # Safety
///
/// The caller holds a reference to `file`.
#[no_mangle]
unsafe extern "C" fn vfio_file_is_group(file: *mut bindings::file) -> bool {
    // SAFETY: By the contract of this function.
    group::from_file(unsafe { borrow(file) }).is_some()
}

/// # Safety
///
/// The caller holds a reference to `file`, and `device` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_file_has_dev(
    file: *mut bindings::file,
    device: *mut bindings::vfio_device,
) -> bool {
    // SAFETY: By the contract of this function.
    unsafe { group::has_device(borrow(file), Device::from_raw(device)) }
}

export! {
    vfio_file_is_valid,
    vfio_file_enforced_coherent,
    vfio_file_set_kvm,
    vfio_file_iommu_group,
    vfio_file_is_group,
    vfio_file_has_dev,
}

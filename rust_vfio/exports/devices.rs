// SPDX-License-Identifier: GPL-2.0

//! Devices and device sets. Contract section 4.1.

use core::ptr;

use kernel::error::from_result;

use crate::{
    bindings,
    core as vfio_core,
    registration,
    views::{
        device::{
            Blueprint,
            Device, //
        },
        device_set::DeviceSet,
        group_type::GroupType,
        set_table, //
    }, //
};

/// # Safety
///
/// Called by a driver. `dev` is bound to it and `ops` belongs to it.
#[no_mangle]
unsafe extern "C" fn _vfio_alloc_device(
    size: usize,
    dev: *mut bindings::device,
    ops: *const bindings::vfio_device_ops,
) -> *mut bindings::vfio_device {
    // SAFETY: A driver frees its devices before it goes.
    let blueprint = unsafe { Blueprint::new(size, dev, ops) };
    match vfio_core::allocate(&blueprint) {
        Ok(device) => device,
        Err(e) => e.to_ptr(),
    }
}

/// # Safety
///
/// `device` is a device that the calling driver allocated and did not register.
#[no_mangle]
unsafe extern "C" fn vfio_register_group_dev(
    device: *mut bindings::vfio_device,
) -> kernel::ffi::c_int {
    // SAFETY: The driver holds a reference.
    let device = unsafe { Device::from_raw(device) };
    from_result(|| registration::register(device, GroupType::Iommu).map(|()| 0))
}

/// # Safety
///
/// As [`vfio_register_group_dev`].
#[no_mangle]
unsafe extern "C" fn vfio_register_emulated_iommu_dev(
    device: *mut bindings::vfio_device,
) -> kernel::ffi::c_int {
    // SAFETY: The driver holds a reference.
    let device = unsafe { Device::from_raw(device) };
    from_result(|| registration::register(device, GroupType::Emulated).map(|()| 0))
}

/// # Safety
///
/// `device` is a device that the calling driver registered.
#[no_mangle]
unsafe extern "C" fn vfio_unregister_group_dev(device: *mut bindings::vfio_device) {
    // SAFETY: The driver holds a reference.
    registration::unregister(unsafe { Device::from_raw(device) });
}

/// # Safety
///
/// `device` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_device_try_get_registration(device: *mut bindings::vfio_device) -> bool {
    // SAFETY: By the safety requirements of this function.
    unsafe { Device::from_raw(device) }.try_get_registration()
}

/// # Safety
///
/// The caller owns a count of the registration of `device`.
#[no_mangle]
unsafe extern "C" fn vfio_device_put_registration(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    unsafe { Device::from_raw(device).put_registration() };
}

/// # Safety
///
/// `device` is a device that the calling driver allocates or did not register yet, and that is in
/// no set.
#[no_mangle]
unsafe extern "C" fn vfio_assign_device_set(
    device: *mut bindings::vfio_device,
    set_id: *mut kernel::ffi::c_void,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    let device = unsafe { Device::from_raw(device) };
    from_result(|| set_table::join(device, set_id.addr()).map(|()| 0))
}

/// # Safety
///
/// The caller holds the lock of `dev_set`, the set of a device that it knows.
#[no_mangle]
unsafe extern "C" fn vfio_device_set_open_count(
    dev_set: *mut bindings::vfio_device_set,
) -> kernel::ffi::c_uint {
    // SAFETY: By the safety requirements of this function.
    unsafe { set_table::open_count(DeviceSet::from_raw(dev_set)) }
}

/// # Safety
///
/// The caller holds the lock of `dev_set`, the set of a device that it knows.
#[no_mangle]
unsafe extern "C" fn vfio_find_device_in_devset(
    dev_set: *mut bindings::vfio_device_set,
    dev: *mut bindings::device,
) -> *mut bindings::vfio_device {
    // SAFETY: By the safety requirements of this function.
    let found = unsafe {
        let set = DeviceSet::from_raw(dev_set);
        set_table::find_by_bus_device(set, dev.addr())
    };
    found.unwrap_or(ptr::null_mut())
}

export! {
    _vfio_alloc_device,
    vfio_register_group_dev,
    vfio_register_emulated_iommu_dev,
    vfio_unregister_group_dev,
    vfio_device_try_get_registration,
    vfio_device_put_registration,
    vfio_assign_device_set,
    vfio_device_set_open_count,
    vfio_find_device_in_devset,
}

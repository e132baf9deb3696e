// SPDX-License-Identifier: GPL-2.0

//! Exported functions for the life of devices and for device sets.
//!
//! The policy is in `core.rs`, `registration.rs` and `views/set_table.rs`. Corresponds to the
//! exports of the first half of `drivers/vfio/vfio_main.c`; contract section 4.1.

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

/// Allocates a device as the first member of a driver's structure of `size` bytes. The driver owns
/// one reference to it, which it drops with `vfio_put_device()`. Sleeps.
///
/// Returns an error pointer on failure; for the errnos see [`vfio_core::allocate`].
///
/// # Safety
///
/// Must be called by the driver to which `dev` is bound. `ops` must be part of the driver.
#[no_mangle]
unsafe extern "C" fn _vfio_alloc_device(
    size: usize,
    dev: *mut bindings::device,
    ops: *const bindings::vfio_device_ops,
) -> *mut bindings::vfio_device {
    // SAFETY: A driver frees its devices before it is unbound from `dev` and unloaded, so both
    // pointers are valid as long as the device.
    let blueprint = unsafe { Blueprint::new(size, dev, ops) };
    match vfio_core::allocate(&blueprint) {
        Ok(device) => device,
        Err(e) => e.to_ptr(),
    }
}

/// Registers a device whose DMA an IOMMU translates. Sleeps. For the errnos see
/// [`registration::register`].
///
/// # Safety
///
/// `device` must be a device that the calling driver allocated, and that is not registered.
#[no_mangle]
unsafe extern "C" fn vfio_register_group_dev(
    device: *mut bindings::vfio_device,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function the driver allocated the device, so it
    // owns a reference.
    let device = unsafe { Device::from_raw(device) };
    from_result(|| registration::register(device, GroupType::Iommu).map(|()| 0))
}

/// Registers an emulated device, whose driver translates in software. Sleeps. For the errnos see
/// [`registration::register`].
///
/// # Safety
///
/// `device` must be a device that the calling driver allocated, and that is not registered.
#[no_mangle]
unsafe extern "C" fn vfio_register_emulated_iommu_dev(
    device: *mut bindings::vfio_device,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function the driver allocated the device, so it
    // owns a reference.
    let device = unsafe { Device::from_raw(device) };
    from_result(|| registration::register(device, GroupType::Emulated).map(|()| 0))
}

/// Unregisters a device, and waits until user space has closed it. Sleeps, perhaps for ever.
///
/// # Safety
///
/// `device` must be a device that the calling driver registered, and has not unregistered.
#[no_mangle]
unsafe extern "C" fn vfio_unregister_group_dev(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function the driver registered the device, so it
    // owns a reference.
    registration::unregister(unsafe { Device::from_raw(device) });
}

/// Adds a count to the registration of a device, and returns whether the device is registered. Does
/// not sleep.
///
/// # Safety
///
/// `device` must be valid.
#[no_mangle]
unsafe extern "C" fn vfio_device_try_get_registration(device: *mut bindings::vfio_device) -> bool {
    // SAFETY: By the safety requirements of this function.
    unsafe { Device::from_raw(device) }.try_get_registration()
}

/// Subtracts a count from the registration of a device, and wakes the task that unregisters it if
/// none is left. Does not sleep.
///
/// # Safety
///
/// The caller must own a count of the registration of `device`, and must not use the device
/// afterwards unless something else keeps it valid.
#[no_mangle]
unsafe extern "C" fn vfio_device_put_registration(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    unsafe { Device::from_raw(device).put_registration() };
}

/// Adds a device to the device set with the identifier `set_id`, an arbitrary pointer. Sleeps. For
/// the errnos see [`set_table::join`].
///
/// # Safety
///
/// `device` must be a device that the calling driver is allocating or has not registered yet, and
/// that is in no set.
#[no_mangle]
unsafe extern "C" fn vfio_assign_device_set(
    device: *mut bindings::vfio_device,
    set_id: *mut kernel::ffi::c_void,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    let device = unsafe { Device::from_raw(device) };
    from_result(|| set_table::join(device, set_id.addr()).map(|()| 0))
}

/// Returns the sum of the `open_count` of all devices of a set.
///
/// # Safety
///
/// `dev_set` must be the set of a valid device, and the caller must hold its lock.
#[no_mangle]
unsafe extern "C" fn vfio_device_set_open_count(
    dev_set: *mut bindings::vfio_device_set,
) -> kernel::ffi::c_uint {
    // SAFETY: By the safety requirements of this function.
    unsafe { set_table::open_count(DeviceSet::from_raw(dev_set)) }
}

/// Returns the VFIO device of a set for the device `dev` on the bus, or null. It has no reference,
/// and is valid as long as the lock of the set is held.
///
/// # Safety
///
/// `dev_set` must be the set of a valid device, and the caller must hold its lock.
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

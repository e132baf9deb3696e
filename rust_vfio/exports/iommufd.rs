// SPDX-License-Identifier: GPL-2.0

//! How devices are bound to iommufd, for the tables of C drivers. Contract section 4.7.
//!
//! In all of these `device` is valid, and the lock of its set is held: iommufd's users in drivers
//! call them from callbacks under that lock.

use core::ptr;

use kernel::{
    error::{
        code::{
            EINVAL,
            ENODEV, //
        },
        Error,
        Result, //
    },
    ffi::c_int, //
};

use crate::{
    bindings,
    iommufd::{
        self,
        emulated,
        physical, //
    },
    kernel::iommufd::IommufdCtx,
    views::device::Device, //
};

fn errno(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

/// # Safety
///
/// `device` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_device_ictx(
    device: *mut bindings::vfio_device,
) -> *mut bindings::iommufd_ctx {
    // SAFETY: By the safety requirements of this function.
    let ctx = iommufd::ctx(unsafe { Device::from_raw(device) });
    ctx.map_or(ptr::null_mut(), IommufdCtx::as_raw)
}

/// # Safety
///
/// `device` is valid, and `ictx` is valid or null.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_get_dev_id(
    device: *mut bindings::vfio_device,
    ictx: *mut bindings::iommufd_ctx,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    let (device, ctx) = unsafe { (Device::from_raw(device), IommufdCtx::from_raw(ictx)) };
    match iommufd::device_id(device, ctx) {
        Ok(id) => c_int::try_from(id).unwrap_or(ENODEV.to_errno()),
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// `device` and `ictx` are valid, and `id` is valid for writing.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_bind(
    device: *mut bindings::vfio_device,
    ictx: *mut bindings::iommufd_ctx,
    id: *mut u32,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    let (device, ctx) = unsafe { (Device::from_raw(device), IommufdCtx::from_raw(ictx)) };
    let bound = ctx.ok_or(EINVAL).and_then(|c| physical::bind(device, c));
    // SAFETY: By the safety requirements of this function.
    errno(bound.map(|bound| unsafe { id.write(bound) }))
}

/// # Safety
///
/// `device` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_unbind(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    physical::unbind(unsafe { Device::from_raw(device) });
}

/// # Safety
///
/// `device` is valid, and `pt_id` is valid for reading and writing.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_attach_ioas(
    device: *mut bindings::vfio_device,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    errno(unsafe { physical::attach(Device::from_raw(device), &mut *pt_id) })
}

/// # Safety
///
/// `device` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_detach_ioas(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    physical::detach(unsafe { Device::from_raw(device) });
}

/// # Safety
///
/// `device` is valid, and `pt_id` is valid for reading and writing.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_pasid_attach_ioas(
    device: *mut bindings::vfio_device,
    pasid: u32,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    errno(unsafe { physical::attach_pasid(Device::from_raw(device), pasid, &mut *pt_id) })
}

/// # Safety
///
/// `device` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_pasid_detach_ioas(
    device: *mut bindings::vfio_device,
    pasid: u32,
) {
    // SAFETY: By the safety requirements of this function.
    physical::detach_pasid(unsafe { Device::from_raw(device) }, pasid);
}

/// # Safety
///
/// `device` and `ictx` are valid, and `id` is valid for writing.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_emulated_bind(
    device: *mut bindings::vfio_device,
    ictx: *mut bindings::iommufd_ctx,
    id: *mut u32,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    let (device, ctx) = unsafe { (Device::from_raw(device), IommufdCtx::from_raw(ictx)) };
    let bound = ctx.ok_or(EINVAL).and_then(|c| emulated::bind(device, c));
    // SAFETY: By the safety requirements of this function.
    errno(bound.map(|bound| unsafe { id.write(bound) }))
}

/// # Safety
///
/// `device` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_emulated_unbind(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    emulated::unbind(unsafe { Device::from_raw(device) });
}

/// # Safety
///
/// `device` is valid, and `pt_id` is valid for reading.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_emulated_attach_ioas(
    device: *mut bindings::vfio_device,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    errno(unsafe { emulated::attach(Device::from_raw(device), *pt_id) })
}

/// # Safety
///
/// `device` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_emulated_detach_ioas(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    emulated::detach(unsafe { Device::from_raw(device) });
}

export! {
    vfio_iommufd_device_ictx,
    vfio_iommufd_get_dev_id,
    vfio_iommufd_physical_bind,
    vfio_iommufd_physical_unbind,
    vfio_iommufd_physical_attach_ioas,
    vfio_iommufd_physical_detach_ioas,
    vfio_iommufd_physical_pasid_attach_ioas,
    vfio_iommufd_physical_pasid_detach_ioas,
    vfio_iommufd_emulated_bind,
    vfio_iommufd_emulated_unbind,
    vfio_iommufd_emulated_attach_ioas,
    vfio_iommufd_emulated_detach_ioas,
}

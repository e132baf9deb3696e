// SPDX-License-Identifier: GPL-2.0

//! Exported functions by which C drivers bind devices to iommufd and attach them. Most drivers put
//! them into their tables of callbacks.
//!
//! For all of them the caller must hold the lock of the device's set, as the core does when it
//! calls the callbacks. The policy, and the errnos, are in `iommufd.rs`. Corresponds to
//! `drivers/vfio/iommufd.c`; contract section 4.7.

use core::ptr;

use kernel::{
    error::code::{
        EINVAL,
        ENODEV, //
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
    kernel::{
        iommufd::IommufdCtx,
        returned::Failure, //
    },
    views::device::Device, //
};

/// Converts a result to 0 or the number of the failure, as a rule a negative errno.
fn status(result: Result<(), Failure>) -> c_int {
    result.map_or_else(Failure::get_int, |()| 0)
}

/// Returns the context that a device with DMA of its own is bound to, or null.
///
/// # Safety
///
/// `device` must be valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_device_ictx(
    device: *mut bindings::vfio_device,
) -> *mut bindings::iommufd_ctx {
    // SAFETY: By the safety requirements of this function.
    let ctx = iommufd::ctx(unsafe { Device::from_raw(device) });
    ctx.map_or(ptr::null_mut(), IommufdCtx::as_raw)
}

/// Returns the id of the device in the context `ictx`, or a negative errno (see
/// [`iommufd::device_id`]).
///
/// # Safety
///
/// `device` must be valid, and `ictx` must be valid or null.
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

/// Binds a device with DMA of its own to the context `ictx`, and sets `id` to its id there. Sleeps.
/// For the errnos see [`physical::bind`]; `EINVAL` if `ictx` is null.
///
/// # Safety
///
/// `device` must be valid, `ictx` must be valid or null, and `id` must be valid for writing.
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
    status(
        bound
            .map(|bound| unsafe { id.write(bound) })
            .map_err(Failure::from),
    )
}

/// Detaches everything from a device with DMA of its own, and unbinds it. Sleeps.
///
/// # Safety
///
/// `device` must be valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_unbind(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    physical::unbind(unsafe { Device::from_raw(device) });
}

/// Attaches the IOAS or the page table with the id `pt_id`, which is set to the id of the page
/// table that is used. Sleeps. For the errnos see [`physical::attach`].
///
/// # Safety
///
/// `device` must be valid, and `pt_id` must be valid for reading and writing.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_attach_ioas(
    device: *mut bindings::vfio_device,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    status(unsafe { physical::attach(Device::from_raw(device), &mut *pt_id) })
}

/// Detaches the IOAS or the page table, if any. Sleeps.
///
/// # Safety
///
/// `device` must be valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_detach_ioas(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    physical::detach(unsafe { Device::from_raw(device) });
}

/// Attaches the IOAS or the page table with the id `pt_id` for a PASID, and sets `pt_id` to the id
/// of the page table that is used. Sleeps. For the errnos see [`physical::attach_pasid`].
///
/// # Safety
///
/// `device` must be valid, and `pt_id` must be valid for reading and writing.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_pasid_attach_ioas(
    device: *mut bindings::vfio_device,
    pasid: u32,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    status(unsafe { physical::attach_pasid(Device::from_raw(device), pasid, &mut *pt_id) })
}

/// Detaches the page table of a PASID, if any. Sleeps.
///
/// # Safety
///
/// `device` must be valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_physical_pasid_detach_ioas(
    device: *mut bindings::vfio_device,
    pasid: u32,
) {
    // SAFETY: By the safety requirements of this function.
    physical::detach_pasid(unsafe { Device::from_raw(device) }, pasid);
}

/// Binds an emulated device to the context `ictx`, and sets `id` to its id there. Sleeps. For the
/// errnos see [`emulated::bind`]; `EINVAL` if `ictx` is null.
///
/// # Safety
///
/// `device` must be valid, `ictx` must be valid or null, and `id` must be valid for writing.
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
    status(
        bound
            .map(|bound| unsafe { id.write(bound) })
            .map_err(Failure::from),
    )
}

/// Detaches the IOAS from an emulated device, if any, and unbinds it. Sleeps.
///
/// # Safety
///
/// `device` must be valid.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_emulated_unbind(device: *mut bindings::vfio_device) {
    // SAFETY: By the safety requirements of this function.
    emulated::unbind(unsafe { Device::from_raw(device) });
}

/// Attaches the IOAS with the id `pt_id` to an emulated device. Sleeps. For the errnos see
/// [`emulated::attach`].
///
/// # Safety
///
/// `device` must be valid, and `pt_id` must be valid for reading.
#[no_mangle]
unsafe extern "C" fn vfio_iommufd_emulated_attach_ioas(
    device: *mut bindings::vfio_device,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    status(unsafe { emulated::attach(Device::from_raw(device), *pt_id) })
}

/// Detaches the IOAS from an emulated device, if any. Sleeps.
///
/// # Safety
///
/// `device` must be valid.
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

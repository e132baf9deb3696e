// SPDX-License-Identifier: GPL-2.0

//! Exported functions for the chain of capabilities in the reply of an ioctl.
//!
//! The policy is in `core/info_caps.rs`. Corresponds to the `vfio_info_*()` functions of
//! `drivers/vfio/vfio_main.c`; contract section 4.3.

use core::{
    mem::size_of,
    slice, //
};

use kernel::error::Error;

use crate::{
    bindings,
    core::info_caps::CapBuffer, //
};

/// Adds a capability of `size` bytes, header included, and returns its header, which is valid until
/// the next one is added. Sleeps.
///
/// Returns an error pointer on failure; for the errnos see [`CapBuffer::add`].
///
/// # Safety
///
/// The invariants of [`CapBuffer`] must hold for `caps`, and nobody else may use it during the
/// call.
#[no_mangle]
unsafe extern "C" fn vfio_info_cap_add(
    caps: *mut bindings::vfio_info_cap,
    size: usize,
    id: u16,
    version: u16,
) -> *mut bindings::vfio_info_cap_header {
    // SAFETY: By the safety requirements of this function.
    let caps = unsafe { CapBuffer::from_raw(caps) };
    match caps.add(size, id, version) {
        Ok(at) => caps.bytes_mut().as_mut_ptr().wrapping_add(at).cast(),
        Err(e) => e.to_ptr(),
    }
}

/// Adds `offset` bytes to all links of the chain, whose offsets then count from the beginning of
/// the ioctl's structure. Does not sleep.
///
/// # Safety
///
/// The invariants of [`CapBuffer`] must hold for `caps`, and nobody else may use it during the
/// call.
#[no_mangle]
unsafe extern "C" fn vfio_info_cap_shift(caps: *mut bindings::vfio_info_cap, offset: usize) {
    // SAFETY: By the safety requirements of this function.
    unsafe { CapBuffer::from_raw(caps) }.shift(offset);
}

/// Adds a copy of the capability `cap`. Sleeps. For the errnos see [`CapBuffer::add_copy`];
/// `EINVAL` if `size` is less than that of a header.
///
/// # Safety
///
/// The invariants of [`CapBuffer`] must hold for `caps`, and nobody else may use it during the
/// call. `cap` must be valid for reading `size` bytes, header included.
#[no_mangle]
unsafe extern "C" fn vfio_info_add_capability(
    caps: *mut bindings::vfio_info_cap,
    cap: *mut bindings::vfio_info_cap_header,
    size: usize,
) -> kernel::ffi::c_int {
    let Some(len) = size.checked_sub(size_of::<bindings::vfio_info_cap_header>()) else {
        return kernel::error::code::EINVAL.to_errno();
    };
    // SAFETY: By the safety requirements of this function `cap` is valid for `size` bytes, which is
    // at least that of a header.
    let (id, version) = unsafe { ((*cap).id, (*cap).version) };
    // SAFETY: By the safety requirements of this function `len` bytes follow the header.
    let contents = unsafe { slice::from_raw_parts(cap.wrapping_add(1).cast(), len) };
    // SAFETY: By the safety requirements of this function.
    let caps = unsafe { CapBuffer::from_raw(caps) };
    caps.add_copy(id, version, contents)
        .map_or_else(Error::to_errno, |()| 0)
}

export! {
    vfio_info_cap_add,
    vfio_info_cap_shift,
    vfio_info_add_capability,
}

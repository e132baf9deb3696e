// SPDX-License-Identifier: GPL-2.0

//! Capabilities behind the answer of an ioctl. Contract section 4.3.

use core::{
    mem::size_of,
    slice, //
};

use kernel::error::Error;

use crate::{
    bindings,
    core::info_caps::CapBuffer, //
};

/// # Safety
///
/// `caps` is a buffer as in the invariants of [`CapBuffer`], and the caller's alone.
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

/// # Safety
///
/// As for [`vfio_info_cap_add`].
#[no_mangle]
unsafe extern "C" fn vfio_info_cap_shift(caps: *mut bindings::vfio_info_cap, offset: usize) {
    // SAFETY: By the safety requirements of this function.
    unsafe { CapBuffer::from_raw(caps) }.shift(offset);
}

/// # Safety
///
/// As for [`vfio_info_cap_add`]; `cap` is a capability of `size` bytes, header included.
#[no_mangle]
unsafe extern "C" fn vfio_info_add_capability(
    caps: *mut bindings::vfio_info_cap,
    cap: *mut bindings::vfio_info_cap_header,
    size: usize,
) -> kernel::ffi::c_int {
    let Some(len) = size.checked_sub(size_of::<bindings::vfio_info_cap_header>()) else {
        return kernel::error::code::EINVAL.to_errno();
    };
    // SAFETY: By the safety requirements of this function `cap` begins with a header, ...
    let (id, version) = unsafe { ((*cap).id, (*cap).version) };
    // SAFETY: ... which is followed by `len` bytes.
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

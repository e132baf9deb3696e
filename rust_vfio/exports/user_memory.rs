// SPDX-License-Identifier: GPL-2.0

//! Exported functions by which drivers of emulated devices access user memory.
//!
//! The policy, and the errnos, are in `user_memory.rs`. Corresponds to `vfio_pin_pages()`,
//! `vfio_unpin_pages()` and `vfio_dma_rw()` in `drivers/vfio/vfio_main.c`; contract section 4.5.

use kernel::ffi::c_int;

use crate::{
    bindings,
    kernel::returned::Failure,
    user_memory,
    views::{
        device::Device,
        user_dma::{
            DmaCopy,
            PinRequest, //
        }, //
    }, //
};

/// Pins `npage` pages from IOVA `iova` on, for accesses as `prot` says (flags of the IOMMU API),
/// and stores them in `pages`. Returns their number or a negative errno (see
/// [`user_memory::pin_pages`]). Sleeps.
///
/// # Safety
///
/// `device` must be valid and stay open during the call. `pages` must be null or have room for
/// `npage` pointers.
#[no_mangle]
unsafe extern "C" fn vfio_pin_pages(
    device: *mut bindings::vfio_device,
    iova: bindings::dma_addr_t,
    npage: c_int,
    prot: c_int,
    pages: *mut *mut bindings::page,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    let (device, request) = unsafe {
        (
            Device::from_raw(device),
            PinRequest::new(iova, npage, prot, pages),
        )
    };
    // CAST: The number of pages came as a `c_int`.
    user_memory::pin_pages(device, &request).map_or_else(Failure::get_int, |pages| pages as c_int)
}

/// Unpins `npage` pages from IOVA `iova` on. Sleeps.
///
/// # Safety
///
/// `device` must be valid and stay open during the call.
#[no_mangle]
unsafe extern "C" fn vfio_unpin_pages(
    device: *mut bindings::vfio_device,
    iova: bindings::dma_addr_t,
    npage: c_int,
) {
    // SAFETY: By the safety requirements of this function.
    user_memory::unpin_pages(unsafe { Device::from_raw(device) }, iova, npage);
}

/// Copies `len` bytes between `data` and user memory from IOVA `iova` on: to user memory if
/// `write`, from it otherwise. Returns 0 or a negative errno (see [`user_memory::rw`]). Sleeps.
///
/// # Safety
///
/// `device` must be valid and stay open during the call. `data` must be null or valid for `len`
/// bytes, for writing unless `write`.
#[no_mangle]
unsafe extern "C" fn vfio_dma_rw(
    device: *mut bindings::vfio_device,
    iova: bindings::dma_addr_t,
    data: *mut kernel::ffi::c_void,
    len: usize,
    write: bool,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    let (device, copy) = unsafe {
        (
            Device::from_raw(device),
            DmaCopy::new(iova, data, len, write),
        )
    };
    user_memory::rw(device, &copy).map_or_else(Failure::get_int, |()| 0)
}

export! {
    vfio_pin_pages,
    vfio_unpin_pages,
    vfio_dma_rw,
}

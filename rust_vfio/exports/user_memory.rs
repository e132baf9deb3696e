// SPDX-License-Identifier: GPL-2.0

//! The user's memory, for drivers of emulated devices. Contract section 4.5.

use kernel::error::from_result;

use crate::{
    bindings,
    user_memory as dma,
    views::{
        device::Device,
        user_dma::{
            DmaCopy,
            PinRequest, //
        }, //
    }, //
};

/// # Safety
///
/// `device` is open, and `pages` is null or has room for `npage` pointers.
#[no_mangle]
unsafe extern "C" fn vfio_pin_pages(
    device: *mut bindings::vfio_device,
    iova: bindings::dma_addr_t,
    npage: kernel::ffi::c_int,
    prot: kernel::ffi::c_int,
    pages: *mut *mut bindings::page,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    let (device, request) = unsafe {
        (
            Device::from_raw(device),
            PinRequest::new(iova, npage, prot, pages),
        )
    };
    from_result(|| dma::pin_pages(device, &request))
}

/// # Safety
///
/// `device` is open.
#[no_mangle]
unsafe extern "C" fn vfio_unpin_pages(
    device: *mut bindings::vfio_device,
    iova: bindings::dma_addr_t,
    npage: kernel::ffi::c_int,
) {
    // SAFETY: By the safety requirements of this function.
    dma::unpin_pages(unsafe { Device::from_raw(device) }, iova, npage);
}

/// # Safety
///
/// `device` is open, and `data` is null or valid for `len` bytes, for writing unless `write`.
#[no_mangle]
unsafe extern "C" fn vfio_dma_rw(
    device: *mut bindings::vfio_device,
    iova: bindings::dma_addr_t,
    data: *mut kernel::ffi::c_void,
    len: usize,
    write: bool,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    let (device, copy) = unsafe {
        (
            Device::from_raw(device),
            DmaCopy::new(iova, data, len, write),
        )
    };
    from_result(|| dma::rw(device, &copy).map(|()| 0))
}

export! {
    vfio_pin_pages,
    vfio_unpin_pages,
    vfio_dma_rw,
}

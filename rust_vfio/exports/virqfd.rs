// SPDX-License-Identifier: GPL-2.0

//! Eventfds that call a driver. Contract section 4.9.

use core::ptr::NonNull;

use kernel::{
    error::{
        code::EINVAL,
        Error, //
    },
    ffi::{
        c_int,
        c_void, //
    }, //
};

use crate::{
    bindings,
    views::virqfd::{
        Handler,
        Slot,
        Thread, //
        VirqfdCallbacks,
    },
    virqfd, //
};

/// # Safety
///
/// `handler` and `thread` can be called with `opaque` and `data` until the slot was disabled.
/// `pvirqfd` points to a pointer that is null or was set by this function, and stays valid that
/// long too. Calls for one slot do not overlap.
#[no_mangle]
unsafe extern "C" fn vfio_virqfd_enable(
    opaque: *mut c_void,
    handler: Option<Handler>,
    thread: Option<Thread>,
    data: *mut c_void,
    pvirqfd: *mut *mut bindings::virqfd,
    fd: c_int,
) -> c_int {
    let Some(slot) = NonNull::new(pvirqfd) else {
        return EINVAL.to_errno();
    };
    // SAFETY: By the safety requirements of this function.
    let (callbacks, slot) = unsafe {
        (
            VirqfdCallbacks::new(opaque, data, handler, thread),
            Slot::from_raw(slot),
        )
    };
    virqfd::enable(callbacks, slot, fd).map_or_else(Error::to_errno, |()| 0)
}

/// # Safety
///
/// As for [`vfio_virqfd_enable`]; the caller can sleep.
#[no_mangle]
unsafe extern "C" fn vfio_virqfd_disable(pvirqfd: *mut *mut bindings::virqfd) {
    if let Some(slot) = NonNull::new(pvirqfd) {
        // SAFETY: By the safety requirements of this function.
        virqfd::disable(unsafe { Slot::from_raw(slot) });
    }
}

/// # Safety
///
/// As for [`vfio_virqfd_enable`]; the caller can sleep.
#[no_mangle]
unsafe extern "C" fn vfio_virqfd_flush_thread(pvirqfd: *mut *mut bindings::virqfd) {
    if let Some(slot) = NonNull::new(pvirqfd) {
        // SAFETY: By the safety requirements of this function.
        virqfd::flush_thread(unsafe { Slot::from_raw(slot) });
    }
}

export! {
    vfio_virqfd_enable,
    vfio_virqfd_disable,
    vfio_virqfd_flush_thread,
}

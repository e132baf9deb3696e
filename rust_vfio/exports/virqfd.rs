// SPDX-License-Identifier: GPL-2.0

//! Exported functions for eventfds that call a driver.
//!
//! The policy, and the errnos, are in `virqfd.rs`. Corresponds to the exports of
//! `drivers/vfio/virqfd.c`; contract section 4.9.

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

/// Makes the eventfd `fd` of the calling process call `handler` and `thread`, and stores the virqfd
/// in the slot `pvirqfd`. Sleeps. For the errnos see [`virqfd::enable`]; `EINVAL` if `pvirqfd` is
/// null.
///
/// # Safety
///
/// `handler` and `thread` must be callable with `opaque` and `data` until the slot was disabled.
/// `pvirqfd` must be null or point to a variable that is null or was set by this function, and that
/// stays valid until the slot was disabled. Calls for one slot must not overlap.
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

/// Disables the virqfd in the slot, if there is one. Afterwards none of its callbacks is running or
/// will be called. Sleeps.
///
/// # Safety
///
/// `pvirqfd` must be as for [`vfio_virqfd_enable`], and calls for one slot must not overlap.
#[no_mangle]
unsafe extern "C" fn vfio_virqfd_disable(pvirqfd: *mut *mut bindings::virqfd) {
    if let Some(slot) = NonNull::new(pvirqfd) {
        // SAFETY: By the safety requirements of this function.
        virqfd::disable(unsafe { Slot::from_raw(slot) });
    }
}

/// Waits for a queued run of the thread callback of the virqfd in the slot, if there is one.
/// Sleeps.
///
/// # Safety
///
/// `pvirqfd` must be as for [`vfio_virqfd_enable`].
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

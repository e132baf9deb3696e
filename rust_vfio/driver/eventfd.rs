// SPDX-License-Identifier: GPL-2.0

//! Eventfds, by which a device tells user space that it has raised an interrupt.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h).

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

use crate::bindings;

/// A reference to an eventfd.
///
/// # Invariants
///
/// The pointer is valid, and this value owns a reference.
pub(crate) struct EventFd(NonNull<bindings::eventfd_ctx>);

// SAFETY: Eventfds are counted atomically and have a lock of their own.
unsafe impl Send for EventFd {}
// SAFETY: As above.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Returns the eventfd behind a file descriptor of the calling process.
    ///
    /// # Errors
    ///
    /// - `EBADF` if it is not open.
    /// - `EINVAL` if it is no eventfd.
    #[doc(alias = "eventfd_ctx_fdget")]
    pub(crate) fn get(fd: i32) -> Result<Self> {
        // SAFETY: The function takes any number.
        let ctx = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;
        // INVARIANT: The function returns a reference, or an error.
        NonNull::new(ctx).map(Self).ok_or(EBADF)
    }

    /// Adds one to its counter. May be called in any context.
    #[doc(alias = "eventfd_signal")]
    pub(crate) fn signal(&self) {
        // SAFETY: By the type invariants the pointer is valid.
        unsafe { bindings::eventfd_signal_mask(self.0.as_ptr(), 0) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the reference.
        unsafe { bindings::eventfd_ctx_put(self.0.as_ptr()) };
    }
}

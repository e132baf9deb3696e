// SPDX-License-Identifier: GPL-2.0

//! Work queues of this module.
//!
//! In the kernel crate: `kernel::workqueue` knows the queues of the system, and would get
//! `alloc_ordered_workqueue()`.
//!
//! C header: `include/linux/workqueue.h`.

use core::ptr::NonNull;

use kernel::prelude::*;

use crate::bindings;

/// A work queue that somebody else owns.
///
/// # Invariants
///
/// The queue exists for as long as values of this type are used.
#[derive(Clone, Copy)]
pub(crate) struct Queue(NonNull<bindings::workqueue_struct>);

// SAFETY: Queues have locks of their own.
unsafe impl Send for Queue {}
// SAFETY: As above.
unsafe impl Sync for Queue {}

impl Queue {
    /// Queues a work item, unless it is queued already. Does not sleep.
    ///
    /// # Safety
    ///
    /// The work item must be initialised, and stay valid until it has run.
    pub(crate) unsafe fn queue(self, work: *mut bindings::work_struct) {
        let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32;
        // SAFETY: By the type invariants and the safety requirements.
        unsafe { bindings::queue_work_on(cpu, self.0.as_ptr(), work) };
    }

    /// Waits for everything that has been queued so far. Sleeps.
    pub(crate) fn flush(self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::__flush_workqueue(self.0.as_ptr()) };
    }
}

/// A queue that takes one item after the other. Dropping this runs what is left and destroys it.
pub(crate) struct CleanupQueue(Queue);

impl CleanupQueue {
    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: A function without requirements.
        let queue = unsafe { bindings::vfio_rs_alloc_cleanup_queue() };
        Ok(Self(Queue(NonNull::new(queue).ok_or(ENOMEM)?)))
    }

    /// Returns the queue.
    ///
    /// # Safety
    ///
    /// The result must not be used when `self` is gone.
    pub(crate) unsafe fn handle(&self) -> Queue {
        // INVARIANT: By the safety requirements.
        self.0
    }
}

impl Drop for CleanupQueue {
    fn drop(&mut self) {
        // SAFETY: `new` made the queue.
        unsafe { bindings::destroy_workqueue(self.0 .0.as_ptr()) };
    }
}

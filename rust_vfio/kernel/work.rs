// SPDX-License-Identifier: GPL-2.0

//! Work queues that the module allocates for itself. They have locks of their own.
//!
//! In the kernel crate: `kernel::workqueue` has the queues of the system. It would get an owned
//! queue (`alloc_ordered_workqueue()`) with `flush()`.
//!
//! C header: `include/linux/workqueue.h`.

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    str::CStr,
    sync::LockClassKey, //
};

use crate::bindings;

/// A borrowed work queue.
///
/// # Invariants
///
/// The queue is not destroyed as long as a value of this type is used.
#[derive(Clone, Copy)]
pub(crate) struct Queue(NonNull<bindings::workqueue_struct>);

// SAFETY: The C functions that are called here may be called by any thread; they lock the queue.
unsafe impl Send for Queue {}
// SAFETY: As above.
unsafe impl Sync for Queue {}

impl Queue {
    /// Queues a work item, unless it is queued already. Does not sleep.
    ///
    /// # Safety
    ///
    /// `work` must point to an initialised work item that stays valid until it has run.
    #[doc(alias = "queue_work")]
    pub(crate) unsafe fn queue(self, work: *mut bindings::work_struct) {
        let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32;
        // SAFETY: The queue exists by the type invariants. The work item is initialised, and valid
        // for long enough, by the safety requirements of this function.
        unsafe { bindings::queue_work_on(cpu, self.0.as_ptr(), work) };
    }

    /// Waits until all items that are queued now have run. Sleeps.
    #[doc(alias = "flush_workqueue")]
    pub(crate) fn flush(self) {
        // SAFETY: By the type invariants the queue exists.
        unsafe { bindings::__flush_workqueue(self.0.as_ptr()) };
    }
}

/// An owned queue that runs one item at a time, in order. Dropping it waits for the items that are
/// queued and destroys the queue.
pub(crate) struct OrderedQueue(Queue);

impl OrderedQueue {
    /// Allocates the queue. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[doc(alias = "create_singlethread_workqueue")]
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is a NUL-terminated string.
        let queue = unsafe { bindings::vfio_rs_create_singlethread_workqueue(name.as_char_ptr()) };
        Ok(Self(Queue(NonNull::new(queue).ok_or(ENOMEM)?)))
    }

    /// Borrows the queue.
    ///
    /// # Safety
    ///
    /// The caller must not use the result after `self` is dropped.
    pub(crate) unsafe fn handle(&self) -> Queue {
        // INVARIANT: By the safety requirements of this function.
        self.0
    }
}

impl Drop for OrderedQueue {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the queue, and by the type invariants of `Queue` nobody uses it
        // any more.
        unsafe { bindings::destroy_workqueue(self.0 .0.as_ptr()) };
    }
}

/// Initialises a work item that runs `func`. `name` and `key` tell lockdep which kind of item it
/// is: one kind may wait for another.
///
/// # Safety
///
/// `work` must be valid for writing and not be queued. `func` must be callable with it for as long
/// as it can be queued.
#[doc(alias = "INIT_WORK")]
pub(crate) unsafe fn init_work(
    work: *mut bindings::work_struct,
    func: unsafe extern "C" fn(*mut bindings::work_struct),
    name: &'static CStr,
    key: Pin<&'static LockClassKey>,
) {
    // SAFETY: By the safety requirements; name and key are static.
    unsafe {
        bindings::init_work_with_key(work, Some(func), false, name.as_char_ptr(), key.as_ptr())
    };
}

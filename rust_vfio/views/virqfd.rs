// SPDX-License-Identifier: GPL-2.0

//! `struct virqfd`: an eventfd that calls a driver.
//!
//! The structure is public, so it keeps its C layout, and the pointer to it lives in the driver
//! (its *slot*). Memory, callbacks and the wait queue entry are handled here. What happens on a
//! signal, on the end of the eventfd and at teardown is up to an implementation of [`Events`].
//!
//! C headers: `include/linux/vfio.h`, `include/linux/eventfd.h`, `include/linux/poll.h`.

use core::{
    mem::offset_of,
    ptr::NonNull, //
};

use kernel::{
    error::from_err_ptr,
    fs::File,
    prelude::*,
    static_lock_class,
    types::Opaque, //
};

use crate::{
    bindings,
    kernel::work::{
        init_work,
        Queue, //
    },
};

/// Runs in the wake-up of an eventfd. It must not sleep, and interrupts may be off.
pub(crate) type Handler = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
/// Runs in a task and may sleep.
pub(crate) type Thread = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// What a driver wants to be called on a signal.
///
/// # Invariants
///
/// The functions may be called with the two pointers until the virqfd is torn down.
pub(crate) struct VirqfdCallbacks {
    opaque: *mut c_void,
    data: *mut c_void,
    handler: Option<Handler>,
    thread: Option<Thread>,
}

impl VirqfdCallbacks {
    /// The callbacks of a driver.
    ///
    /// # Safety
    ///
    /// The functions must be callable with the two pointers until the virqfd is torn down.
    pub(crate) unsafe fn new(
        opaque: *mut c_void,
        data: *mut c_void,
        handler: Option<Handler>,
        thread: Option<Thread>,
    ) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            opaque,
            data,
            handler,
            thread,
        }
    }
}

/// What happens to a virqfd. The functions are called by the kernel, not by each other.
pub(crate) trait Events: 'static {
    /// The eventfd was signalled. Called under the lock of its wait queue.
    fn signalled(virqfd: &Virqfd);

    /// The eventfd is closing. Called under the lock of its wait queue.
    fn hung_up(virqfd: &Virqfd);

    /// [`Virqfd::queue_flush`] has come to run. Called in a task.
    fn flush(virqfd: &Virqfd);

    /// The queued teardown has come to run. Called in a task, once, and nobody else uses
    /// the virqfd but the eventfd.
    fn shut_down(virqfd: OwnedVirqfd);
}

/// The C object.
#[repr(transparent)]
pub(crate) struct Virqfd(Opaque<bindings::virqfd>);

/// Where a driver keeps the pointer to its virqfd. All access is under one lock, which the caller
/// shows by passing what it protects.
///
/// # Invariants
///
/// The pointer is valid, and what it points to is null or a valid virqfd.
#[derive(Clone, Copy)]
pub(crate) struct Slot(NonNull<*mut bindings::virqfd>);

/// The right to look into slots and to change them. There is one value, inside a lock.
pub(crate) struct Slots(());

impl Slots {
    /// The right.
    ///
    /// # Safety
    ///
    /// Once, for the lock.
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }

    /// What is in the slot.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Virqfd> {
        // SAFETY: By the type invariants of `Slot` and the lock around `self`. A virqfd is only
        // torn down after it was taken out of its slot under the lock.
        unsafe { (*slot.0.as_ptr()).cast::<Virqfd>().as_ref() }
    }

    /// Puts the virqfd into its slot, or gives it back if there is one in it.
    ///
    /// # Safety
    ///
    /// Until the result is dropped, the eventfd must not be closed and the slot not be disabled.
    pub(crate) unsafe fn put(&mut self, virqfd: OwnedVirqfd) -> Result<Enabled, OwnedVirqfd> {
        let slot = virqfd.slot();
        if self.get(slot).is_some() {
            return Err(virqfd);
        }
        let raw = virqfd.into_raw();
        // SAFETY: By the type invariants of `Slot` and the lock around `self`.
        unsafe { slot.0.as_ptr().write(raw.as_ptr().cast()) };
        // INVARIANT: By the safety requirements of this function nobody takes it out of its slot.
        Ok(Enabled(raw))
    }

    /// Takes the virqfd out of its slot and queues its teardown.
    pub(crate) fn shut_down(&mut self, slot: Slot, queue: Queue) {
        if let Some(virqfd) = self.get(slot) {
            // SAFETY: The virqfd stays valid until this work item frees it; being in the slot, it
            // was not queued before.
            unsafe { queue.queue(&raw mut (*virqfd.0.get()).shutdown) };
        }
        // SAFETY: By the type invariants of `Slot` and the lock around `self`.
        unsafe { slot.0.as_ptr().write(core::ptr::null_mut()) };
    }
}

impl Slot {
    /// The slot at `ptr`.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a pointer that is null or came from this module. It must stay valid as
    /// long as there is something in it.
    pub(crate) unsafe fn from_raw(ptr: NonNull<*mut bindings::virqfd>) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self(ptr)
    }
}

impl Virqfd {
    fn slot(&self) -> Slot {
        // SAFETY: The member is set when the object is made.
        // INVARIANT: It came from a `Slot`.
        Slot(unsafe { NonNull::new_unchecked((*self.0.get()).pvirqfd) })
    }

    /// Where the driver keeps the pointer to this virqfd, as far as it is still there.
    pub(crate) fn slot_in(&self, slots: &Slots) -> Option<Slot> {
        let slot = self.slot();
        let current = slots.get(slot)?;
        core::ptr::eq(current, self).then_some(slot)
    }

    /// Sets the count of the eventfd back. Called from [`Events::signalled`] only.
    pub(crate) fn consume(&self) {
        let mut count = 0;
        // SAFETY: The eventfd is valid until teardown, and the lock of its wait queue is held.
        unsafe { bindings::eventfd_ctx_do_read((*self.0.get()).eventfd, &mut count) };
    }

    /// Calls the driver: the handler first, then the thread (soon, in a task) if there is no
    /// handler or the handler wants it to.
    pub(crate) fn deliver(&self) {
        let this = self.0.get();
        // SAFETY: The callbacks are set when the object is made; the driver's part of the contract
        // is in `VirqfdCallbacks`.
        unsafe {
            let wanted = match (*this).handler {
                Some(handler) => handler((*this).opaque, (*this).data) != 0,
                None => true,
            };
            if wanted && (*this).thread.is_some() {
                let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32;
                bindings::queue_work_on(cpu, bindings::system_percpu_wq, &raw mut (*this).inject);
            }
        }
    }

    /// Waits for the thread, if it was about to run.
    pub(crate) fn flush_thread(&self) {
        // SAFETY: The work item is initialised when the object is made.
        unsafe { bindings::flush_work(&raw mut (*self.0.get()).inject) };
    }

    /// Whether the driver has a thread.
    pub(crate) fn has_thread(&self) -> bool {
        // SAFETY: The callbacks are set when the object is made.
        unsafe { (*self.0.get()).thread.is_some() }
    }

    /// Queues a run of [`Events::flush`]. `queue` is the one on which the virqfd will be torn down:
    /// it takes one item after the other, so the run comes before a teardown that is queued later.
    pub(crate) fn queue_flush(&self, queue: Queue) {
        // SAFETY: The work item is initialised, and the virqfd valid until its teardown has run.
        unsafe { queue.queue(&raw mut (*self.0.get()).flush_inject) };
    }

    /// Listens to the eventfd, and returns whether it has been signalled already.
    pub(crate) fn listen(&self, file: &File) -> bool {
        // SAFETY: The entry and the table are initialised when the object is made. The eventfd
        // forgets them at teardown at the latest.
        let events =
            unsafe { bindings::vfio_rs_vfs_poll(file.as_ptr(), &raw mut (*self.0.get()).pt) };
        events & bindings::POLLIN != 0
    }
}

/// A virqfd that is in no slot, so that only its eventfd and this value know it. Dropping it frees
/// it.
///
/// # Invariants
///
/// The memory was allocated by [`OwnedVirqfd::new`], and the eventfd is valid.
pub(crate) struct OwnedVirqfd(NonNull<Virqfd>);

impl core::ops::Deref for OwnedVirqfd {
    type Target = Virqfd;

    fn deref(&self) -> &Virqfd {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }
}

/// A virqfd that has just been put into its slot.
///
/// # Invariants
///
/// It is not torn down while this value lives.
pub(crate) struct Enabled(NonNull<Virqfd>);

impl core::ops::Deref for Enabled {
    type Target = Virqfd;

    fn deref(&self) -> &Virqfd {
        // SAFETY: By the type invariants.
        unsafe { self.0.as_ref() }
    }
}

impl OwnedVirqfd {
    /// Allocates the memory for a virqfd.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn allocate() -> Result<KBox<Opaque<bindings::virqfd>>> {
        Ok(KBox::new(
            Opaque::new(bindings::virqfd::default()),
            kernel::alloc::flags::GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// Makes a virqfd that is to be in `slot`, for the eventfd `file`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the file is no eventfd.
    pub(crate) fn new<E: Events>(
        memory: KBox<Opaque<bindings::virqfd>>,
        callbacks: VirqfdCallbacks,
        slot: Slot,
        file: &File,
    ) -> Result<Self> {
        // SAFETY: The file is valid.
        let eventfd = from_err_ptr(unsafe { bindings::eventfd_ctx_fileget(file.as_ptr()) })?;
        let raw = KBox::into_raw(memory).cast::<bindings::virqfd>();
        // SAFETY: The memory is this function's, and zeroed. C initialises the parts in place; the
        // object does not move from here on.
        unsafe {
            (*raw).opaque = callbacks.opaque;
            (*raw).data = callbacks.data;
            (*raw).handler = callbacks.handler;
            (*raw).thread = callbacks.thread;
            (*raw).eventfd = eventfd;
            (*raw).pvirqfd = slot.0.as_ptr();
            init_work(
                &raw mut (*raw).inject,
                run_thread,
                c"virqfd.inject",
                static_lock_class!(),
            );
            init_work(
                &raw mut (*raw).flush_inject,
                run_flush::<E>,
                c"virqfd.flush_inject",
                static_lock_class!(),
            );
            init_work(
                &raw mut (*raw).shutdown,
                run_shutdown::<E>,
                c"virqfd.shutdown",
                static_lock_class!(),
            );
            bindings::vfio_rs_init_waitqueue_func_entry(&raw mut (*raw).wait, Some(wake::<E>));
            bindings::vfio_rs_init_poll_funcptr(&raw mut (*raw).pt, Some(queue));
            // INVARIANT: As said above.
            Ok(Self(NonNull::new_unchecked(raw.cast())))
        }
    }

    /// Stops listening to the eventfd.
    pub(crate) fn unlisten(&self) {
        let mut count = 0;
        let this = self.0.as_ptr().cast::<bindings::virqfd>();
        // SAFETY: The eventfd is valid by the type invariants; the entry is on its wait queue.
        unsafe {
            bindings::eventfd_ctx_remove_wait_queue(
                (*this).eventfd,
                &raw mut (*this).wait,
                &mut count,
            )
        };
    }

    fn into_raw(self) -> NonNull<Virqfd> {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }
}

impl Drop for OwnedVirqfd {
    fn drop(&mut self) {
        let raw = self.0.as_ptr().cast::<bindings::virqfd>();
        // SAFETY: By the type invariants, and nobody else knows the object any more.
        unsafe {
            bindings::eventfd_ctx_put((*raw).eventfd);
            drop(KBox::from_raw(raw.cast::<Opaque<bindings::virqfd>>()));
        }
    }
}

/// # Safety
///
/// Called by the eventfd with the entry of a virqfd, under the lock of its wait queue.
unsafe extern "C" fn wake<E: Events>(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    key: *mut c_void,
) -> c_int {
    let virqfd = entry.wrapping_byte_sub(offset_of!(bindings::virqfd, wait));
    // SAFETY: The entry is part of a virqfd, which stays valid while it is on the wait queue.
    let virqfd = unsafe { &*virqfd.cast::<Virqfd>() };
    let events = key.addr();
    if events & bindings::POLLIN as usize != 0 {
        E::signalled(virqfd);
    }
    if events & bindings::POLLHUP as usize != 0 {
        E::hung_up(virqfd);
    }
    0
}

/// # Safety
///
/// Called by the eventfd from [`Virqfd::listen`], with the table of a virqfd.
unsafe extern "C" fn queue(
    _file: *mut bindings::file,
    head: *mut bindings::wait_queue_head_t,
    table: *mut bindings::poll_table_struct,
) {
    let virqfd = table.wrapping_byte_sub(offset_of!(bindings::virqfd, pt));
    let virqfd = virqfd.cast::<bindings::virqfd>();
    // SAFETY: The table is part of a virqfd, whose entry is initialised and on no queue.
    unsafe { bindings::add_wait_queue(head, &raw mut (*virqfd).wait) };
}

/// # Safety
///
/// Called by a work queue with the `inject` work item of a virqfd.
unsafe extern "C" fn run_thread(work: *mut bindings::work_struct) {
    let virqfd = work.wrapping_byte_sub(offset_of!(bindings::virqfd, inject));
    let virqfd = virqfd.cast::<bindings::virqfd>();
    // SAFETY: The work item is part of a virqfd, whose teardown waits for it. For the callback
    // see `VirqfdCallbacks`.
    unsafe {
        if let Some(thread) = (*virqfd).thread {
            thread((*virqfd).opaque, (*virqfd).data);
        }
    }
}

/// # Safety
///
/// Called by a work queue with the `flush_inject` work item of a virqfd.
unsafe extern "C" fn run_flush<E: Events>(work: *mut bindings::work_struct) {
    let virqfd = work.wrapping_byte_sub(offset_of!(bindings::virqfd, flush_inject));
    // SAFETY: The work item is part of a virqfd, which is torn down by a later work item.
    E::flush(unsafe { &*virqfd.cast::<Virqfd>() });
}

/// # Safety
///
/// Called by a work queue with the `shutdown` work item of a virqfd, once.
unsafe extern "C" fn run_shutdown<E: Events>(work: *mut bindings::work_struct) {
    let virqfd = work.wrapping_byte_sub(offset_of!(bindings::virqfd, shutdown));
    // SAFETY: The work item is part of a virqfd.
    // INVARIANT: It was taken out of its slot when the item was queued.
    E::shut_down(OwnedVirqfd(unsafe {
        NonNull::new_unchecked(virqfd.cast())
    }));
}

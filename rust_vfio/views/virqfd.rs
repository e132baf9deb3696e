// SPDX-License-Identifier: GPL-2.0

//! A view of `struct virqfd`: an eventfd that calls a driver.
//!
//! The structure is public, so it keeps its C layout. The driver has a variable for the pointer to
//! it, the *slot*. This file handles memory, callbacks and the entry in the eventfd's wait queue.
//! What happens on a signal, when the eventfd is closed and at teardown is up to an implementation
//! of [`Events`].
//!
//! Slots are protected by the lock around [`Slots`]. The eventfd calls under the lock of its wait
//! queue, with interrupts off. Corresponds to the lower half of `drivers/vfio/virqfd.c`; contract
//! section 4.9.
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

/// A callback that runs when an eventfd is signalled. It must not sleep, and interrupts may be off.
pub(crate) type Handler = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
/// A callback that runs in a work item and may sleep.
pub(crate) type Thread = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// The callbacks of a driver for a signal.
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
    /// Wraps the callbacks of a driver.
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

/// The events of a virqfd. The kernel calls these functions.
pub(crate) trait Events: 'static {
    /// Handles a signal of the eventfd. Called with the lock of its wait queue held.
    fn signalled(virqfd: &Virqfd);

    /// Handles the close of the eventfd. Called with the lock of its wait queue held.
    fn hung_up(virqfd: &Virqfd);

    /// Runs the work that [`Virqfd::queue_flush`] queued. May sleep.
    fn flush(virqfd: &Virqfd);

    /// Runs the teardown that [`Slots::shut_down`] queued. Called once, when nobody but the eventfd
    /// uses the virqfd any more. May sleep.
    fn shut_down(virqfd: OwnedVirqfd);
}

/// A virqfd (`struct virqfd`).
#[repr(transparent)]
pub(crate) struct Virqfd(Opaque<bindings::virqfd>);

/// The variable of a driver for the pointer to its virqfd. All accesses are made under the lock
/// around [`Slots`].
///
/// # Invariants
///
/// The variable is valid, and contains null or a pointer to a valid virqfd.
#[derive(Clone, Copy)]
pub(crate) struct Slot(NonNull<*mut bindings::virqfd>);

/// The permission to read and to write slots. There is one value of this type, and a lock protects
/// it.
pub(crate) struct Slots(());

impl Slots {
    /// Creates the value.
    ///
    /// # Safety
    ///
    /// Must be called once only, and the result must be put into a lock.
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }

    /// Returns the virqfd in the slot, or none if the slot is empty.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Virqfd> {
        // SAFETY: By the type invariants of `Slot` the variable is valid, and the lock around
        // `self` protects it. A virqfd is torn down only after it was removed from its slot under
        // the lock.
        unsafe { (*slot.0.as_ptr()).cast::<Virqfd>().as_ref() }
    }

    /// Puts the virqfd into its slot.
    ///
    /// # Errors
    ///
    /// Returns the virqfd if there is one in the slot already.
    ///
    /// # Safety
    ///
    /// The caller must prevent the eventfd from being closed, and [`Slots::shut_down`] from being
    /// called for the slot, until the result is dropped.
    pub(crate) unsafe fn put(&mut self, virqfd: OwnedVirqfd) -> Result<Enabled, OwnedVirqfd> {
        let slot = virqfd.slot();
        if self.get(slot).is_some() {
            return Err(virqfd);
        }
        let raw = virqfd.into_raw();
        // SAFETY: By the type invariants of `Slot` the variable is valid, and the lock around
        // `self` protects it.
        unsafe { slot.0.as_ptr().write(raw.as_ptr().cast()) };
        // INVARIANT: By the safety requirements of this function the virqfd is not removed from its
        // slot, and so not torn down, while the result exists.
        Ok(Enabled(raw))
    }

    /// Removes the virqfd from the slot and queues its teardown. Does nothing if the slot is empty.
    /// Does not sleep.
    #[doc(alias = "virqfd_deactivate")]
    pub(crate) fn shut_down(&mut self, slot: Slot, queue: Queue) {
        if let Some(virqfd) = self.get(slot) {
            // SAFETY: `new` initialised the work item, and the virqfd stays valid until the item
            // frees it. It was not queued before, since the virqfd was still in the slot.
            unsafe { queue.queue(&raw mut (*virqfd.0.get()).shutdown) };
        }
        // SAFETY: By the type invariants of `Slot` the variable is valid, and the lock around
        // `self` protects it.
        unsafe { slot.0.as_ptr().write(core::ptr::null_mut()) };
    }
}

impl Slot {
    /// Wraps the variable at `ptr`.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a variable that is null or was set by this module. It must stay valid as
    /// long as it is not null or the result is used.
    pub(crate) unsafe fn from_raw(ptr: NonNull<*mut bindings::virqfd>) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self(ptr)
    }
}

impl Virqfd {
    fn slot(&self) -> Slot {
        // SAFETY: `OwnedVirqfd::new` set the member to the pointer of a `Slot`, which is not null.
        // INVARIANT: It came from a `Slot`.
        Slot(unsafe { NonNull::new_unchecked((*self.0.get()).pvirqfd) })
    }

    /// Returns the slot of this virqfd, or none if the virqfd is not in its slot any more.
    pub(crate) fn slot_in(&self, slots: &Slots) -> Option<Slot> {
        let slot = self.slot();
        let current = slots.get(slot)?;
        core::ptr::eq(current, self).then_some(slot)
    }

    /// Resets the counter of the eventfd. Called from [`Events::signalled`] only, with the lock of
    /// the eventfd's wait queue held.
    pub(crate) fn consume(&self) {
        let mut count = 0;
        // SAFETY: The virqfd owns a reference to the eventfd until it is freed. The caller holds
        // the lock of the eventfd's wait queue.
        unsafe { bindings::eventfd_ctx_do_read((*self.0.get()).eventfd, &mut count) };
    }

    /// Calls the driver's handler, if there is one. Queues a run of its thread callback if there is
    /// no handler or the handler returned something else than 0. Does not sleep.
    pub(crate) fn deliver(&self) {
        let this = self.0.get();
        // SAFETY: `OwnedVirqfd::new` set the callbacks and initialised the work item. By the type
        // invariants of `VirqfdCallbacks` the functions may be called until the virqfd is torn
        // down, which waits for the work item.
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

    /// Waits for a queued run of the thread callback. Sleeps.
    pub(crate) fn flush_thread(&self) {
        // SAFETY: `OwnedVirqfd::new` initialised the work item.
        unsafe { bindings::flush_work(&raw mut (*self.0.get()).inject) };
    }

    /// Returns whether the driver has a thread callback.
    pub(crate) fn has_thread(&self) -> bool {
        // SAFETY: `OwnedVirqfd::new` set the member, and it is not written afterwards.
        unsafe { (*self.0.get()).thread.is_some() }
    }

    /// Queues a run of [`Events::flush`] on `queue`, which must be the one on which the virqfd will
    /// be torn down: it runs one item at a time, in order, so the run comes before a teardown that
    /// is queued later. Does not sleep.
    pub(crate) fn queue_flush(&self, queue: Queue) {
        // SAFETY: `OwnedVirqfd::new` initialised the work item. The virqfd is valid until its
        // teardown, which is queued later, has run.
        unsafe { queue.queue(&raw mut (*self.0.get()).flush_inject) };
    }

    /// Adds the virqfd to the wait queue of the eventfd `file`, and returns whether the eventfd was
    /// signalled before.
    pub(crate) fn listen(&self, file: &File) -> bool {
        // SAFETY: `OwnedVirqfd::new` initialised the entry and the table. They are removed from the
        // wait queue at teardown, before the virqfd is freed.
        let events =
            unsafe { bindings::vfio_rs_vfs_poll(file.as_ptr(), &raw mut (*self.0.get()).pt) };
        events & bindings::POLLIN != 0
    }
}

/// A virqfd that is in no slot: only its eventfd and this value refer to it. Dropping this frees
/// the virqfd.
///
/// # Invariants
///
/// The virqfd was initialised by [`OwnedVirqfd::new`] in memory of a `KBox`. It owns a reference to
/// its eventfd.
pub(crate) struct OwnedVirqfd(NonNull<Virqfd>);

impl core::ops::Deref for OwnedVirqfd {
    type Target = Virqfd;

    fn deref(&self) -> &Virqfd {
        // SAFETY: By the type invariants the virqfd is valid.
        unsafe { self.0.as_ref() }
    }
}

/// A virqfd that was just put into its slot.
///
/// # Invariants
///
/// The virqfd is not torn down while this value exists.
pub(crate) struct Enabled(NonNull<Virqfd>);

impl core::ops::Deref for Enabled {
    type Target = Virqfd;

    fn deref(&self) -> &Virqfd {
        // SAFETY: By the type invariants the virqfd is valid.
        unsafe { self.0.as_ref() }
    }
}

impl OwnedVirqfd {
    /// Allocates the memory of a virqfd, which is accounted to the caller's memory cgroup. Sleeps.
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

    /// Initialises a virqfd in `memory`, for the slot `slot` and the eventfd `file`.
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
        // SAFETY: The file is valid, being a reference.
        let eventfd = from_err_ptr(unsafe { bindings::eventfd_ctx_fileget(file.as_ptr()) })?;
        let raw = KBox::into_raw(memory).cast::<bindings::virqfd>();
        // SAFETY: This function owns the memory, which is zeroed. The C functions initialise the
        // members in place, and the object does not move from here on. The pointer of a box is not
        // null.
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
            // INVARIANT: Initialised above; `eventfd_ctx_fileget()` returned a reference.
            Ok(Self(NonNull::new_unchecked(raw.cast())))
        }
    }

    /// Removes the virqfd from the wait queue of the eventfd. [`Virqfd::listen`] must have added
    /// it.
    pub(crate) fn unlisten(&self) {
        let mut count = 0;
        let this = self.0.as_ptr().cast::<bindings::virqfd>();
        // SAFETY: By the type invariants the virqfd owns a reference to the eventfd. The only
        // caller tears down a virqfd that `listen` was called for, so the entry is on the wait
        // queue.
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
        // SAFETY: By the type invariants the object came from a `KBox` and owns a reference to the
        // eventfd. It is in no slot and, since it was never added or was removed, on no wait queue.
        unsafe {
            bindings::eventfd_ctx_put((*raw).eventfd);
            drop(KBox::from_raw(raw.cast::<Opaque<bindings::virqfd>>()));
        }
    }
}

/// Passes an event of the eventfd on to `E`.
///
/// # Safety
///
/// Must be called by the eventfd with the entry of a virqfd in its wait queue, with the lock of the
/// queue held.
#[doc(alias = "virqfd_wakeup")]
unsafe extern "C" fn wake<E: Events>(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    key: *mut c_void,
) -> c_int {
    let virqfd = entry.wrapping_byte_sub(offset_of!(bindings::virqfd, wait));
    // SAFETY: The entry is part of a virqfd, which is not freed before it was removed from the wait
    // queue, and that takes the lock that is held here.
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

/// Adds the entry of a virqfd to the wait queue of its eventfd.
///
/// # Safety
///
/// Must be called by the eventfd on behalf of [`Virqfd::listen`], with the table of a virqfd.
#[doc(alias = "virqfd_ptable_queue_proc")]
unsafe extern "C" fn queue(
    _file: *mut bindings::file,
    head: *mut bindings::wait_queue_head_t,
    table: *mut bindings::poll_table_struct,
) {
    let virqfd = table.wrapping_byte_sub(offset_of!(bindings::virqfd, pt));
    let virqfd = virqfd.cast::<bindings::virqfd>();
    // SAFETY: The table is part of a virqfd, whose entry `OwnedVirqfd::new` initialised. It is on
    // no queue, since `listen` is called once.
    unsafe { bindings::add_wait_queue(head, &raw mut (*virqfd).wait) };
}

/// Runs the thread callback of a virqfd.
///
/// # Safety
///
/// Must be called by a work queue with the `inject` work item of a virqfd.
#[doc(alias = "virqfd_inject")]
unsafe extern "C" fn run_thread(work: *mut bindings::work_struct) {
    let virqfd = work.wrapping_byte_sub(offset_of!(bindings::virqfd, inject));
    let virqfd = virqfd.cast::<bindings::virqfd>();
    // SAFETY: The work item is part of a virqfd, whose teardown waits for it. By the type
    // invariants of `VirqfdCallbacks` the callback may be called until then.
    unsafe {
        if let Some(thread) = (*virqfd).thread {
            thread((*virqfd).opaque, (*virqfd).data);
        }
    }
}

/// Passes a run that [`Virqfd::queue_flush`] queued on to `E`.
///
/// # Safety
///
/// Must be called by a work queue with the `flush_inject` work item of a virqfd.
#[doc(alias = "virqfd_flush_inject")]
unsafe extern "C" fn run_flush<E: Events>(work: *mut bindings::work_struct) {
    let virqfd = work.wrapping_byte_sub(offset_of!(bindings::virqfd, flush_inject));
    // SAFETY: The work item is part of a virqfd, which is torn down by a later item of the same
    // queue.
    E::flush(unsafe { &*virqfd.cast::<Virqfd>() });
}

/// Passes a teardown that [`Slots::shut_down`] queued on to `E`.
///
/// # Safety
///
/// Must be called by a work queue, once, with the `shutdown` work item of a virqfd.
#[doc(alias = "virqfd_shutdown")]
unsafe extern "C" fn run_shutdown<E: Events>(work: *mut bindings::work_struct) {
    let virqfd = work.wrapping_byte_sub(offset_of!(bindings::virqfd, shutdown));
    // SAFETY: The work item is part of a virqfd, so the pointer is not null.
    // INVARIANT: `Slots::shut_down` removed the virqfd from its slot when it queued the item. Only
    // `OwnedVirqfd::new` creates virqfds.
    E::shut_down(OwnedVirqfd(unsafe {
        NonNull::new_unchecked(virqfd.cast())
    }));
}

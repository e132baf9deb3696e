// SPDX-License-Identifier: GPL-2.0

//! Eventfds that call a driver: user space signals, a handler of the driver runs.
//!
//! A driver enables a virqfd for a *slot* of its own, in which the pointer to it is kept. It ends
//! when the driver disables the slot or when the eventfd is closed, whichever comes first, and
//! both at the same time end it once: who takes it out of the slot, under [`static@SLOTS`], queues the
//! teardown. Teardown runs on a queue of this module, one after the other. Disabling waits for the
//! queue, so when it returns none of the driver's functions runs any more, whoever was first.
//!
//! Lock order: the lock of the eventfd's wait queue, then [`static@SLOTS`], then locks of work queues. The
//! wait-queue lock is taken with interrupts off, so [`static@SLOTS`] is too.
//!
//! Corresponds to `drivers/vfio/virqfd.c`; contract section 4.9.

use kernel::{
    prelude::*,
    sync::SetOnce, //
};

use crate::{
    kernel::{
        file::fget,
        module::ModuleInit,
        work::{
            CleanupQueue,
            Queue, //
        }, //
    },
    views::virqfd::{
        Events,
        OwnedVirqfd,
        Slot,
        Slots,
        Virqfd, //
        VirqfdCallbacks,
    }, //
};

/// What [`static@SLOTS`] protects.
// SAFETY: Only used for that lock.
const RIGHT: Slots = unsafe { Slots::new() };

kernel::sync::global_lock! {
    // SAFETY: `init` initialises it before another module can call this one.
    unsafe(uninit) static SLOTS: SpinLockIrq<Slots> = RIGHT;
}

/// The queue on which virqfds are torn down, from [`init()`] to the end of the module.
static CLEANUP: SetOnce<Queue> = SetOnce::new();

/// Keeps the queue; dropping it waits for teardowns that are under way.
pub(crate) struct Virqfds {
    _queue: CleanupQueue,
}

/// Gets ready for virqfds. Called once.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init(_: &ModuleInit) -> Result<Virqfds> {
    // SAFETY: Nobody else uses the module yet.
    unsafe { SLOTS.init() };
    let queue = CleanupQueue::new()?;
    // SAFETY: The queue exists as long as the module is used.
    CLEANUP.populate(unsafe { queue.handle() });
    Ok(Virqfds { _queue: queue })
}

/// What happens to virqfds.
struct Teardown;

impl Events for Teardown {
    fn signalled(virqfd: &Virqfd) {
        virqfd.consume();
        virqfd.deliver();
    }

    fn hung_up(virqfd: &Virqfd) {
        let mut slots = SLOTS.lock();
        // Not if the driver was faster. The lock of the wait queue is held here, which teardown
        // needs to unhook the virqfd, so it is still valid even then.
        if let Some(slot) = virqfd.slot_in(&slots) {
            if let Some(queue) = CLEANUP.copy() {
                slots.shut_down(slot, queue);
            }
        }
    }

    fn flush(virqfd: &Virqfd) {
        virqfd.flush_thread();
    }

    fn shut_down(virqfd: OwnedVirqfd) {
        // From here on no signal comes in, ...
        virqfd.unlisten();
        // ... and after this the thread will not run again.
        virqfd.flush_thread();
    }
}

/// Makes the eventfd `fd` call the driver. If it has been signalled already, the driver is called
/// once before this returns. May sleep.
///
/// Calls for one slot must not overlap.
///
/// # Errors
///
/// `ENOMEM`, `EBADF`, `EINVAL` if the file is no eventfd, `EBUSY` if there is something in the
/// slot.
#[doc(alias = "vfio_virqfd_enable")]
pub(crate) fn enable(callbacks: VirqfdCallbacks, slot: Slot, fd: i32) -> Result {
    let memory = OwnedVirqfd::allocate()?;
    // Holding the file also keeps the eventfd from hanging up before this is done.
    let file = fget(fd)?;
    let virqfd = OwnedVirqfd::new::<Teardown>(memory, callbacks, slot, &file)?;
    // SAFETY: `file` keeps the eventfd from being closed, and calls for one slot do not overlap.
    let enabled = unsafe { SLOTS.lock().put(virqfd) };
    // The lock is not held here, neither while a rejected virqfd is freed nor while the eventfd
    // takes the lock of its wait queue.
    let virqfd = enabled.map_err(|_| EBUSY)?;
    if virqfd.listen(&file) {
        virqfd.deliver();
    }
    Ok(())
}

/// Ends the virqfd in the slot, if there is one. When this returns, none of the driver's functions
/// runs any more. Sleeps.
#[doc(alias = "vfio_virqfd_disable")]
pub(crate) fn disable(slot: Slot) {
    let Some(queue) = CLEANUP.copy() else {
        return;
    };
    SLOTS.lock().shut_down(slot, queue);
    // Even if the slot is empty: the eventfd may have been closed a moment ago.
    queue.flush();
}

/// Waits for the thread of the virqfd in the slot, if it was about to run. Sleeps.
#[doc(alias = "vfio_virqfd_flush_thread")]
pub(crate) fn flush_thread(slot: Slot) {
    let Some(queue) = CLEANUP.copy() else {
        return;
    };
    {
        let slots = SLOTS.lock();
        if let Some(virqfd) = slots.get(slot).filter(|virqfd| virqfd.has_thread()) {
            // A teardown of this one is queued under the lock, thus later.
            virqfd.queue_flush(queue);
        }
    }
    queue.flush();
}

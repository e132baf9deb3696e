// SPDX-License-Identifier: GPL-2.0

//! Eventfds that call a driver: when user space signals one, a handler of the driver runs.
//!
//! A driver enables a virqfd for a *slot*, a variable of its own that holds the pointer to it. The
//! virqfd is torn down when the driver disables the slot or when the eventfd is closed. If both
//! happen at once, the one that takes the virqfd out of its slot, under [`static@SLOTS`], queues
//! the teardown. Teardowns run on a work queue of this module, one after the other. Disabling waits
//! for the queue, so that none of the driver's functions runs when it returns, whatever came first.
//!
//! Lock order: the lock of the eventfd's wait queue, then [`static@SLOTS`], then locks of work
//! queues. The first is taken with interrupts off, and so is [`static@SLOTS`].
//!
//! Corresponds to `drivers/vfio/virqfd.c`; contract 4.9.

use kernel::{
    prelude::*,
    sync::SetOnce, //
};

use crate::{
    kernel::{
        file::fget,
        module::ModuleInit,
        work::{
            OrderedQueue,
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

/// What [`static@SLOTS`] protects: the right to read and write slots.
// SAFETY: This value is private to the file and used once, as the content of `SLOTS` below.
const RIGHT: Slots = unsafe { Slots::new() };

kernel::sync::global_lock! {
    // SAFETY: `init` initialises it, which the module's init function calls before another module
    // can call this one.
    unsafe(uninit) static SLOTS: SpinLockIrq<Slots> = RIGHT;
}

/// The work queue on which virqfds are torn down, from [`init()`] until the module is unloaded.
static CLEANUP: SetOnce<Queue> = SetOnce::new();

/// The owner of the work queue. Dropping it waits for the teardowns that are queued.
pub(crate) struct Virqfds {
    _queue: OrderedQueue,
}

/// Sets the lock and the work queue up. Called once.
///
/// # Errors
///
/// `ENOMEM`.
#[doc(alias = "vfio_virqfd_init")]
pub(crate) fn init(_: &ModuleInit) -> Result<Virqfds> {
    // SAFETY: `ModuleInit` shows that nobody else uses the module yet, so nobody has locked it; the
    // module's init function calls this once.
    unsafe { SLOTS.init() };
    let queue = OrderedQueue::new(c"vfio-irqfd-cleanup")?;
    // SAFETY: The module keeps `queue` in the result until it is unloaded. Other modules, whose
    // calls lead to the users of `CLEANUP`, cannot call this one by then.
    CLEANUP.populate(unsafe { queue.handle() });
    Ok(Virqfds { _queue: queue })
}

/// The handlers of events of virqfds.
struct Teardown;

impl Events for Teardown {
    /// Calls the driver. The lock of the eventfd's wait queue is held.
    fn signalled(virqfd: &Virqfd) {
        virqfd.consume();
        virqfd.deliver();
    }

    /// Queues the teardown, because the eventfd is being closed. The lock of the eventfd's wait
    /// queue is held.
    fn hung_up(virqfd: &Virqfd) {
        let mut slots = SLOTS.lock();
        // If the driver has disabled the slot already, the virqfd is not in it any more. It is
        // still valid then: teardown takes the lock of the wait queue, which is held here, to
        // remove the virqfd from the queue.
        if let Some(slot) = virqfd.slot_in(&slots) {
            if let Some(queue) = CLEANUP.copy() {
                slots.shut_down(slot, queue);
            }
        }
    }

    /// Waits for the driver's thread function. Runs on the work queue.
    fn flush(virqfd: &Virqfd) {
        virqfd.flush_thread();
    }

    /// Tears the virqfd down. Runs on the work queue.
    #[doc(alias = "virqfd_shutdown")]
    fn shut_down(virqfd: OwnedVirqfd) {
        // No signal arrives after this, so the thread function is not queued again. Then it can be
        // waited for.
        virqfd.unlisten();
        virqfd.flush_thread();
    }
}

/// Makes the eventfd `fd` of the calling process call the driver. If it has been signalled already,
/// the driver is called once before this returns. Takes the lock of the slots and that of the
/// eventfd's wait queue, one after the other. Sleeps.
///
/// Calls for one slot must not overlap.
///
/// # Errors
///
/// - `ENOMEM`.
/// - `EBADF` if there is no such file descriptor.
/// - `EINVAL` if the file is no eventfd.
/// - `EBUSY` if there is a virqfd in the slot.
#[doc(alias = "vfio_virqfd_enable")]
pub(crate) fn enable(callbacks: VirqfdCallbacks, slot: Slot, fd: i32) -> Result {
    let memory = OwnedVirqfd::allocate()?;
    // The reference also keeps the eventfd from being closed before this function returns.
    let file = fget(fd)?;
    let virqfd = OwnedVirqfd::new::<Teardown>(memory, callbacks, slot, &file)?;
    // SAFETY: `file` keeps the eventfd from being closed until this function returns. Calls for one
    // slot do not overlap, which the caller of `vfio_virqfd_enable()` guarantees, so the slot is
    // not disabled meanwhile.
    let enabled = unsafe { SLOTS.lock().put(virqfd) };
    // `SLOTS` is not held here: a rejected virqfd is freed outside of it, and `listen` takes the
    // lock of the wait queue, which is the outer one.
    let virqfd = enabled.map_err(|_| EBUSY)?;
    if virqfd.listen(&file) {
        virqfd.deliver();
    }
    Ok(())
}

/// Tears down the virqfd in the slot, if there is one; undoes [`enable`]. When this returns, none
/// of the driver's functions runs any more. Takes the lock of the slots. Sleeps, and must not be
/// called under a lock that the driver's functions take.
#[doc(alias = "vfio_virqfd_disable")]
pub(crate) fn disable(slot: Slot) {
    let Some(queue) = CLEANUP.copy() else {
        return;
    };
    SLOTS.lock().shut_down(slot, queue);
    // If the slot is empty, a teardown may still run, because the eventfd was closed just before.
    queue.flush();
}

/// Waits until the driver's thread function for the slot is not queued and does not run. Takes the
/// lock of the slots. Sleeps.
#[doc(alias = "vfio_virqfd_flush_thread")]
pub(crate) fn flush_thread(slot: Slot) {
    let Some(queue) = CLEANUP.copy() else {
        return;
    };
    {
        let slots = SLOTS.lock();
        if let Some(virqfd) = slots.get(slot).filter(|virqfd| virqfd.has_thread()) {
            // A teardown of this virqfd is queued under the same lock, so it is queued later.
            virqfd.queue_flush(queue);
        }
    }
    queue.flush();
}

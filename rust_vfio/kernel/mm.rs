// SPDX-License-Identifier: GPL-2.0

//! Address spaces of processes, beyond what `kernel::mm` offers: the write side of `mmap_lock`, the
//! accounting of locked pages, which that lock protects, and kernel threads that use the memory of
//! a process.
//!
//! In the kernel crate: `kernel::mm::Mm::mmap_write_lock{,_killable}()` with
//! `account_locked_vm()` on the guard; `kernel::task` would get `rlimit()`,
//! `fatal_signal_pending()` and `cond_resched()`; `kernel::kthread` would get `use_mm()`.
//!
//! C headers: `include/linux/mm.h`, `include/linux/mmap_lock.h`, `include/linux/sched/signal.h`.

use kernel::{
    error::to_result,
    mm::{
        Mm,
        MmWithUser, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    task::Task, //
};

use crate::bindings;

/// The size of a base page in bytes.
pub(crate) const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// The binary logarithm of [`PAGE_SIZE`].
pub(crate) const SHIFT: u32 = PAGE_SHIFT as u32;

/// `mmap_lock` of an address space, held for writing. Dropping the guard releases the lock.
///
/// # Invariants
///
/// The calling task holds the lock for writing.
pub(crate) struct MmapWriteGuard<'a>(&'a Mm);

impl<'a> MmapWriteGuard<'a> {
    /// Locks `mm` for writing. Sleeps, and cannot be interrupted.
    #[doc(alias = "mmap_write_lock")]
    pub(crate) fn lock(mm: &'a Mm) -> Self {
        // SAFETY: By the type invariants of `Mm` the `mm_struct` is valid.
        unsafe { bindings::vfio_rs_mmap_write_lock(mm.as_raw()) };
        // INVARIANT: Locked above.
        Self(mm)
    }

    /// Locks `mm` for writing. Sleeps.
    ///
    /// # Errors
    ///
    /// `EINTR` if the calling task was killed.
    #[doc(alias = "mmap_write_lock_killable")]
    pub(crate) fn lock_killable(mm: &'a Mm) -> Result<Self> {
        // SAFETY: By the type invariants of `Mm` the `mm_struct` is valid.
        match unsafe { bindings::vfio_rs_mmap_write_lock_killable(mm.as_raw()) } {
            // INVARIANT: Locked here.
            0 => Ok(Self(mm)),
            _ => Err(EINTR),
        }
    }

    /// Adds `pages` to the number of locked pages of the address space, or subtracts them unless
    /// `add`.
    ///
    /// Unless `may_exceed`, the number is limited by `RLIMIT_MEMLOCK` of `task`. Subtracting cannot
    /// fail.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the number would exceed the limit.
    #[doc(alias = "__account_locked_vm")]
    pub(crate) fn account_locked_vm(
        &self,
        pages: usize,
        add: bool,
        task: &Task,
        may_exceed: bool,
    ) -> Result {
        let (mm, task) = (self.0.as_raw(), task.as_ptr());
        // SAFETY: Task and address space are valid by their type invariants, and `mmap_lock` is
        // held for writing by those of `self`.
        to_result(unsafe { bindings::__account_locked_vm(mm, pages, add, task, may_exceed) })
    }
}

impl Drop for MmapWriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the lock is held.
        unsafe { bindings::vfio_rs_mmap_write_unlock(self.0.as_raw()) };
    }
}

/// The use of the address space of a process by a kernel thread. Dropping it ends the use.
///
/// # Invariants
///
/// The calling kernel thread uses the address space, since [`AdoptedMm::new`].
pub(crate) struct AdoptedMm<'a>(&'a MmWithUser);

impl<'a> AdoptedMm<'a> {
    /// Makes the calling kernel thread use `mm` as its address space.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the calling task has an address space.
    #[doc(alias = "kthread_use_mm")]
    pub(crate) fn new(mm: &'a MmWithUser) -> Result<Self> {
        if kernel::current!().mm().is_some() {
            return Err(EFAULT);
        }
        // SAFETY: The borrow keeps `mm` alive for longer than this value. The caller has no address
        // space, so it is a kernel thread that uses none.
        unsafe { bindings::kthread_use_mm(mm.as_raw()) };
        // INVARIANT: Adopted above.
        Ok(Self(mm))
    }
}

impl Drop for AdoptedMm<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the calling thread uses this address space.
        unsafe { bindings::kthread_unuse_mm(self.0.as_raw()) };
    }
}

/// Returns whether all of the `size` bytes from `addr` on are user virtual addresses. There need
/// not be memory.
#[doc(alias = "access_ok")]
pub(crate) fn is_user_range(addr: u64, size: u64) -> bool {
    match (usize::try_from(addr), usize::try_from(size)) {
        // SAFETY: There are no safety requirements: the function compares numbers.
        (Ok(addr), Ok(size)) => unsafe { bindings::vfio_rs_access_ok(addr, size) },
        _ => false,
    }
}

/// Returns the limit `RLIMIT_MEMLOCK` of a task, in bytes.
#[doc(alias = "task_rlimit")]
pub(crate) fn memlock_limit(task: &Task) -> usize {
    // SAFETY: The task is valid by its type invariants.
    unsafe { bindings::vfio_rs_task_rlimit(task.as_ptr(), bindings::RLIMIT_MEMLOCK) }
}

/// Returns whether the calling task has the capability `CAP_IPC_LOCK`, with which it may lock more
/// memory than its limit.
pub(crate) fn capable_ipc_lock() -> bool {
    // SAFETY: There are no safety requirements.
    unsafe { bindings::capable(bindings::CAP_IPC_LOCK as i32) }
}

/// Lets other tasks run if one is waiting. Called in loops that may take long, in process context
/// and without a spinlock.
pub(crate) fn cond_resched() {
    // SAFETY: There are no safety requirements; in atomic context the kernel warns.
    unsafe { bindings::vfio_rs_cond_resched() };
}

/// Returns whether the calling task was killed and should give up what it is doing.
#[doc(alias = "fatal_signal_pending")]
pub(crate) fn is_killed() -> bool {
    // SAFETY: The calling task is valid while it runs.
    unsafe { bindings::vfio_rs_fatal_signal_pending(Task::current_raw()) }
}

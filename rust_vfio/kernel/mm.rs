// SPDX-License-Identifier: GPL-2.0

//! Address spaces of processes, beyond what `kernel::mm` offers: the write side of `mmap_lock`, the
//! count of locked pages, and a kernel thread that uses the memory of a process.
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

/// The logarithm of [`PAGE_SIZE`].
pub(crate) const SHIFT: u32 = PAGE_SHIFT as u32;

/// Write access to `mmap_lock` of an address space. Dropping it unlocks.
///
/// # Invariants
///
/// The lock is held for writing.
pub(crate) struct MmapWriteGuard<'a>(&'a Mm);

impl<'a> MmapWriteGuard<'a> {
    /// Locks `mm` for writing. Sleeps, and cannot be interrupted.
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
    /// `EINTR` if the caller is killed meanwhile.
    pub(crate) fn lock_killable(mm: &'a Mm) -> Result<Self> {
        // SAFETY: By the type invariants of `Mm` the `mm_struct` is valid.
        match unsafe { bindings::vfio_rs_mmap_write_lock_killable(mm.as_raw()) } {
            // INVARIANT: Locked here.
            0 => Ok(Self(mm)),
            _ => Err(EINTR),
        }
    }

    /// Adds `pages` locked pages to the address space, or takes them away unless `add`.
    ///
    /// The limit is `RLIMIT_MEMLOCK` of `task`, unless `may_exceed`. Taking away cannot fail.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if that would be more than the limit.
    #[doc(alias = "__account_locked_vm")]
    pub(crate) fn account_locked_vm(
        &self,
        pages: usize,
        add: bool,
        task: &Task,
        may_exceed: bool,
    ) -> Result {
        let (mm, task) = (self.0.as_raw(), task.as_ptr());
        // SAFETY: Both are valid by their type invariants, and the address space is locked by that
        // of `self`.
        to_result(unsafe { bindings::__account_locked_vm(mm, pages, add, task, may_exceed) })
    }
}

impl Drop for MmapWriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the lock is held.
        unsafe { bindings::vfio_rs_mmap_write_unlock(self.0.as_raw()) };
    }
}

/// The memory of a process, used by a kernel thread that has none. Dropping it ends that.
///
/// # Invariants
///
/// The calling thread uses the address space since [`AdoptedMm::new`].
pub(crate) struct AdoptedMm<'a>(&'a MmWithUser);

impl<'a> AdoptedMm<'a> {
    /// Lets the calling thread use `mm` as its own.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the caller has memory of its own, which cannot be exchanged.
    #[doc(alias = "kthread_use_mm")]
    pub(crate) fn new(mm: &'a MmWithUser) -> Result<Self> {
        if kernel::current!().mm().is_some() {
            return Err(EFAULT);
        }
        // SAFETY: The address space is alive for longer than this value, and the caller, which has
        // no memory, is a kernel thread.
        unsafe { bindings::kthread_use_mm(mm.as_raw()) };
        // INVARIANT: Adopted above.
        Ok(Self(mm))
    }
}

impl Drop for AdoptedMm<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::kthread_unuse_mm(self.0.as_raw()) };
    }
}

/// Returns whether the `size` bytes at `addr` can be memory of a user at all.
#[doc(alias = "access_ok")]
pub(crate) fn is_user_range(addr: u64, size: u64) -> bool {
    match (usize::try_from(addr), usize::try_from(size)) {
        // SAFETY: There are no safety requirements.
        (Ok(addr), Ok(size)) => unsafe { bindings::vfio_rs_access_ok(addr, size) },
        _ => false,
    }
}

/// Returns `RLIMIT_MEMLOCK` of a task, in bytes.
pub(crate) fn memlock_limit(task: &Task) -> usize {
    // SAFETY: The task is valid by its type invariants.
    unsafe { bindings::vfio_rs_task_rlimit(task.as_ptr(), bindings::RLIMIT_MEMLOCK) }
}

/// Returns whether the caller may lock more memory than its limit says (`CAP_IPC_LOCK`).
pub(crate) fn capable_ipc_lock() -> bool {
    // SAFETY: There are no safety requirements.
    unsafe { bindings::capable(bindings::CAP_IPC_LOCK as i32) }
}

/// Lets other tasks run, in work that may take long.
pub(crate) fn cond_resched() {
    // SAFETY: Called in process context without spinlocks, as every ioctl is.
    unsafe { bindings::vfio_rs_cond_resched() };
}

/// Returns whether the caller was killed and should give up what it is doing.
#[doc(alias = "fatal_signal_pending")]
pub(crate) fn is_killed() -> bool {
    // SAFETY: The calling task is valid.
    unsafe { bindings::vfio_rs_fatal_signal_pending(Task::current_raw()) }
}

// SPDX-License-Identifier: GPL-2.0

//! Address spaces of processes: the write side of `mmap_lock`, the account of locked pages
//! (`locked_vm`), and kernel threads that use the address space of a process.
//!
//! In the kernel crate, these would replace this file: `kernel::mm::Mm::mmap_write_lock()` and
//! `mmap_write_lock_killable()` with a guard that has `account_locked_vm()` (there is only the read
//! side today); `rlimit()` and `fatal_signal_pending()` of `kernel::task::Task`; free functions
//! `kernel::task::cond_resched()`, `kernel::cred::capable()` and `kernel::uaccess::access_ok()`;
//! and a module `kernel::kthread` with `use_mm()`.
//!
//! C headers: `include/linux/mm.h`, `include/linux/mmap_lock.h`, `include/linux/kthread.h`,
//! `include/linux/sched/signal.h`.

use core::ptr;

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

/// The `mmap_lock` of an address space, held for writing. Dropping it unlocks.
///
/// # Invariants
///
/// The `mmap_lock` of the `mm_struct` is held for writing by this value.
pub(crate) struct MmapWriteGuard<'a>(&'a Mm);

impl<'a> MmapWriteGuard<'a> {
    /// Locks `mm` for writing. May sleep, and is not interrupted by signals.
    #[doc(alias = "mmap_write_lock")]
    pub(crate) fn lock(mm: &'a Mm) -> Self {
        // SAFETY: By the type invariants of `Mm` the `mm_struct` is valid.
        unsafe { bindings::vfio_rs_mmap_write_lock(mm.as_raw()) };
        // INVARIANT: The lock was taken above.
        Self(mm)
    }

    /// Locks `mm` for writing. May sleep.
    ///
    /// # Errors
    ///
    /// `EINTR` if the calling task is killed while it waits.
    #[doc(alias = "mmap_write_lock_killable")]
    pub(crate) fn lock_killable(mm: &'a Mm) -> Result<Self> {
        // SAFETY: By the type invariants of `Mm` the `mm_struct` is valid.
        match unsafe { bindings::vfio_rs_mmap_write_lock_killable(mm.as_raw()) } {
            // INVARIANT: The function returned 0, so it has taken the lock.
            0 => Ok(Self(mm)),
            _ => Err(EINTR),
        }
    }

    /// Adds `pages` base pages to the locked pages of the address space if `add`, and subtracts
    /// them otherwise. Subtracting does not fail.
    ///
    /// The limit is `RLIMIT_MEMLOCK` of `task`; there is none if `may_exceed`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the sum would exceed the limit.
    #[doc(alias = "__account_locked_vm")]
    pub(crate) fn account_locked_vm(
        &self,
        pages: usize,
        add: bool,
        task: &Task,
        may_exceed: bool,
    ) -> Result {
        let (mm, task) = (self.0.as_raw(), task.as_ptr());
        // SAFETY: `mm` and `task` are valid by the type invariants of `Mm` and `Task`. The
        // `mmap_lock` is held for writing by the type invariants of `self`.
        to_result(unsafe { bindings::__account_locked_vm(mm, pages, add, task, may_exceed) })
    }
}

impl Drop for MmapWriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value holds the lock for writing.
        unsafe { bindings::vfio_rs_mmap_write_unlock(self.0.as_raw()) };
    }
}

/// The address space of a process, which a kernel thread uses as its own. Dropping the value ends
/// that.
///
/// # Invariants
///
/// The thread that called [`AdoptedMm::new`] uses the address space.
pub(crate) struct AdoptedMm<'a>(&'a MmWithUser);

impl<'a> AdoptedMm<'a> {
    /// Lets the calling kernel thread use `mm` as its own. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the calling task has an address space already.
    #[doc(alias = "kthread_use_mm")]
    pub(crate) fn new(mm: &'a MmWithUser) -> Result<Self> {
        if kernel::current!().mm().is_some() {
            return Err(EFAULT);
        }
        // SAFETY: `mm` has users as long as the lifetime `'a` of this value. The calling task has
        // no address space, as checked above, so it is a kernel thread.
        unsafe { bindings::kthread_use_mm(mm.as_raw()) };
        // INVARIANT: The calling thread uses the address space from here on.
        Ok(Self(mm))
    }
}

impl Drop for AdoptedMm<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the thread uses the address space.
        unsafe { bindings::kthread_unuse_mm(self.0.as_raw()) };
    }
}

/// Returns whether the `size` bytes from address `addr` on are in the part of the address space
/// that belongs to user space. Nothing need be mapped there.
#[doc(alias = "access_ok")]
pub(crate) fn is_user_range(addr: u64, size: u64) -> bool {
    match (usize::try_from(addr), usize::try_from(size)) {
        // SAFETY: There are no safety requirements.
        (Ok(addr), Ok(size)) => unsafe { bindings::vfio_rs_access_ok(addr, size) },
        _ => false,
    }
}

/// Returns the number of locked pages of `mm`. Without the `mmap_lock` it may change at any time.
pub(crate) fn locked_vm(mm: &Mm) -> usize {
    let mm = mm.as_raw();
    // SAFETY: The pointer is valid by the type invariants of `Mm`. The field is a word, which
    // others may write at the same time; a volatile access reads one of the values.
    unsafe { ptr::read_volatile(&raw const (*mm).__bindgen_anon_1.locked_vm) as usize }
}

/// Returns the soft limit `RLIMIT_MEMLOCK` of `task`, in bytes.
#[doc(alias = "task_rlimit")]
pub(crate) fn memlock_limit(task: &Task) -> usize {
    // SAFETY: `task` is valid by the type invariants of `Task`.
    unsafe { bindings::vfio_rs_task_rlimit(task.as_ptr(), bindings::RLIMIT_MEMLOCK) }
}

/// Returns whether a message about the limit of a process may be logged now. Up to 10 may in five
/// seconds, and the kernel logs how many more there would have been.
#[doc(alias = "__ratelimit")]
pub(crate) fn may_log_limit() -> bool {
    // SAFETY: There are no safety requirements.
    unsafe { bindings::vfio_rs_ratelimit() }
}

/// Returns whether a message of this kind, a number below 32, may be logged now. Up to 10 of a kind
/// may in five seconds.
#[doc(alias = "__ratelimit")]
pub(crate) fn may_report(kind: u32) -> bool {
    // SAFETY: There are no safety requirements.
    unsafe { bindings::vfio_rs_type1_may_report(kind) }
}

/// Returns whether the calling task may exceed `RLIMIT_MEMLOCK` (`CAP_IPC_LOCK`).
#[doc(alias = "capable")]
pub(crate) fn capable_ipc_lock() -> bool {
    // SAFETY: There are no safety requirements.
    unsafe { bindings::capable(bindings::CAP_IPC_LOCK as i32) }
}

/// Lets other tasks run if one is due. May sleep, so the caller holds no spinlock.
pub(crate) fn cond_resched() {
    // SAFETY: There are no safety requirements; in atomic context the kernel would only warn.
    unsafe { bindings::vfio_rs_cond_resched() };
}

/// Returns whether the calling task was killed.
#[doc(alias = "fatal_signal_pending")]
pub(crate) fn is_killed() -> bool {
    // SAFETY: The calling task is valid as long as it runs.
    unsafe { bindings::vfio_rs_fatal_signal_pending(Task::current_raw()) }
}

// SPDX-License-Identifier: GPL-2.0

//! Whose memory a mapping is: the address space, and the account its locked pages are charged to.
//!
//! C headers: `include/linux/mm.h`, `include/linux/sched/signal.h`.

use kernel::{
    mm::{
        Mm,
        MmWithUser, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};

use super::bindings;
use crate::logic::units::PageCount;

/// Who made a mapping.
///
/// Holds a reference to the `mm_struct`, not to its contents: a mapping does not keep the memory
/// of a process that has exited. `RLIMIT_MEMLOCK` belongs to a task; it is the leader of the
/// caller's thread group, so that all mappings of a process are charged to the same one.
pub(crate) struct Owner {
    mm: ARef<Mm>,
    leader: ARef<Task>,
    may_exceed: bool,
}

impl Owner {
    /// The calling process.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the caller has no user memory.
    pub(crate) fn current() -> Result<Self> {
        let current = kernel::current!();
        Ok(Self {
            mm: ARef::from(&**current.mm().ok_or(ENODEV)?),
            leader: ARef::from(current.group_leader()),
            may_exceed: caller_may_exceed(),
        })
    }

    /// Whether [`Owner::current`] would return the same.
    pub(crate) fn is_current(&self) -> bool {
        let current = kernel::current!();
        self.is_current_mm()
            && core::ptr::eq(&*self.leader, current.group_leader())
            && self.may_exceed == caller_may_exceed()
    }

    /// Whether this is the memory of the caller.
    pub(crate) fn is_current_mm(&self) -> bool {
        let current = kernel::current!();
        current
            .mm()
            .is_some_and(|mm| core::ptr::eq(mm.as_raw(), self.mm.as_raw()))
    }

    /// The memory, unless the process is gone. Keeps it until dropped.
    pub(crate) fn memory(&self) -> Option<ARef<MmWithUser>> {
        self.mm.mmget_not_zero()
    }

    /// Charges the owner for `pages` locked pages.
    ///
    /// The memory must be alive: it is the caller's own, or [`Owner::memory`] is held.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if that is more than `RLIMIT_MEMLOCK`, which is logged.
    /// - `EINTR` if the caller was killed while it waited.
    pub(crate) fn charge(&self, pages: PageCount) -> Result {
        if pages.is_zero() {
            return Ok(());
        }
        let mm = self.mm.as_raw();
        // SAFETY: The `mm_struct` is valid while the reference is held.
        if unsafe { bindings::vfio_rs_mmap_write_lock_killable(mm) } != 0 {
            return Err(EINTR);
        }
        let charged = self.account(pages, true);
        // SAFETY: Locked above.
        unsafe { bindings::vfio_rs_mmap_write_unlock(mm) };
        if charged.is_err() {
            // SAFETY: The task is valid while the reference is held.
            let limit = unsafe {
                bindings::vfio_rs_task_rlimit(self.leader.as_ptr(), bindings::RLIMIT_MEMLOCK)
            };
            let pid = self.leader.pid();
            pr_warn!("process {}: RLIMIT_MEMLOCK ({}) exceeded\n", pid, limit);
        }
        charged
    }

    /// Gives `pages` charged pages back. Nothing is left to give them to once the process is gone.
    ///
    /// Waits for the address space even if the caller was killed, which C does not: the account
    /// may be that of another process.
    pub(crate) fn uncharge(&self, pages: PageCount) {
        if pages.is_zero() {
            return;
        }
        // The memory of the caller is alive, no reference needed.
        let _alive = if self.is_current_mm() {
            None
        } else {
            let Some(mm) = self.memory() else {
                return;
            };
            Some(mm)
        };
        let mm = self.mm.as_raw();
        // SAFETY: The `mm_struct` is valid while the reference is held.
        unsafe { bindings::vfio_rs_mmap_write_lock(mm) };
        // Taking away cannot fail.
        let _ = self.account(pages, false);
        // SAFETY: Locked above.
        unsafe { bindings::vfio_rs_mmap_write_unlock(mm) };
    }

    /// Runs `f` in a context in which addresses of the user are those of this owner.
    ///
    /// # Errors
    ///
    /// `EPERM` if the process is gone; `EFAULT` if the caller is a task with other memory, which
    /// only kernel threads can exchange; those of `f`.
    pub(crate) fn with_memory(&self, f: impl FnOnce() -> Result) -> Result {
        if self.is_current_mm() {
            return f();
        }
        self.with_others_memory(f)
    }

    #[inline(never)] // Virtual machines use their own.
    fn with_others_memory(&self, f: impl FnOnce() -> Result) -> Result {
        let mm = self.memory().ok_or(EPERM)?;
        if kernel::current!().mm().is_some() {
            return Err(EFAULT);
        }
        let _adopted = Adopted::new(&mm);
        f()
    }

    /// Changes the account. The memory must be alive and locked for writing.
    fn account(&self, pages: PageCount, add: bool) -> Result {
        let pages = usize::try_from(pages.get()).map_err(|_| ENOMEM)?;
        // SAFETY: The address space and the task are valid while the references are held.
        kernel::error::to_result(unsafe {
            bindings::__account_locked_vm(
                self.mm.as_raw(),
                pages,
                add,
                self.leader.as_ptr(),
                self.may_exceed,
            )
        })
    }
}

/// The memory of a process, as that of a kernel thread which has none.
struct Adopted<'a>(&'a MmWithUser);

impl<'a> Adopted<'a> {
    /// Adopts `mm`. The caller must be a kernel thread without memory.
    fn new(mm: &'a MmWithUser) -> Self {
        // SAFETY: The address space is alive and stays so for longer than this value.
        unsafe { bindings::kthread_use_mm(mm.as_raw()) };
        Self(mm)
    }
}

impl Drop for Adopted<'_> {
    fn drop(&mut self) {
        // SAFETY: Adopted by `new`, in the same thread.
        unsafe { bindings::kthread_unuse_mm(self.0.as_raw()) };
    }
}

/// Whether the range of `size` bytes at `addr` can be in the memory of a user at all.
pub(crate) fn is_user_range(addr: u64, size: u64) -> bool {
    match (usize::try_from(addr), usize::try_from(size)) {
        // SAFETY: A function without requirements.
        (Ok(addr), Ok(size)) => unsafe { bindings::vfio_rs_access_ok(addr, size) },
        _ => false,
    }
}

/// Whether the caller may lock more memory than `RLIMIT_MEMLOCK` says.
fn caller_may_exceed() -> bool {
    // SAFETY: A function without requirements.
    unsafe { bindings::capable(bindings::CAP_IPC_LOCK as i32) }
}

/// Lets other tasks run, in work that may take long.
pub(crate) fn cond_resched() {
    // SAFETY: Called in process context without spinlocks, as every ioctl is.
    unsafe { bindings::vfio_rs_cond_resched() };
}

/// Whether the caller was killed and should give up what it is doing.
pub(crate) fn killed() -> bool {
    // SAFETY: The calling task is valid.
    unsafe { bindings::vfio_rs_fatal_signal_pending(Task::current_raw()) }
}

/// The size of a base page in bytes.
pub(crate) const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// The logarithm of [`PAGE_SIZE`].
pub(crate) const SHIFT: u32 = PAGE_SHIFT as u32;

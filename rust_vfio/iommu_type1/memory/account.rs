// SPDX-License-Identifier: GPL-2.0

//! Whose memory a mapping is, and against whose limit its locked pages count.
//!
//! Corresponds to `dma->mm`, `dma->task` and `dma->lock_cap` of `struct vfio_dma`, and to
//! `vfio_lock_acct()`.

use kernel::{
    mm::{
        Mm,
        MmWithUser, //
    },
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};

use crate::{
    iommu_type1::logic::units::PageCount,
    kernel::mm::{
        self,
        AdoptedMm,
        MmapWriteGuard, //
    }, //
};

/// The process that made a mapping.
///
/// Holds a reference to the `mm_struct`, not to its contents: a mapping does not keep the memory
/// of a process that has exited. `RLIMIT_MEMLOCK` belongs to a task; it is the leader of the
/// caller's thread group, so that all mappings of a process count against the same limit.
pub(crate) struct Owner {
    mm: ARef<Mm>,
    leader: ARef<Task>,
    may_exceed: bool,
}

impl Owner {
    /// Returns the calling process.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the caller has no user memory.
    pub(crate) fn current() -> Result<Self> {
        let current = kernel::current!();
        Ok(Self {
            mm: ARef::from(&**current.mm().ok_or(ENODEV)?),
            leader: ARef::from(current.group_leader()),
            may_exceed: mm::capable_ipc_lock(),
        })
    }

    /// Returns whether [`Owner::current`] would return the same.
    pub(crate) fn is_current(&self) -> bool {
        let current = kernel::current!();
        self.is_current_mm()
            && core::ptr::eq(&*self.leader, current.group_leader())
            && self.may_exceed == mm::capable_ipc_lock()
    }

    /// Returns whether this is the memory of the caller.
    pub(crate) fn is_current_mm(&self) -> bool {
        let current = kernel::current!();
        current
            .mm()
            .is_some_and(|mm| core::ptr::eq(mm.as_raw(), self.mm.as_raw()))
    }

    /// Returns the memory, which stays until the result is dropped, unless the process is gone.
    pub(crate) fn memory(&self) -> Option<ARef<MmWithUser>> {
        self.mm.mmget_not_zero()
    }

    /// Counts `pages` more locked pages. Takes the `mmap_lock` of the process for writing.
    ///
    /// The memory must be alive: it is the caller's own, or [`Owner::memory`] is held.
    ///
    /// # Errors
    ///
    /// - `EINTR` if the caller was killed while it waited for the lock.
    /// - `ENOMEM` if that is more than `RLIMIT_MEMLOCK`, which is logged.
    pub(crate) fn account(&self, pages: PageCount) -> Result {
        if pages.is_zero() {
            return Ok(());
        }
        let accounted = MmapWriteGuard::lock_killable(&self.mm)
            .and_then(|locked| self.change(&locked, pages, true));
        if accounted == Err(ENOMEM) {
            let (pid, limit) = (self.leader.pid(), mm::memlock_limit(&self.leader));
            pr_warn!("process {}: RLIMIT_MEMLOCK ({}) exceeded\n", pid, limit);
        }
        accounted
    }

    /// Counts `pages` locked pages less. Takes the `mmap_lock` of the process for writing; does
    /// nothing if the process is gone.
    ///
    /// Deviation: waits for the lock even if the caller was killed, which C does not, and then
    /// counts wrong: the account may be that of another process.
    pub(crate) fn unaccount(&self, pages: PageCount) {
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
        let locked = MmapWriteGuard::lock(&self.mm);
        // Taking away cannot fail.
        let _ = self.change(&locked, pages, false);
    }

    fn change(&self, locked: &MmapWriteGuard<'_>, pages: PageCount, add: bool) -> Result {
        let pages = usize::try_from(pages.get()).map_err(|_| ENOMEM)?;
        locked.account_locked_vm(pages, add, &self.leader, self.may_exceed)
    }

    /// Runs `f` in a context in which addresses of the user are those of this owner.
    ///
    /// # Errors
    ///
    /// - `EPERM` if the process is gone.
    /// - `EFAULT` if the caller is a task with other memory, which only kernel threads can
    ///   exchange.
    /// - Those of `f`.
    pub(crate) fn with_memory(&self, f: impl FnOnce() -> Result) -> Result {
        if self.is_current_mm() {
            return f();
        }
        self.with_others_memory(f)
    }

    #[inline(never)] // Virtual machines use their own.
    fn with_others_memory(&self, f: impl FnOnce() -> Result) -> Result {
        let mm = self.memory().ok_or(EPERM)?;
        let _adopted = AdoptedMm::new(&mm)?;
        f()
    }
}

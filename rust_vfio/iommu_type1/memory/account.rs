// SPDX-License-Identifier: GPL-2.0

//! The owner of the memory of a mapping, and the account of its locked pages (contract 6.9).
//!
//! Corresponds to the fields `mm`, `task` and `lock_cap` of `struct vfio_dma`, and to
//! `vfio_lock_acct()` and `mm_lock_acct()`.

use kernel::{
    mm::{
        Mm,
        MmWithUser, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    task::Task, //
};

use crate::{
    iommu_type1::{
        logic::units::PageCount,
        refusal::DmaRefusal, //
    },
    kernel::{
        mm::{
            self,
            AdoptedMm,
            MmapWriteGuard, //
        },
        task::{
            Comm,
            TaskName, //
        }, //
    }, //
};

/// The process that made a mapping.
///
/// The owner has a reference to the `mm_struct` (`mm_count`), but is no user of the address space
/// (`mm_users`), so a mapping does not keep the memory of a process that has exited. As in C the
/// limit is `RLIMIT_MEMLOCK` of the leader of the thread group, so that it is the same for all
/// mappings of a process.
pub(crate) struct Owner {
    mm: ARef<Mm>,
    leader: ARef<Task>,
    /// Whether the process had `CAP_IPC_LOCK`, so that there is no limit.
    may_exceed: bool,
    /// The sum for the container.
    locked: Arc<Locked>,
}

/// The number of pages that a container has accounted, to whomever.
pub(crate) struct Locked(Atomic<u64>);

impl Locked {
    /// Creates an empty account.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self(Atomic::new(0)), GFP_KERNEL)?)
    }

    /// Returns the number of pages.
    pub(crate) fn pages(&self) -> PageCount {
        PageCount::new(self.0.load(Relaxed))
    }
}

impl Owner {
    /// Creates an owner that stands for the calling process. `locked` is the sum of the container.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the calling task has no user memory.
    pub(crate) fn current(locked: Arc<Locked>) -> Result<Self> {
        let current = kernel::current!();
        Ok(Self {
            mm: ARef::from(&**current.mm().ok_or(ENODEV)?),
            leader: ARef::from(current.group_leader()),
            may_exceed: mm::capable_ipc_lock(),
            locked,
        })
    }

    /// Returns whether [`Owner::current`] would return an equal owner.
    pub(crate) fn is_current(&self) -> bool {
        let current = kernel::current!();
        self.is_current_mm()
            && core::ptr::eq(&*self.leader, current.group_leader())
            && self.may_exceed == mm::capable_ipc_lock()
    }

    /// Returns the name and the process ID of the process.
    pub(crate) fn name(&self) -> TaskName {
        TaskName::of(&self.leader)
    }

    /// Returns whether the address space is that of the calling task.
    pub(crate) fn is_current_mm(&self) -> bool {
        let current = kernel::current!();
        current
            .mm()
            .is_some_and(|mm| core::ptr::eq(mm.as_raw(), self.mm.as_raw()))
    }

    /// Returns the address space, which is not torn down until the result is dropped, or `None` if
    /// the process has exited.
    #[doc(alias = "mmget_not_zero")]
    pub(crate) fn memory(&self) -> Option<ARef<MmWithUser>> {
        self.mm.mmget_not_zero()
    }

    /// Returns whether `pages` more locked pages would probably be within the limit. Takes no lock,
    /// so other tasks may change the account at the same time.
    pub(crate) fn has_room(&self, pages: PageCount) -> bool {
        if self.may_exceed {
            return true;
        }
        let used = PageCount::new(mm::locked_vm(&self.mm) as u64);
        used.plus(pages) <= self.limit()
    }

    /// Returns the number of pages that the process may lock (`RLIMIT_MEMLOCK`).
    fn limit(&self) -> PageCount {
        PageCount::new(mm::memlock_limit(&self.leader) as u64 >> mm::SHIFT)
    }

    /// Adds `pages` locked pages to the account of the process. Takes its `mmap_lock` for writing,
    /// and may sleep.
    ///
    /// The address space must have users: it is that of the calling task, or the caller holds the
    /// result of [`Owner::memory`].
    ///
    /// # Errors
    ///
    /// - `EINTR` if the calling task was killed while it waited for the lock.
    /// - `ENOMEM` if the sum would exceed `RLIMIT_MEMLOCK`, which is logged, but not too often.
    #[doc(alias = "vfio_lock_acct")]
    pub(crate) fn account(&self, pages: PageCount) -> Result {
        if pages.is_zero() {
            return Ok(());
        }
        let accounted = MmapWriteGuard::lock_killable(&self.mm)
            .and_then(|locked| self.change(&locked, pages, true));
        if accounted == Err(ENOMEM) && mm::may_log_limit() {
            // Administrators search the log for these words of C.
            pr_warn!(
                "Task {} ({}) RLIMIT_MEMLOCK ({}) exceeded\n",
                Comm::of(&self.leader),
                self.leader.pid(),
                mm::memlock_limit(&self.leader)
            );
        }
        if accounted == Err(ENOMEM) {
            let used = PageCount::new(mm::locked_vm(&self.mm) as u64);
            DmaRefusal::Memlock {
                more: pages,
                used,
                limit: self.limit(),
            }
            .report(ENOMEM);
        }
        if accounted.is_ok() {
            self.locked.0.add(pages.get(), Relaxed);
        }
        accounted
    }

    /// Subtracts `pages` locked pages from the account of the process. Takes its `mmap_lock` for
    /// writing, and may sleep. Does nothing if the process has exited.
    ///
    /// Deviation: C gives up if the calling task is killed while it waits for the lock, and leaves
    /// the pages accounted, possibly to another process that goes on running. We wait for the lock
    /// even then.
    #[doc(alias = "vfio_lock_acct")]
    pub(crate) fn unaccount(&self, pages: PageCount) {
        if pages.is_zero() {
            return;
        }
        self.locked.0.fetch_sub(pages.get(), Relaxed);
        // The address space of the calling task has users, so it needs no reference.
        let _alive = if self.is_current_mm() {
            None
        } else {
            let Some(mm) = self.memory() else {
                return;
            };
            Some(mm)
        };
        let locked = MmapWriteGuard::lock(&self.mm);
        // Subtracting does not fail.
        let _ = self.change(&locked, pages, false);
    }

    /// Adds or subtracts `pages`, with the `mmap_lock` held.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the sum would exceed `RLIMIT_MEMLOCK`.
    fn change(&self, locked: &MmapWriteGuard<'_>, pages: PageCount, add: bool) -> Result {
        let pages = usize::try_from(pages.get()).map_err(|_| ENOMEM)?;
        locked.account_locked_vm(pages, add, &self.leader, self.may_exceed)
    }

    /// Calls `f` in a context in which user addresses are those of this owner: the calling kernel
    /// thread uses its address space meanwhile. A thread of the owner needs none of this.
    ///
    /// # Errors
    ///
    /// - `EPERM` if the process has exited.
    /// - `EFAULT` if the calling task has another address space.
    /// - Any errno of `f`.
    #[inline(never)] // The usual caller is a thread of the owner.
    pub(crate) fn with_memory(&self, f: impl FnOnce() -> Result) -> Result {
        let mm = self.memory().ok_or(EPERM)?;
        let _adopted = AdoptedMm::new(&mm)?;
        f()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The calls that pin user memory (GUP, "get user pages"), with the answers of
//! `pin_user_pages_remote()`, and most of the time with the speed of `pin_user_pages_fast()`.
//!
//! In the kernel crate: part of a module `kernel::mm::gup`, see [`pages`](super::pages).
//!
//! C headers: `include/linux/mm.h`, `include/linux/mm_types.h`.

use core::ptr;

use kernel::{
    mm::{
        virt::{
            self,
            VmaRef, //
        },
        MmWithUser,
        MmapReadGuard, //
    },
    prelude::*, //
};

use crate::{
    bindings,
    kernel::mm, //
};

/// The largest number of pages that are looked at in place of their area.
const FEW: usize = 16;

/// The largest number of pages that are pinned while interrupts are off: whoever waits for the
/// processor then waits for them.
const WITHOUT_INTERRUPTS: usize = 256;

/// The number of pages of a huge page. They are pinned in one step, which takes a twentieth of what
/// as many small pages take.
const HUGE: usize = mm::PAGE_SIZE / size_of::<u64>();

/// What is known of user memory from the calls before, for addresses that rise from call to call.
#[derive(Default)]
pub(crate) struct Known {
    /// The end (exclusive) of the area that was found suitable by the call before, or 0.
    suitable: usize,
    /// Whether the page before is a part of a huge one, as the next one then probably is.
    huge: bool,
}

impl Known {
    /// Notes that the area that ends at `end` (exclusive) was found suitable: see [`is_suitable`].
    pub(crate) fn set_suitable(&mut self, end: usize) {
        self.suitable = end;
    }

    /// Returns the largest number of pages to pin from `vaddr` on while interrupts are off. Huge
    /// pages are not cut.
    fn most(&self, vaddr: usize) -> usize {
        match self.huge {
            true => HUGE - (vaddr >> mm::SHIFT) % HUGE,
            false => WITHOUT_INTERRUPTS,
        }
    }
}

/// Returns the flags for long-term pins, with write access if `write`.
pub(super) fn gup_flags(write: bool) -> u32 {
    match write {
        true => bindings::FOLL_LONGTERM | bindings::FOLL_WRITE,
        false => bindings::FOLL_LONGTERM,
    }
}

/// Pins those of the first `count` pages of `mm`, the address space of the calling task, that are
/// present, but at most [`WITHOUT_INTERRUPTS`] or a huge page. Returns their number, which is 0 if
/// the first page is not present, or if this way does not suit the area.
///
/// `pin_user_pages_fast()` is several times as fast as [`pin_remote`], but its answers are others:
///
/// - It does not look at the area, so it pins pages that may not be read, and those of a device
///   (`VM_IO`) that have page structures. So the area is looked at before, or the pages after.
/// - It waits for memory that another task provides (userfaultfd), because it can drop the
///   `mmap_lock`. With `FOLL_NOFAULT` it causes no page fault.
/// - It obeys the protection keys of the caller, which are for accesses of the CPU. Pages that are
///   protected by them are not pinned here.
///
/// # Safety
///
/// `pages` must be valid for writing `count` pointers.
#[doc(alias = "pin_user_pages_fast")]
pub(super) unsafe fn pin_present(
    mm: &MmWithUser,
    vaddr: usize,
    count: usize,
    flags: u32,
    pages: *mut *mut bindings::page,
    known: &mut Known,
) -> usize {
    let write = flags & bindings::FOLL_WRITE != 0;
    let count = count.min(known.most(vaddr));
    // It costs more to look at the area than to pin a few pages.
    let look_at_pages = write && count <= FEW;
    let count = if look_at_pages {
        count
    } else {
        if vaddr >= known.suitable {
            // There is no guard for an address with a tag, nor while the area is changed.
            known.suitable = match mm.lock_vma_under_rcu(vaddr) {
                Some(vma) if is_suitable(&vma, write) => vma.end(),
                _ => 0,
            };
        }
        count.min(known.suitable.saturating_sub(vaddr) >> mm::SHIFT)
    };
    let Ok(count @ 1..) = i32::try_from(count) else {
        return 0;
    };
    // SAFETY: There is room for the pointers by the safety requirements of this function. The
    // calling task has an `mm_struct`.
    let ret = unsafe {
        bindings::pin_user_pages_fast(vaddr, count, flags | bindings::FOLL_NOFAULT, pages)
    };
    // Whatever failed is tried again by the caller, who reports the error.
    let pinned = usize::try_from(ret).unwrap_or(0);
    // SAFETY: The function has stored `pinned` pointers.
    let found = unsafe { core::slice::from_raw_parts(pages, pinned) };
    if look_at_pages {
        // A page that can be written to is in an area that can be, and a page of a driver is
        // neither anonymous memory nor that of a file.
        // SAFETY: Each of the pages is pinned.
        let has_mapping =
            |page: &*mut bindings::page| unsafe { bindings::vfio_rs_page_has_mapping(*page) };
        if !found.iter().all(has_mapping) {
            // SAFETY: The pages were pinned above, and nobody else knows of that.
            unsafe { bindings::unpin_user_pages(pages, pinned) };
            return 0;
        }
    } else {
        // SAFETY: The page is pinned, so its folio is neither freed nor split.
        let in_folio = |page: &*mut bindings::page| unsafe {
            bindings::vfio_rs_folio_nr_pages(bindings::vfio_rs_page_folio(*page))
        };
        known.huge = found.last().is_some_and(|page| in_folio(page) >= HUGE);
    }
    pinned
}

/// Returns whether present pages of `vma` can be pinned without a look at the area: it is
/// accessible, for writing if `write`, and not of a device.
pub(crate) fn is_suitable(vma: &VmaRef, write: bool) -> bool {
    let needed = match write {
        true => virt::flags::WRITE,
        false => virt::flags::READ,
    };
    vma.flags() & (needed | virt::flags::IO | virt::flags::PFNMAP) == needed
}

/// Calls `pin_user_pages_remote()` for `count` pages of `mm`, whose lock `_locked` holds. Returns
/// the number of pages pinned, or a negative errno.
///
/// Does not drop the lock. So it fails with `EFAULT` where another task would have to provide the
/// memory (userfaultfd), instead of waiting.
///
/// # Safety
///
/// `pages` must be valid for writing `count` pointers.
pub(super) unsafe fn pin_remote(
    mm: &MmWithUser,
    _locked: &MmapReadGuard<'_>,
    vaddr: usize,
    count: usize,
    flags: u32,
    pages: *mut *mut bindings::page,
) -> isize {
    let unlocked = ptr::null_mut();
    // SAFETY: A `MmWithUser` has users, and its `mmap_lock` is held for reading as `_locked` shows.
    // There is room for the pointers by the safety requirements of this function. As `unlocked` is
    // null the lock is not dropped.
    unsafe { bindings::pin_user_pages_remote(mm.as_raw(), vaddr, count, flags, pages, unlocked) }
}

/// Returns the errno for user space after pinning failed with `ret`, a negative errno.
pub(super) fn pin_error(ret: isize) -> Error {
    if mm::is_killed() {
        return EINTR;
    }
    match i32::try_from(ret).map(Error::from_errno) {
        Ok(error) => error,
        Err(_) => EFAULT,
    }
}

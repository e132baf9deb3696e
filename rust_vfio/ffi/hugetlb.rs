// SPDX-License-Identifier: GPL-2.0

//! Pinning huge pages of hugetlbfs in one step, however large they are.
//!
//! Such a page is mapped as a whole or not at all: if one base page of it is at a user address,
//! so are its neighbours at those around it, as far as the area goes. So one base page is pinned
//! the usual way, which does all that may have to be done (filling the area, breaking up
//! copy-on-write, moving the page to where it may stay), and pins for the others are only counted.
//! The lock of the address space keeps the area one of hugetlbfs in between, and the first pin
//! keeps the page whole and allocated, even if it is taken out of the area meanwhile. None of this
//! holds for transparent huge pages, of which parts can be mapped.
//!
//! C headers: `include/linux/mm.h`, `include/linux/hugetlb.h`.

use core::ptr;

use kernel::mm::{
    virt,
    MmWithUser, //
};

use super::{
    bindings,
    mm,
    pin::{
        Memory,
        PinnedRun, //
    }, //
};
use crate::logic::{
    runs::{
        Backing,
        Run, //
    },
    units::{
        PageCount,
        Pfn, //
    }, //
};

/// What is at a user address.
pub(crate) enum Found {
    /// A huge page of hugetlbfs, or the rest of one.
    Pinned(PinnedRun),
    /// Memory of a device, for [`super::pfnmap`].
    Frames,
    /// Something else, up to this user address (exclusive), or nothing that is known.
    Otherwise(usize),
}

/// Pins the huge page at user address `vaddr`, from there on and at most `limit` base pages, for
/// devices that write if `write`.
pub(crate) fn pin(memory: Memory<'_>, vaddr: usize, limit: PageCount, write: bool) -> Found {
    match memory {
        Memory::Of(mm) => pin_in(mm, vaddr, limit, write),
        Memory::Own => match kernel::current!().mm() {
            Some(mm) => pin_in(mm, vaddr, limit, write),
            None => Found::Otherwise(usize::MAX),
        },
    }
}

fn pin_in(mm: &MmWithUser, vaddr: usize, limit: PageCount, write: bool) -> Found {
    let locked = mm.mmap_read_lock();
    // Tags and areas that are not there yet are left to the usual way.
    let Some(vma) = locked.vma_lookup(vaddr) else {
        return Found::Otherwise(usize::MAX);
    };
    let end = vma.end();
    if vma.flags() & virt::flags::PFNMAP != 0 {
        return Found::Frames;
    }
    if vma.flags() & virt::flags::HUGETLB == 0 {
        return Found::Otherwise(end);
    }
    // CAST: Sizes are native words.
    let in_area = PageCount::new((end.saturating_sub(vaddr) >> mm::SHIFT) as u64);

    let mut flags = bindings::FOLL_LONGTERM;
    if write {
        flags |= bindings::FOLL_WRITE;
    }
    let mut page: *mut bindings::page = ptr::null_mut();
    // SAFETY: The address space is alive and locked, there is room for one pointer, and without a
    // pointer for it the lock is not dropped.
    let pinned = unsafe {
        bindings::pin_user_pages_remote(mm.as_raw(), vaddr, 1, flags, &mut page, ptr::null_mut())
    };
    if pinned != 1 {
        return Found::Otherwise(end);
    }
    // SAFETY: The page is pinned, so it and its folio are valid.
    let (pfn, folio) = unsafe {
        (
            bindings::vfio_rs_page_to_pfn(page),
            bindings::vfio_rs_page_folio(page),
        )
    };
    // SAFETY: As above.
    let folio_end = unsafe {
        bindings::vfio_rs_folio_pfn(folio).saturating_add(bindings::vfio_rs_folio_nr_pages(folio))
    };
    let in_folio = PageCount::new(folio_end.saturating_sub(pfn) as u64);
    let wanted = in_folio.min(in_area).min(limit);

    // CAST: Pages of a folio, whose number fits into 32 bits.
    let more = wanted.get().saturating_sub(1) as u32;
    // SAFETY: The folio has a pin. The pages behind the one that has it are mapped behind it, as
    // the area is one of hugetlbfs, so the user may use them in the same way.
    let all = more == 0 || unsafe { bindings::folio_add_pins(folio, more) } == 0;
    let pages = if all { wanted } else { PageCount::new(1) };
    match Run::new(Pfn::new(pfn as u64), pages, Backing::Pinned) {
        // SAFETY: One pin for the first page, and one was added for each behind it.
        Some(run) => Found::Pinned(unsafe { PinnedRun::from_raw(run) }),
        None => {
            // SAFETY: The same pins, which nobody else knows.
            unsafe { bindings::unpin_user_folio(folio, pages.get() as usize) };
            Found::Otherwise(end)
        }
    }
}

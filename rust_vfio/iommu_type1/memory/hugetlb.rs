// SPDX-License-Identifier: GPL-2.0

//! Huge pages of hugetlbfs, pinned in one step, however large they are.
//!
//! Such a page is mapped as a whole or not at all: if one base page of it is at a user address,
//! so are its neighbours at those around it, as far as the area goes. So one base page is pinned
//! the usual way, which does all that may have to be done (filling the area, breaking up
//! copy-on-write, moving the page to where it may stay), and pins for the others are only counted.
//! The lock of the address space keeps the area one of hugetlbfs in between, and the first pin
//! keeps the page whole and allocated, even if it is taken out of the area meanwhile. None of this
//! holds for transparent huge pages, of which parts can be mapped.

use kernel::mm::{
    virt,
    MmWithUser, //
};

use crate::{
    iommu_type1::{
        logic::units::PageCount,
        memory::pin::PinnedRun, //
    },
    kernel::{
        mm,
        pages::{
            PinnedFrames,
            UserMm, //
        }, //
    }, //
};

/// What is at a user address.
pub(crate) enum Found {
    /// A huge page of hugetlbfs, or the rest of one.
    Pinned(PinnedRun),
    /// Memory of a device, for [`pfnmap`](super::pfnmap).
    Frames,
    /// Something else, up to this user address (exclusive), or nothing that is known.
    Otherwise(usize),
}

/// Pins the huge page at user address `vaddr`, from there on and at most `limit` base pages, for
/// devices that write if `write`. Takes the `mmap_lock` for reading.
pub(crate) fn pin(memory: UserMm<'_>, vaddr: usize, limit: PageCount, write: bool) -> Found {
    match memory {
        UserMm::Remote(mm) => pin_in(mm, vaddr, limit, write),
        UserMm::Current => match kernel::current!().mm() {
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
    let Some(mut frames) = PinnedFrames::pin_one(mm, &locked, vaddr, write) else {
        return Found::Otherwise(end);
    };
    // The pages behind this one are mapped behind it, as the area is one of hugetlbfs, so the user
    // may use them in the same way.
    let in_area = end.saturating_sub(vaddr) >> mm::SHIFT;
    let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    let wanted = frames.frames_in_folio().min(in_area).min(limit);
    // With one page, if it does not work.
    let _ = frames.extend_in_folio(wanted);
    match PinnedRun::of_pages(frames) {
        Ok(run) => Found::Pinned(run),
        Err(_) => Found::Otherwise(end),
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Pinning of huge pages of hugetlbfs, in one step whatever their size.
//!
//! Such a page is mapped as a whole: if one base page of it is at a user address, its neighbours
//! are at the addresses around it, up to the ends of the area. So one base page is pinned with
//! `pin_user_pages_remote()`, which does all that may be necessary (page fault, copy-on-write,
//! migration out of movable memory), and pins of the others are added to the counter of the folio.
//! Between the two the `mmap_lock` keeps the area one of hugetlbfs, and the first pin keeps the
//! folio allocated and whole even if it is removed from the area. None of this holds for
//! transparent huge pages, of which parts can be mapped.
//!
//! C has no counterpart: it pins huge pages base page by base page.

use kernel::mm::{
    virt,
    MmWithUser, //
};

use crate::{
    iommu_type1::{
        logic::{
            runs::FrameKind,
            units::PageCount, //
        },
        memory::pin::PinnedRun, //
    },
    kernel::{
        gup,
        mm,
        pages::{
            PinnedFrames,
            UserMm, //
        }, //
    }, //
};

/// The kind of memory that was found at a user address.
pub(crate) enum Found {
    /// A huge page of hugetlbfs, from the address on.
    Pinned {
        /// The page, which is pinned now.
        pinned: PinnedRun,
        /// The user address (exclusive) up to which [`pin_present`] may be asked for more.
        until: usize,
    },
    /// Memory without page structures (`VM_PFNMAP`), for [`pfnmap`](super::pfnmap).
    Frames,
    /// Neither of them.
    Otherwise {
        /// The user address (exclusive) up to which this is so.
        until: usize,
        /// Whether present pages can be pinned without another look at the area.
        suitable: bool,
    },
}

/// The result where no area is found, which is not looked for again.
const NOTHING_KNOWN: Found = Found::Otherwise {
    until: usize::MAX,
    suitable: false,
};

/// Looks at the area at the user address `vaddr`. In an area of hugetlbfs pins the huge page from
/// `vaddr` on, at most `limit` base pages, for writing if `write`.
///
/// Takes the `mmap_lock` for reading, and may sleep.
pub(crate) fn pin(memory: UserMm<'_>, vaddr: usize, limit: PageCount, write: bool) -> Found {
    match memory {
        UserMm::Remote(mm) => pin_in(mm, vaddr, limit, write),
        UserMm::Current => match kernel::current!().mm() {
            Some(mm) => pin_in(mm, vaddr, limit, write),
            None => NOTHING_KNOWN,
        },
    }
}

/// Does what [`pin`] does, for the address space `mm`.
fn pin_in(mm: &MmWithUser, vaddr: usize, limit: PageCount, write: bool) -> Found {
    let locked = mm.mmap_read_lock();
    // Addresses with tags, and stacks that have to grow, are left to `PinnedBatch::pin`.
    let Some(vma) = locked.vma_lookup(vaddr) else {
        return NOTHING_KNOWN;
    };
    let end = vma.end();
    if vma.flags() & virt::flags::PFNMAP != 0 {
        return Found::Frames;
    }
    let suitable = gup::is_suitable(vma, write);
    let otherwise = Found::Otherwise {
        until: end,
        suitable,
    };
    if vma.flags() & virt::flags::HUGETLB == 0 {
        return otherwise;
    }
    let Some(mut frames) = PinnedFrames::pin_one(mm, &locked, vaddr, write) else {
        return otherwise;
    };
    // The following pages of the folio are mapped at the following addresses, with the same
    // permissions, as the area is one of hugetlbfs.
    let in_area = end.saturating_sub(vaddr) >> mm::SHIFT;
    let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    // If that fails the one base page is returned.
    frames.extend_in_folio(in_area.min(limit));
    // The kernel reserves no huge page of hugetlbfs.
    match PinnedRun::new(frames, FrameKind::Pinned) {
        Ok(pinned) => Found::Pinned {
            pinned,
            until: if suitable { end } else { vaddr },
        },
        Err(_) => otherwise,
    }
}

/// Pins the huge page of hugetlbfs from the user address `vaddr` on, at most `limit` base pages,
/// for writing if `write`. Returns `None` if it is not present, or is something else.
///
/// `vaddr` must be in an area that [`pin`] has found to be one of hugetlbfs. This is many times as
/// fast, because in most cases it takes no lock. Should the area have been exchanged since, the
/// page shows it: one of hugetlbfs is mapped as a whole in every area.
pub(crate) fn pin_present(
    memory: UserMm<'_>,
    vaddr: usize,
    limit: PageCount,
    write: bool,
) -> Option<PinnedRun> {
    let UserMm::Current = memory else {
        return None;
    };
    let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    let frames = PinnedFrames::pin_present_huge(vaddr, limit, write)?;
    PinnedRun::new(frames, FrameKind::Pinned).ok()
}

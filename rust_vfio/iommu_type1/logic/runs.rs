// SPDX-License-Identifier: GPL-2.0

//! What a mapping remembers of the memory behind it: runs of consecutive page frames.
//!
//! A run is one 64-bit word. At worst every page is a run of its own and the list takes eight
//! bytes per page, as much as the last level of the IOMMU's own page table for the same range;
//! with huge pages it is next to nothing. That bounds the memory, so there is no second way to
//! find out what was mapped.
//!
//! The word holds 44 bits of frame number (physical addresses of 56 bits with 4 KiB pages), 18
//! bits of length and two bits that say who keeps the frames alive. A run therefore ends at the
//! latest after [`Run::MAX_PAGES`] (1 GiB of 4 KiB pages); whoever makes runs ends them where the
//! I/O address is a multiple of that size, which no IOMMU page of common hardware crosses.

use core::num::NonZeroU64;

use super::units::{
    Iova,
    PageCount,
    Pfn, //
};

const PFN_BITS: u32 = 44;
const COUNT_BITS: u32 = 18;
const COUNT_SHIFT: u32 = PFN_BITS;
const KIND_SHIFT: u32 = PFN_BITS + COUNT_BITS;

/// Who keeps the frames of a run from being reused, and whether the user pays for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Pinned by the mapping and charged to the user.
    Pinned = 1,
    /// Pinned by the mapping, but reserved by the kernel and so not charged: the zero page.
    Reserved = 2,
    /// Memory of a device, which is not the kernel's: neither pinned nor charged.
    Device = 3,
}

/// Consecutive page frames of one kind.
///
/// # Invariants
///
/// The word was put together by [`Run::new`]: its kind is that of a [`FrameKind`], which also makes
/// it non-zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run(NonZeroU64);

impl Run {
    /// The most pages that a run can have.
    pub const MAX_PAGES: u64 = 1 << COUNT_BITS;

    /// The run of `pages` frames from `first` on, if that can be expressed.
    pub fn new(first: Pfn, pages: PageCount, kind: FrameKind) -> Option<Self> {
        let last = pages.get().checked_sub(1)?;
        if last >> COUNT_BITS != 0 || first.get() >> PFN_BITS != 0 {
            return None;
        }
        let word = first.get() | last << COUNT_SHIFT | u64::from(kind as u8) << KIND_SHIFT;
        // INVARIANT: Put together here.
        NonZeroU64::new(word).map(Self)
    }

    /// The first frame.
    pub const fn first(self) -> Pfn {
        Pfn::new(self.0.get() & ((1 << PFN_BITS) - 1))
    }

    /// The number of frames, at least one.
    pub const fn pages(self) -> PageCount {
        PageCount::new((self.0.get() >> COUNT_SHIFT & ((1 << COUNT_BITS) - 1)) + 1)
    }

    /// Who keeps the frames.
    pub const fn kind(self) -> FrameKind {
        match self.0.get() >> KIND_SHIFT {
            2 => FrameKind::Reserved,
            3 => FrameKind::Device,
            _ => FrameKind::Pinned,
        }
    }

    /// The pages of the run that the user is charged for.
    pub const fn accounted(self) -> PageCount {
        match self.kind() {
            FrameKind::Pinned => self.pages(),
            FrameKind::Reserved | FrameKind::Device => PageCount::ZERO,
        }
    }

    /// This run with `next` appended, if the frames are consecutive and of one kind.
    pub fn joined(self, next: Self) -> Option<Self> {
        let follows = self.first().get() + self.pages().get() == next.first().get();
        if !follows || self.kind() != next.kind() {
            return None;
        }
        Self::new(self.first(), self.pages().plus(next.pages()), self.kind())
    }
}

/// How many pages a run may have that starts at `iova`: it ends at the next multiple of the
/// largest run.
pub fn room_at(iova: Iova, page_shift: u32) -> PageCount {
    let into = (iova.get() >> page_shift) & (Run::MAX_PAGES - 1);
    PageCount::new(Run::MAX_PAGES - into)
}

/// How many frames there are from `pfn` on in the page table entry that has it, which covers the
/// user addresses that are equal under `addr_mask`.
pub fn left_in_entry(pfn: Pfn, addr_mask: u64, page_shift: u32) -> PageCount {
    let behind = !addr_mask >> page_shift;
    PageCount::new(behind - (pfn.get() & behind)).plus(PageCount::new(1))
}

/// How many runs are unmapped, flushed and unpinned together at most.
pub const CHUNK_RUNS: usize = 512;

/// The first chunk of `runs`: as many as are unmapped with one flush, and their pages together.
///
/// A chunk ends after [`CHUNK_RUNS`] runs, or earlier when it has [`Run::MAX_PAGES`] pages, so
/// that the time it takes is bounded. It is empty only if `runs` is.
pub fn first_chunk(runs: &[Run]) -> (&[Run], PageCount) {
    let mut pages = PageCount::ZERO;
    let mut count = 0;
    for run in runs.iter().take(CHUNK_RUNS) {
        let sum = pages.plus(run.pages());
        if count != 0 && sum.get() > Run::MAX_PAGES {
            break;
        }
        pages = sum;
        count += 1;
    }
    (runs.get(..count).unwrap_or(runs), pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pfn: u64, pages: u64) -> Run {
        Run::new(Pfn::new(pfn), PageCount::new(pages), FrameKind::Pinned).unwrap()
    }

    #[test]
    fn a_run_is_what_it_was_made_of() {
        for pfn in [0, 1, (1 << 44) - 1] {
            for pages in [1, 2, Run::MAX_PAGES] {
                for backing in [FrameKind::Pinned, FrameKind::Reserved, FrameKind::Device] {
                    let run = Run::new(Pfn::new(pfn), PageCount::new(pages), backing).unwrap();
                    assert_eq!(run.first().get(), pfn);
                    assert_eq!(run.pages().get(), pages);
                    assert_eq!(run.kind(), backing);
                }
            }
        }
        let one = PageCount::new(1);
        assert_eq!(Run::new(Pfn::new(1 << 44), one, FrameKind::Pinned), None);
        assert_eq!(
            Run::new(Pfn::new(1), PageCount::ZERO, FrameKind::Pinned),
            None
        );
        let long = PageCount::new(Run::MAX_PAGES + 1);
        assert_eq!(Run::new(Pfn::new(1), long, FrameKind::Pinned), None);
    }

    #[test]
    fn only_consecutive_frames_of_one_kind_join() {
        assert_eq!(run(5, 3).joined(run(8, 2)), Some(run(5, 5)));
        assert_eq!(run(5, 3).joined(run(9, 2)), None);
        assert_eq!(run(5, 3).joined(run(4, 1)), None);
        let reserved = Run::new(Pfn::new(8), PageCount::new(1), FrameKind::Reserved).unwrap();
        assert_eq!(run(5, 3).joined(reserved), None);
        assert_eq!(
            run(0, Run::MAX_PAGES).joined(run(Run::MAX_PAGES, 1)),
            None,
            "a full run takes no more"
        );
    }

    #[test]
    fn runs_end_at_multiples_of_the_largest() {
        assert_eq!(room_at(Iova::new(0), 12).get(), Run::MAX_PAGES);
        assert_eq!(room_at(Iova::new(0x1000), 12).get(), Run::MAX_PAGES - 1);
        assert_eq!(room_at(Iova::new(0x3fff_f000), 12).get(), 1);
        assert_eq!(room_at(Iova::new(u64::MAX - 0xfff), 12).get(), 1);
    }

    #[test]
    fn an_entry_ends_where_its_frames_do() {
        let mask = |bytes: u64| !(bytes - 1);
        assert_eq!(left_in_entry(Pfn::new(7), mask(1 << 12), 12).get(), 1);
        assert_eq!(left_in_entry(Pfn::new(0x200), mask(1 << 21), 12).get(), 512);
        assert_eq!(left_in_entry(Pfn::new(0x3ff), mask(1 << 21), 12).get(), 1);
        assert_eq!(
            left_in_entry(Pfn::new(0x3ff), mask(1 << 30), 12).get(),
            (1 << 18) - 0x3ff
        );
    }

    #[test]
    fn chunks_are_bounded_both_ways() {
        assert_eq!(first_chunk(&[]).0.len(), 0);
        let small = [run(1, 1); 600];
        assert_eq!(first_chunk(&small).0.len(), CHUNK_RUNS);
        let large = [run(0, Run::MAX_PAGES); 3];
        assert_eq!(first_chunk(&large).0.len(), 1);
        let mixed = [run(0, 1), run(5, Run::MAX_PAGES), run(9, 1)];
        assert_eq!(first_chunk(&mixed).0.len(), 1);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Runs of consecutive page frames, which record the physical memory of a mapping.
//!
//! A run is one 64-bit word. At worst every page is a run of its own and the list takes eight bytes
//! per page, as much as the last level of the IOMMU's page table for the same range; with huge
//! pages it takes a few words per GiB.
//!
//! The word holds 44 bits of frame number (physical addresses of 56 bits with 4 KiB pages), 18
//! bits of length and two bits for the [`FrameKind`]. A run therefore has at most
//! [`Run::MAX_PAGES`] pages (1 GiB of 4 KiB pages). Runs also end where the I/O address is a
//! multiple of that size ([`room_at`]), which no page of common IOMMUs crosses.
//!
//! C has no counterpart: it asks the page table of a domain with `iommu_iova_to_phys()`.
//! [`first_chunk`] corresponds to the limit `VFIO_IOMMU_TLB_SYNC_MAX`.

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

/// The kind of page frames: whether they are pinned, and whether they are accounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Ordinary memory: pinned and accounted.
    Pinned = 1,
    /// Pages that the kernel reserves, such as the zero page: pinned, but not accounted.
    Reserved = 2,
    /// Memory of a device, which has no page structures: neither pinned nor accounted.
    Device = 3,
}

/// Consecutive page frames of one kind.
///
/// # Invariants
///
/// The two highest bits of the word are the number of a [`FrameKind`], so the word is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run(NonZeroU64);

impl Run {
    /// The largest number of pages of a run.
    pub const MAX_PAGES: u64 = 1 << COUNT_BITS;

    /// Returns the run of `pages` frames from `first` on, or `None` if a number is too large for
    /// its bits or `pages` is zero.
    pub fn new(first: Pfn, pages: PageCount, kind: FrameKind) -> Option<Self> {
        let last = pages.get().checked_sub(1)?;
        if last >> COUNT_BITS != 0 || first.get() >> PFN_BITS != 0 {
            return None;
        }
        let word = first.get() | last << COUNT_SHIFT | u64::from(kind as u8) << KIND_SHIFT;
        // INVARIANT: The two highest bits are those of `kind`; the other numbers were checked not
        // to reach into them.
        NonZeroU64::new(word).map(Self)
    }

    /// Returns the first frame.
    pub const fn first(self) -> Pfn {
        Pfn::new(self.0.get() & ((1 << PFN_BITS) - 1))
    }

    /// Returns the number of frames, at least one.
    pub const fn pages(self) -> PageCount {
        PageCount::new((self.0.get() >> COUNT_SHIFT & ((1 << COUNT_BITS) - 1)) + 1)
    }

    /// Returns the kind of all frames of the run.
    pub const fn kind(self) -> FrameKind {
        match self.0.get() >> KIND_SHIFT {
            2 => FrameKind::Reserved,
            3 => FrameKind::Device,
            _ => FrameKind::Pinned,
        }
    }

    /// Returns the number of pages of the run that are accounted: all or none.
    pub const fn accounted(self) -> PageCount {
        match self.kind() {
            FrameKind::Pinned => self.pages(),
            FrameKind::Reserved | FrameKind::Device => PageCount::ZERO,
        }
    }

    /// Returns this run with `next` appended, or `None` if the frames are not consecutive, not of
    /// one kind, or more than [`Run::MAX_PAGES`] together.
    pub fn joined(self, next: Self) -> Option<Self> {
        let follows = self.first().get() + self.pages().get() == next.first().get();
        if !follows || self.kind() != next.kind() {
            return None;
        }
        Self::new(self.first(), self.pages().plus(next.pages()), self.kind())
    }
}

/// Returns the largest number of pages of a run that starts at `iova`: it ends at the next multiple
/// of [`Run::MAX_PAGES`] pages.
pub fn room_at(iova: Iova, page_shift: u32) -> PageCount {
    let into = (iova.get() >> page_shift) & (Run::MAX_PAGES - 1);
    PageCount::new(Run::MAX_PAGES - into)
}

/// Returns the number of frames from `pfn` to the end of its page table entry, which covers the
/// user addresses that are equal under `addr_mask`.
pub fn left_in_entry(pfn: Pfn, addr_mask: u64, page_shift: u32) -> PageCount {
    let behind = !addr_mask >> page_shift;
    PageCount::new(behind - (pfn.get() & behind)).plus(PageCount::new(1))
}

/// The largest number of runs that are unmapped with one IOTLB flush.
pub const CHUNK_RUNS: usize = 512;

/// Returns the first chunk of `runs`, which are unmapped with one IOTLB flush, and the number of
/// their pages.
///
/// A chunk has at most [`CHUNK_RUNS`] runs and [`Run::MAX_PAGES`] pages, so that the time between
/// two points of rescheduling is bounded. It is empty only if `runs` is.
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

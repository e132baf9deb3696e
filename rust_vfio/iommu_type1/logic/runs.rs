// SPDX-License-Identifier: GPL-2.0

//! Runs of consecutive page frames, and the words that record the physical memory of a mapping.
//!
//! A [`Run`] is one 64-bit word. It holds 44 bits of frame number (physical addresses of 56 bits
//! with 4 KiB pages), 18 bits of length and two bits for the [`FrameKind`]. A run therefore has at
//! most [`Run::MAX_PAGES`] pages (1 GiB of 4 KiB pages). Runs also end where the I/O address is a
//! multiple of that size ([`room_at`]), which no page of common IOMMUs crosses.
//!
//! With huge pages the runs of a mapping are a few words per GiB, but at worst every page is a run
//! of its own. So a mapping is recorded as [`Extent`]s: an extent is a run, or a number of pages
//! whose frames are not recorded because they are scattered over the memory. The page tables of the
//! IOMMU have the frames of those pages. The rule of [`better_forgotten`] bounds the record to a
//! little more than a byte per page.
//!
//! C records nothing and always asks the page table of a domain with `iommu_iova_to_phys()`.
//! [`first_chunk`] corresponds to the limit `VFIO_IOMMU_TLB_SYNC_MAX`, which is 512 runs of any
//! size.

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

    /// Returns whether `next` begins with the frame behind this run.
    pub fn is_before(self, next: Self) -> bool {
        self.first().get() + self.pages().get() == next.first().get()
    }

    /// Returns this run with `next` appended, or `None` if the frames are not consecutive, not of
    /// one kind, or more than [`Run::MAX_PAGES`] together.
    pub fn joined(self, next: Self) -> Option<Self> {
        let is_one_kind = self.0.get() >> KIND_SHIFT == next.0.get() >> KIND_SHIFT;
        if !self.is_before(next) || !is_one_kind {
            return None;
        }
        let more = next.pages().get();
        if self.pages().get() + more > Self::MAX_PAGES {
            return None;
        }
        // INVARIANT: The sum of the pages was checked not to reach into the bits of the kind.
        self.0.checked_add(more << COUNT_SHIFT).map(Self)
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

/// Consecutive pages of a mapping, in one word.
///
/// # Invariants
///
/// The word is that of a [`Run`], or its two highest bits are zero and the rest is a number of
/// pages, which is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent(NonZeroU64);

/// The frames of the pages of an [`Extent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// They are consecutive.
    Consecutive(Run),
    /// They are so many frames of the kind [`FrameKind::Pinned`], which the page tables know.
    Scattered(PageCount),
}

impl From<Run> for Extent {
    fn from(run: Run) -> Self {
        // INVARIANT: The word is that of a run.
        Self(run.0)
    }
}

impl Extent {
    /// Returns an extent of `pages` scattered pages, or `None` if there are none or too many.
    pub fn scattered(pages: PageCount) -> Option<Self> {
        if pages.get() >> KIND_SHIFT != 0 {
            return None;
        }
        // INVARIANT: The two highest bits are zero, as was checked.
        NonZeroU64::new(pages.get()).map(Self)
    }

    /// Returns the frames.
    pub const fn frames(self) -> Frames {
        match self.0.get() >> KIND_SHIFT {
            0 => Frames::Scattered(PageCount::new(self.0.get())),
            // INVARIANT: By the type invariants the word is that of a run.
            _ => Frames::Consecutive(Run(self.0)),
        }
    }

    /// Returns the number of pages, at least one.
    pub const fn pages(self) -> PageCount {
        match self.frames() {
            Frames::Consecutive(run) => run.pages(),
            Frames::Scattered(pages) => pages,
        }
    }

    /// Returns the number of pages that are accounted: all or none.
    pub const fn accounted(self) -> PageCount {
        match self.frames() {
            Frames::Consecutive(run) => run.accounted(),
            Frames::Scattered(pages) => pages,
        }
    }
}

/// The number of extents that are judged together.
pub const WINDOW: usize = 64;

/// The smallest number of pages that runs must have on average to stay recorded. The record takes
/// eight bytes per run, so this bounds it to a byte per page.
const WORTH_RECORDING: u64 = 8;

/// Returns whether `runs` runs with `pages` pages together are so short that their frames are
/// better forgotten.
pub fn are_scattered(runs: u64, pages: PageCount) -> bool {
    pages.get() / WORTH_RECORDING < runs
}

/// Returns whether the runs in `extents` are so short that their frames are better forgotten.
/// Extents that are scattered already do not count.
fn is_scattered(extents: &[Extent]) -> bool {
    let runs = extents.iter().filter_map(|extent| match extent.frames() {
        Frames::Consecutive(run) => Some(run.pages()),
        Frames::Scattered(_) => None,
    });
    let (count, pages) = runs.fold((0u64, PageCount::ZERO), |(count, sum), pages| {
        (count + 1, sum.plus(pages))
    });
    are_scattered(count, pages)
}

/// Returns one extent for the pages of all `extents`, whose frames are forgotten. Returns `None` if
/// there are none, or if some pages are not of the kind [`FrameKind::Pinned`]: for those the page
/// tables do not tell whether they are pinned.
fn forget_frames(extents: &[Extent]) -> Option<Extent> {
    let pages = extents.iter().try_fold(PageCount::ZERO, |sum, extent| {
        let all_accounted = extent.accounted() == extent.pages();
        all_accounted.then(|| sum.plus(extent.pages()))
    });
    Extent::scattered(pages?)
}

/// Returns the number of the extent from which on the frames of `extents`, a list that is about to
/// grow, are better forgotten. Looks at the last [`WINDOW`] extents, and only when their number
/// has reached a multiple of that.
pub fn better_forgotten(extents: &[Extent]) -> Option<usize> {
    let first = extents.len().checked_sub(WINDOW)?;
    let scattered = extents.len() % WINDOW == 0 && is_scattered(extents.get(first..)?);
    scattered.then_some(first)
}

/// Forgets the frames of all `extents` from number `first` on. Returns the extent that replaces
/// them and its number, or `None` if there are none or if some of them cannot be forgotten.
///
/// Scattered pages before them become part of the same extent.
pub fn forget_from(extents: &[Extent], first: usize) -> Option<(usize, Extent)> {
    let is_forgotten = |index: &usize| {
        let before = extents.get(*index).map(|extent| extent.frames());
        matches!(before, Some(Frames::Scattered(_)))
    };
    let first = first.checked_sub(1).filter(is_forgotten).unwrap_or(first);
    Some((first, forget_frames(extents.get(first..)?)?))
}

/// Returns the number of runs at the beginning of `extents` that are unmapped with one IOTLB flush,
/// and the number of their pages.
///
/// A chunk has at most [`Run::MAX_PAGES`] pages, which bounds what stays pinned until the flush. It
/// is empty only if `extents` does not begin with a run.
pub fn first_chunk(extents: impl Iterator<Item = Extent>) -> (usize, PageCount) {
    let mut pages = PageCount::ZERO;
    let mut count = 0;
    for extent in extents {
        let Frames::Consecutive(run) = extent.frames() else {
            break;
        };
        let sum = pages.plus(run.pages());
        if count != 0 && sum.get() > Run::MAX_PAGES {
            break;
        }
        pages = sum;
        count += 1;
    }
    (count, pages)
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_VFIO_RUST_KUNIT_TEST,
    kernel::macros::kunit_tests(vfio_type1_runs)
)]
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
        // A full run takes no more.
        assert_eq!(run(0, Run::MAX_PAGES).joined(run(Run::MAX_PAGES, 1)), None);
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

    fn extent(pfn: u64, pages: u64) -> Extent {
        run(pfn, pages).into()
    }

    fn scattered(pages: u64) -> Extent {
        Extent::scattered(PageCount::new(pages)).unwrap()
    }

    #[test]
    fn chunks_are_bounded_by_their_pages() {
        let chunk = |extents: &[Extent]| {
            let (count, pages) = first_chunk(extents.iter().copied());
            (count, pages.get())
        };
        assert_eq!(chunk(&[]), (0, 0));
        assert_eq!(chunk(&[extent(1, 1); 600]), (600, 600));
        assert_eq!(chunk(&[extent(0, Run::MAX_PAGES); 3]), (1, Run::MAX_PAGES));
        let mixed = [extent(0, 1), extent(5, Run::MAX_PAGES), extent(9, 1)];
        assert_eq!(chunk(&mixed), (1, 1));
        let full = [extent(0, 1), extent(5, Run::MAX_PAGES - 1), extent(9, 1)];
        assert_eq!(chunk(&full), (2, Run::MAX_PAGES));
        let forgotten = [extent(0, 1), extent(5, 1), scattered(7), extent(9, 1)];
        assert_eq!(chunk(&forgotten), (2, 2));
        assert_eq!(chunk(&forgotten[2..]), (0, 0));
    }

    #[test]
    fn an_extent_is_what_it_was_made_of() {
        for kind in [FrameKind::Pinned, FrameKind::Reserved, FrameKind::Device] {
            let run = Run::new(Pfn::new(0), PageCount::new(9), kind).unwrap();
            let extent = Extent::from(run);
            assert_eq!(extent.frames(), Frames::Consecutive(run));
            assert_eq!(extent.pages(), PageCount::new(9));
            assert_eq!(extent.accounted(), run.accounted());
        }
        for pages in [1, Run::MAX_PAGES, (1 << 62) - 1].map(PageCount::new) {
            let extent = Extent::scattered(pages).unwrap();
            assert_eq!(extent.frames(), Frames::Scattered(pages));
            assert_eq!((extent.pages(), extent.accounted()), (pages, pages));
        }
        assert_eq!(Extent::scattered(PageCount::ZERO), None);
        assert_eq!(Extent::scattered(PageCount::new(1 << 62)), None);
    }

    #[test]
    fn only_short_runs_of_ordinary_memory_are_forgotten() {
        assert!(is_scattered(&[extent(1, 1); WINDOW]));
        assert!(is_scattered(&[extent(1, 7), extent(20, 8)]));
        assert!(!is_scattered(&[extent(1, 8); WINDOW]));
        assert!(!is_scattered(&[extent(1, 1), extent(20, 512)]));
        // What is forgotten does not count.
        assert!(is_scattered(&[scattered(1 << 30), extent(20, 7)]));
        assert!(!is_scattered(&[scattered(3)]) && !is_scattered(&[]));

        assert_eq!(
            forget_frames(&[scattered(5), extent(20, 7)]),
            Some(scattered(12))
        );
        assert_eq!(forget_frames(&[]), None);
        for kind in [FrameKind::Reserved, FrameKind::Device] {
            let other = Run::new(Pfn::new(8), PageCount::new(1), kind).unwrap();
            assert_eq!(forget_frames(&[extent(1, 1), other.into()]), None);
        }
    }

    #[test]
    fn a_list_is_judged_when_a_window_is_full() {
        let short = [extent(1, 1); 2 * WINDOW];
        for len in 0..=short.len() {
            let expected = match len {
                WINDOW => Some(0),
                len if len == 2 * WINDOW => Some(WINDOW),
                _ => None,
            };
            assert_eq!(better_forgotten(&short[..len]), expected);
        }
        // Only the last window counts.
        let mut list = [extent(0, 8); 2 * WINDOW];
        assert_eq!(better_forgotten(&list), None);
        list[WINDOW..].fill(extent(1, 1));
        assert_eq!(better_forgotten(&list), Some(WINDOW));
        list[..WINDOW].fill(extent(1, 1));
        list[WINDOW..].fill(extent(0, 8));
        assert_eq!(better_forgotten(&list), None);
    }

    #[test]
    fn what_is_forgotten_is_one_extent() {
        let list = [extent(1, 9), scattered(5), extent(20, 7), extent(40, 1)];
        assert_eq!(forget_from(&list, 2), Some((1, scattered(13))));
        assert_eq!(forget_from(&list, 3), Some((3, scattered(1))));
        assert_eq!(forget_from(&list, 0), Some((0, scattered(22))));
        assert_eq!(forget_from(&list, 4), None);
        assert_eq!(forget_from(&list, 9), None);
        let device = Run::new(Pfn::new(8), PageCount::new(1), FrameKind::Device).unwrap();
        assert_eq!(forget_from(&[extent(1, 1), device.into()], 0), None);
    }
}

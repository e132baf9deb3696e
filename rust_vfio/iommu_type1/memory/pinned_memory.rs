// SPDX-License-Identifier: GPL-2.0

//! The pinned memory of a mapping, which devices can access.
//!
//! [`PinnedMemory`] owns the pins of all pages of a mapping. It records their frames as
//! [`Extent`]s, so that pages can be unpinned without looking them up. Where the pages are
//! scattered over the memory this would take more memory than it is worth: their frames are
//! forgotten, and looked up in the page table of a domain when they are needed, as C does for all
//! pages.
//!
//! The record grows in pieces of at most a page and is never copied as a whole. If there is no
//! memory for more of it frames are forgotten, so that a mapping does not fail for that reason.
//!
//! Corresponds to `vfio_unmap_unpin()`, `vfio_sync_unpin()` and `vfio_unpin_pages_remote()`.

use core::mem;

use kernel::{
    prelude::*,
    warn_on, //
};

use crate::{
    iommu_type1::{
        logic::{
            runs::{
                better_forgotten,
                first_chunk,
                forget_from,
                room_at,
                Extent,
                FrameKind,
                Frames,
                Run,
                WINDOW, //
            },
            units::{
                Iova,
                IovaRange,
                PageCount,
                Pfn, //
            }, //
        },
        memory::pin::PinnedRun, //
    },
    kernel::{
        mm::{
            self,
            cond_resched, //
        },
        pages::{
            PageBuffer,
            PinnedBatch,
            SmallPageBuffer, //
        }, //
    }, //
};

/// The page tables in which the memory of a mapping is mapped for devices: those of all domains of
/// a container.
pub(crate) trait PageTables {
    /// Returns the frame that is mapped at `iova`, or `None` if there is none.
    fn frame_at(&self, iova: Iova) -> Option<Pfn>;

    /// Unmaps `range`, all of which is mapped. Returns whether no device can access it any more.
    fn unmap(&self, range: IovaRange) -> bool;
}

/// All pinned memory of a mapping, in the order of its I/O addresses.
///
/// A single extent is stored in place, without an allocation: small mappings, and those that
/// consist of one huge page, have only one.
///
/// # Invariants
///
/// This value owns one pin of each page of each run whose kind is not [`FrameKind::Device`], and of
/// each page that is mapped at the addresses of scattered pages. Devices may access the pages until
/// [`PinnedMemory::release`] has made them inaccessible.
pub(crate) struct PinnedMemory(Repr);

/// The representation of a list of extents.
enum Repr {
    Nothing,
    One(Extent),
    Many(KBox<List>),
}

/// A list of extents in pieces.
struct List {
    /// Pieces of [`List::PIECE`] extents.
    full: KVVec<KVVec<Extent>>,
    /// The last piece, which has fewer extents.
    last: KVVec<Extent>,
}

impl List {
    /// The number of extents that fit into a page.
    const PIECE: usize = mm::PAGE_SIZE / mem::size_of::<Extent>();

    /// Makes room for one more extent. Forgets the frames of the last ones instead, if they are
    /// [`better_forgotten`].
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory. The list has not changed then.
    fn reserve(&mut self) -> Result {
        let len = self.last.len();
        if len % WINDOW != 0 && len < self.last.capacity() {
            return Ok(());
        }
        if better_forgotten(&self.last).is_some_and(|first| self.forget_from(first)) {
            return Ok(());
        }
        if len == Self::PIECE {
            self.full.reserve(1, GFP_KERNEL_ACCOUNT)?;
            let next = KVVec::with_capacity(WINDOW, GFP_KERNEL_ACCOUNT)?;
            let full = mem::replace(&mut self.last, next);
            // This does not fail, as room was reserved above.
            return Ok(self.full.push(full, GFP_KERNEL_ACCOUNT)?);
        }
        Ok(self.last.reserve(1, GFP_KERNEL_ACCOUNT)?)
    }

    /// Forgets the frames of the extents of the last piece from number `first` on. Returns whether
    /// that was possible.
    fn forget_from(&mut self, first: usize) -> bool {
        let forgotten = forget_from(&self.last, first);
        let Some((index, extent)) = forgotten else {
            return false;
        };
        // There is one at this index, so its place is free.
        self.last.truncate(index);
        self.last.push_within_capacity(extent).is_ok()
    }

    /// Returns the pieces in order.
    fn pieces(&self) -> impl Iterator<Item = &[Extent]> + Clone {
        let full = self.full.iter().map(|piece| piece.as_slice());
        Iterator::chain(full, core::iter::once(self.last.as_slice()))
    }
}

impl PinnedMemory {
    /// No pinned memory.
    pub(crate) const NOTHING: Self = Self(Repr::Nothing);

    /// Returns whether there is no memory.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Repr::Nothing)
    }

    /// Makes room for one more run. The runs that are there must be mapped for devices.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory, and frames cannot be forgotten because some of the last runs
    /// are memory of a device or reserved pages.
    pub(crate) fn reserve(&mut self) -> Result {
        match &mut self.0 {
            Repr::Nothing => Ok(()),
            Repr::One(extent) => {
                // INVARIANT: The list has the same extent as before.
                self.0 = Repr::Many(Self::list_of(*extent)?);
                Ok(())
            }
            Repr::Many(list) => list.reserve().or_else(|error| {
                if list.forget_from(0) {
                    Ok(())
                } else {
                    Err(error)
                }
            }),
        }
    }

    /// Creates a list of one extent that has room for another.
    fn list_of(extent: Extent) -> Result<KBox<List>> {
        let mut list = List {
            full: KVVec::new(),
            last: KVVec::with_capacity(4, GFP_KERNEL_ACCOUNT)?,
        };
        list.last.push(extent, GFP_KERNEL_ACCOUNT)?;
        Ok(KBox::new(list, GFP_KERNEL_ACCOUNT)?)
    }

    /// Appends `pinned`, which is mapped for devices, and takes over its pins.
    /// [`PinnedMemory::reserve`] must have been called before.
    pub(crate) fn push(&mut self, pinned: PinnedRun) {
        let Some(run) = pinned.into_run() else {
            return;
        };
        // INVARIANT: The pins of the run, which `pinned` owned, belong to this list.
        self.append(run.into());
    }

    /// Appends the pages of `runs`, which are mapped for devices, and takes over their pins. There
    /// are `pages` of them, all of the kind [`FrameKind::Pinned`]. Their frames are not recorded.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory. `runs` has not changed then.
    pub(crate) fn push_scattered(
        &mut self,
        runs: &mut KVec<PinnedRun>,
        pages: PageCount,
    ) -> Result {
        let last = match &mut self.0 {
            Repr::Nothing => None,
            Repr::One(extent) => Some(extent),
            Repr::Many(list) => list.last.last_mut(),
        };
        let before = match last.as_ref().map(|extent| extent.frames()) {
            Some(Frames::Scattered(before)) => before,
            _ => PageCount::ZERO,
        };
        let all = Extent::scattered(before.plus(pages)).ok_or(ENOMEM)?;
        match last {
            // INVARIANT: The pins of the runs, which `runs` owned, belong to this list.
            Some(last) if !before.is_zero() => *last = all,
            _ => {
                self.reserve()?;
                // INVARIANT: As above.
                self.append(all);
            }
        }
        for pinned in runs.drain_all() {
            let _ = pinned.into_run();
        }
        Ok(())
    }

    /// Appends `extent`. [`PinnedMemory::reserve`] must have been called before.
    fn append(&mut self, extent: Extent) {
        let taken = match &mut self.0 {
            Repr::Nothing => {
                self.0 = Repr::One(extent);
                true
            }
            Repr::One(_) => false,
            Repr::Many(list) => list.last.push_within_capacity(extent).is_ok(),
        };
        // If there is no room the pages stay pinned for ever, as devices may access them.
        warn_on!(!taken);
    }

    /// Frees the memory that the list does not need. Called when it is complete.
    pub(crate) fn trim(&mut self) {
        if let Repr::Many(list) = &mut self.0 {
            // If this fails the list only takes more memory.
            let _ = list.last.shrink_to(0, GFP_KERNEL_ACCOUNT);
        }
    }

    /// Calls `f` with each run and its I/O address, in order. The memory is mapped in `tables` from
    /// `first` on.
    ///
    /// # Errors
    ///
    /// - Any errno of `f`, which ends the iteration.
    /// - `EFAULT` if a page is not mapped, which is a fault of the IOMMU driver. The kernel warns.
    pub(crate) fn try_for_each_run(
        &self,
        first: Iova,
        tables: &impl PageTables,
        mut f: impl FnMut(Iova, Run) -> Result,
    ) -> Result {
        let mut at = first;
        for extent in self.0.pieces().flatten() {
            match extent.frames() {
                Frames::Consecutive(run) => f(at, run)?,
                Frames::Scattered(pages) => {
                    let mut walk = FrameWalk::new(at, pages);
                    while let Some((iova, run)) = walk.next_run(tables)? {
                        f(iova, run)?;
                    }
                }
            }
            at = at.behind(extent.pages(), mm::SHIFT);
        }
        Ok(())
    }

    /// Unmaps all pages from `tables`, where they are mapped from `first` on, unpins them, and
    /// marks them dirty if devices may have `written` to them. Leaves the list empty. May sleep.
    ///
    /// Many pages are unmapped at once and then unpinned. If pages cannot be unmapped they stay
    /// pinned for ever. Returns how many of these are accounted.
    pub(crate) fn release(
        &mut self,
        first: Iova,
        written: bool,
        tables: &impl PageTables,
        buffer: &mut PageBuffer,
    ) -> PageCount {
        let mut release = Release {
            at: first,
            written,
            tables,
            buffer,
            lost: PageCount::ZERO,
        };
        // INVARIANT: The list is empty, and `release` takes over the pins of each extent once.
        match mem::replace(&mut self.0, Repr::Nothing) {
            Repr::Nothing => (),
            Repr::One(extent) => match extent.frames() {
                Frames::Consecutive(run) => {
                    let gone = release.unmap(run.pages());
                    release.unpin(run, gone);
                }
                Frames::Scattered(pages) => release.scattered(pages),
            },
            Repr::Many(list) => release.list(&list),
        }
        release.lost
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        // `release` must have been called. If not, devices may still access the pages, so they stay
        // pinned.
        warn_on!(!self.is_empty());
    }
}

impl Repr {
    /// Returns the extents in order, in pieces.
    fn pieces(&self) -> impl Iterator<Item = &[Extent]> {
        let (one, list) = match self {
            Self::Nothing => (None, None),
            Self::One(extent) => (Some(core::slice::from_ref(extent)), None),
            Self::Many(list) => (None, Some(list.pieces())),
        };
        Iterator::chain(one.into_iter(), list.into_iter().flatten())
    }
}

/// The release of the memory of a mapping, extent by extent.
struct Release<'a, T> {
    /// The I/O address of the next extent.
    at: Iova,
    /// Whether devices may have written to the pages.
    written: bool,
    tables: &'a T,
    buffer: &'a mut PageBuffer,
    /// The number of accounted pages that stay pinned.
    lost: PageCount,
}

impl<T: PageTables> Release<'_, T> {
    /// Unmaps the next `pages` pages. Returns whether no device can access them any more.
    fn unmap(&mut self, pages: PageCount) -> bool {
        let gone = match IovaRange::with_len(self.at, pages.bytes(mm::SHIFT)) {
            Ok(range) => self.tables.unmap(range),
            Err(_) => false,
        };
        self.at = self.at.behind(pages, mm::SHIFT);
        cond_resched();
        gone
    }

    /// Unpins `run`, whose pins the caller has given up, if devices cannot access it any more
    /// (`gone`).
    fn unpin(&mut self, run: Run, gone: bool) {
        if gone {
            // SAFETY: `PinnedMemory::push` or `push_scattered` took the pins of all pages of the
            // run from `into_run`, and the caller has given them up.
            unsafe { PinnedRun::from_run(run) }.unpin(self.written);
        } else {
            self.lost = self.lost.plus(run.accounted());
        }
    }

    /// Releases the extents of `list`, whose pins the caller has given up.
    #[inline(never)] // Most mappings have one extent.
    fn list(&mut self, list: &List) {
        let mut extents = list.pieces().flatten().copied();
        while let Some(extent) = extents.clone().next() {
            let (count, pages) = first_chunk(extents.clone());
            if count == 0 {
                self.scattered(extent.pages());
                extents.next();
                continue;
            }
            let gone = self.unmap(pages);
            for extent in extents.by_ref().take(count) {
                if let Frames::Consecutive(run) = extent.frames() {
                    self.unpin(run, gone);
                }
                cond_resched();
            }
        }
    }

    /// Releases `pages` scattered pages, whose pins the caller has given up.
    ///
    /// Many pages are unmapped at once, but never a part of consecutive frames: the IOMMU may map
    /// these by one entry, which it can only remove as a whole.
    #[inline(never)] // Most mappings have none, and the array takes much of the stack.
    fn scattered(&mut self, pages: PageCount) {
        let mut left = pages;
        while !left.is_zero() {
            let mut small = SmallPageBuffer::new();
            let count = usize::try_from(left.get()).unwrap_or(usize::MAX);
            let (mut next, tables) = (self.at, self.tables);
            let mut frames = core::iter::from_fn(|| {
                let frame = tables.frame_at(next)?;
                next = next.behind(PageCount::new(1), mm::SHIFT);
                usize::try_from(frame.get()).ok()
            });
            // SAFETY: The caller has given up the ownership of the pins of all these pages, and
            // each is looked up once, as `unmap` moves on below; or once more if it is given up
            // again.
            let mut batch =
                unsafe { PinnedBatch::from_frames(&mut frames, count, self.buffer, &mut small) };
            if batch.len() < count {
                if let Some(next) = frames.next() {
                    batch.keep_run_before(next);
                }
            }
            // CAST: A `usize` fits into an `u64`.
            let whole = PageCount::new(batch.len() as u64);
            if whole.is_zero() {
                // The buffer has no room for the run there.
                batch.keep();
                left = left.minus(self.first_run(left));
                continue;
            }
            left = left.minus(whole);
            // The batch borrows the buffer, so this is not `self.unmap()`.
            let range = IovaRange::with_len(self.at, whole.bytes(mm::SHIFT));
            self.at = self.at.behind(whole, mm::SHIFT);
            if range.is_ok_and(|range| tables.unmap(range)) {
                batch.unpin(self.written);
            } else {
                self.lost = self.lost.plus(whole);
                batch.keep();
            }
            cond_resched();
        }
    }

    /// Releases the run at the beginning of `left` scattered pages, whose pins the caller has given
    /// up. Returns the number of its pages; all of `left` if a page is not mapped, since nobody
    /// knows the frames any more.
    fn first_run(&mut self, left: PageCount) -> PageCount {
        match FrameWalk::new(self.at, left).next_run(self.tables) {
            Ok(Some((_, run))) => {
                let gone = self.unmap(run.pages());
                self.unpin(run, gone);
                run.pages()
            }
            _ => {
                self.unmap(left);
                self.lost = self.lost.plus(left);
                left
            }
        }
    }
}

/// An iteration over scattered pages that joins frames which happen to be consecutive.
struct FrameWalk {
    /// The address of the next page.
    at: Iova,
    /// The number of pages from there on.
    left: PageCount,
    /// The frame there, if it was looked up.
    frame: Option<Pfn>,
}

impl FrameWalk {
    /// Creates an iteration over `pages` pages from `at` on.
    fn new(at: Iova, pages: PageCount) -> Self {
        Self {
            at,
            left: pages,
            frame: None,
        }
    }

    /// Returns the next run and its address, or `None` at the end.
    ///
    /// # Errors
    ///
    /// `EFAULT` if a page is not mapped in `tables`. The kernel warns.
    fn next_run(&mut self, tables: &impl PageTables) -> Result<Option<(Iova, Run)>> {
        let first = self.at;
        let room = room_at(first, mm::SHIFT);
        let mut run: Option<Run> = None;
        while !self.left.is_zero() {
            if self.left.get() % 512 == 0 {
                cond_resched();
            }
            let frame = self.frame.take().or_else(|| tables.frame_at(self.at));
            let page =
                frame.and_then(|frame| Run::new(frame, PageCount::new(1), FrameKind::Pinned));
            if warn_on!(page.is_none()) {
                return Err(EFAULT);
            }
            let joined = match (run, page) {
                (None, page) => page,
                (Some(run), Some(page)) if run.pages() < room => run.joined(page),
                _ => None,
            };
            if joined.is_none() {
                self.frame = frame;
                break;
            }
            run = joined;
            self.at = self.at.behind(PageCount::new(1), mm::SHIFT);
            self.left = self.left.minus(PageCount::new(1));
        }
        Ok(run.map(|run| (first, run)))
    }
}

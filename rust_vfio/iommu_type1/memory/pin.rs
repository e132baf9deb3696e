// SPDX-License-Identifier: GPL-2.0

//! Runs of page frames, and who owns the pins of their pages.
//!
//! Two owners follow those of [`kernel::pages`](crate::kernel::pages):
//!
//! * [`PinnedRun`]: consecutive frames of one kind, not mapped yet;
//! * [`PinnedRuns`]: all frames of a mapping, which devices can reach.
//!
//! The first unpins what it owns when it is dropped. The second cannot: before its pages are let
//! go, no device may reach them any more. [`PinnedRuns::release`] does it in this order.

use core::mem;

use kernel::{
    prelude::*,
    warn_on, //
};

use crate::{
    iommu_type1::{
        logic::{
            runs::{
                first_chunk,
                FrameKind,
                Run, //
            },
            units::{
                PageCount,
                Pfn, //
            }, //
        },
        memory::pfnmap::{
            self,
            DeviceRun, //
        }, //
    },
    kernel::pages::{
        page_of,
        PageBuffer,
        PageRef,
        PinnedBatch,
        PinnedFrames,
        SmallPageBuffer,
        UserMm, //
    }, //
};

/// Pins the page at user address `vaddr`, for devices that write if `write`.
///
/// Memory of a device is accepted too; it has nothing that could be pinned.
///
/// # Errors
///
/// As [`PinnedBatch::pin`] and [`pfnmap::frames`].
pub(crate) fn pin_page(memory: UserMm<'_>, vaddr: usize, write: bool) -> Result<PinnedRun> {
    let (mut large, mut small) = (PageBuffer::new(), SmallPageBuffer::new());
    let pinned = PinnedBatch::pin(memory, vaddr, 1, write, &mut large, &mut small);
    let error = match pinned {
        Ok(mut batch) => return PinnedRun::of_pages(batch.take_frames(1).ok_or(EFAULT)?),
        Err(error) => error,
    };
    pfnmap::frames(memory, vaddr, PageCount::new(1), write)?
        .map(PinnedRun::of_device)
        .ok_or(error)
}

/// A run that no device can reach on account of this value. Dropping it unpins it.
///
/// # Invariants
///
/// Unless it was taken out, this value owns one pin of each page of the run, if the run is of a
/// kind that is pinned.
pub(crate) struct PinnedRun(Option<Run>);

impl PinnedRun {
    /// Takes over the pins of `frames`, all of which are of the kind of the first one: those of one
    /// batch up to the next reserved page, or of one folio.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the frame number cannot be expressed (see [`Run`]).
    #[inline]
    pub(crate) fn of_pages(frames: PinnedFrames) -> Result<Self> {
        let kind = if frames.is_reserved() {
            FrameKind::Reserved
        } else {
            FrameKind::Pinned
        };
        let first = Pfn::new(frames.pfn() as u64);
        let run = Run::new(first, PageCount::new(frames.count() as u64), kind).ok_or(EFAULT)?;
        // INVARIANT: The pins are kept for the new value.
        let _ = frames.into_raw();
        Ok(Self(Some(run)))
    }

    /// Memory of a device.
    pub(crate) fn of_device(run: DeviceRun) -> Self {
        // INVARIANT: Not of a kind that is pinned.
        Self(Some(run.get()))
    }

    /// The frames.
    pub(crate) fn run(&self) -> Option<Run> {
        self.0
    }

    /// Appends `next` if both are consecutive, of one kind, and together not longer than `limit`.
    /// Otherwise hands it back.
    pub(crate) fn join(&mut self, mut next: Self, limit: PageCount) -> Result<(), Self> {
        if let (Some(run), Some(other)) = (self.0, next.0) {
            if let Some(joined) = run.joined(other).filter(|run| run.pages() <= limit) {
                // INVARIANT: The pins of `next` change hands.
                next.0 = None;
                self.0 = Some(joined);
                return Ok(());
            }
        }
        Err(next)
    }
}

impl PinnedRun {
    /// Unpins the run, whose pages may have been `written`. Whoever used them on account of this
    /// value is done.
    #[inline]
    pub(crate) fn unpin(mut self, written: bool) {
        self.give_up(written);
    }

    fn give_up(&mut self, written: bool) {
        let Some(run) = self.0.take() else {
            return;
        };
        let dirty = match run.kind() {
            FrameKind::Pinned => written,
            // Nobody would write the contents back.
            FrameKind::Reserved => false,
            FrameKind::Device => return,
        };
        // CAST: Both came from such numbers, or are not larger than `Run::MAX_PAGES`.
        let (pfn, pages) = (run.first().get() as usize, run.pages().get() as usize);
        // SAFETY: The pins came from `PinnedRun::of_pages`. By the type invariants this value owned
        // them, and it has given them up above.
        unsafe { PinnedFrames::from_raw(pfn, pages) }.unpin(dirty);
    }

    /// Returns the page structure of the first frame, if it has one.
    pub(crate) fn first_page(&self) -> Option<PageRef> {
        // CAST: Frame numbers are native words.
        page_of(self.0?.first().get() as usize)
    }
}

impl Drop for PinnedRun {
    fn drop(&mut self) {
        // No device has seen the pages.
        self.give_up(false);
    }
}

/// All pinned memory of a mapping, in the order of its I/O addresses.
///
/// It starts as [`PinnedRuns::NOTHING`]: no page is pinned. One run needs no memory of its own,
/// which covers small mappings and those that consist of a huge page.
///
/// # Invariants
///
/// This value owns one pin of each page of each run. Devices may reach them.
pub(crate) struct PinnedRuns(Repr);

enum Repr {
    Nothing,
    One(Run),
    Many(KBox<KVVec<Run>>),
}

impl PinnedRuns {
    /// No pinned memory.
    pub(crate) const NOTHING: Self = Self(Repr::Nothing);

    /// Whether there is no pinned memory.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Repr::Nothing)
    }

    /// The runs.
    pub(crate) fn as_slice(&self) -> &[Run] {
        match &self.0 {
            Repr::Nothing => &[],
            Repr::One(run) => core::slice::from_ref(run),
            Repr::Many(runs) => runs,
        }
    }

    /// Makes room for one more run.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reserve(&mut self) -> Result {
        match &mut self.0 {
            Repr::Nothing => Ok(()),
            Repr::One(run) => {
                let mut runs = KVVec::with_capacity(4, GFP_KERNEL_ACCOUNT)?;
                runs.push(*run, GFP_KERNEL_ACCOUNT)?;
                // INVARIANT: The same run in another place.
                self.0 = Repr::Many(KBox::new(runs, GFP_KERNEL_ACCOUNT)?);
                Ok(())
            }
            Repr::Many(runs) => Ok(runs.reserve(1, GFP_KERNEL_ACCOUNT)?),
        }
    }

    /// Takes the pins of `pinned` over, for which [`PinnedRuns::reserve`] made room.
    pub(crate) fn push(&mut self, mut pinned: PinnedRun) {
        let Some(run) = pinned.0 else {
            return;
        };
        let taken = match &mut self.0 {
            Repr::Nothing => {
                self.0 = Repr::One(run);
                true
            }
            Repr::One(_) => false,
            Repr::Many(runs) => runs.push_within_capacity(run).is_ok(),
        };
        if taken {
            // INVARIANT: The pins change hands.
            pinned.0 = None;
        } else {
            // Devices may reach the pages, so they stay pinned for ever.
            warn_on!(true);
            mem::forget(pinned);
        }
    }

    /// Gives room back that [`PinnedRuns::reserve`] made in advance, when no more runs come.
    pub(crate) fn trim(&mut self) {
        if let Repr::Many(runs) = &mut self.0 {
            // The list is complete either way.
            let _ = runs.shrink_to(0, GFP_KERNEL_ACCOUNT);
        }
    }

    /// Unpins everything, chunk by chunk, and marks the pages dirty if devices may have `written`
    /// to them.
    ///
    /// `unreachable` is called with each chunk, in order, and with the pages in it. It makes sure
    /// that no device reaches them any more and says whether that worked. Pages for which it did
    /// not stay pinned for ever; their number is returned, of those that the user pays for.
    pub(crate) fn release(
        &mut self,
        written: bool,
        mut unreachable: impl FnMut(PageCount) -> bool,
    ) -> PageCount {
        // INVARIANT: The pins are now owned by `runs` below.
        let repr = mem::replace(&mut self.0, Repr::Nothing);
        let mut runs = match &repr {
            Repr::Nothing => &[],
            Repr::One(run) => core::slice::from_ref(run),
            Repr::Many(runs) => runs.as_slice(),
        };
        let mut lost = PageCount::ZERO;
        while !runs.is_empty() {
            let (chunk, pages) = first_chunk(runs);
            if unreachable(pages) {
                for run in chunk {
                    // INVARIANT: The pins change hands, as no device reaches the pages any more.
                    PinnedRun(Some(*run)).unpin(written);
                }
            } else {
                lost = chunk
                    .iter()
                    .fold(lost, |sum, run| sum.plus(run.accounted()));
            }
            runs = runs.get(chunk.len()..).unwrap_or_default();
        }
        lost
    }
}

impl Drop for PinnedRuns {
    fn drop(&mut self) {
        // Whoever has pinned memory must release it first; keeping it pinned is the safe mistake.
        warn_on!(!self.is_empty());
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Owners of pinned pages, as runs of page frames.
//!
//! A pin that comes from [`kernel::pages`](crate::kernel::pages) goes to one of these owners:
//!
//! * [`PinnedRun`]: consecutive frames of one kind that are not mapped for a device yet, or that
//!   drivers of emulated devices use. Dropping it unpins the pages.
//! * [`PinnedRuns`]: all frames of a mapping, which devices can access. [`PinnedRuns::release`]
//!   makes them inaccessible and unpins them, in this order. It must be called before the drop.
//!
//! Corresponds to `put_pfn()` and `vfio_unpin_pages_remote()`.

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

/// Pins the base page at the user address `vaddr`, a multiple of the page size, for writing if
/// `write`.
///
/// Takes the `mmap_lock` for reading, and may sleep. The result can also be memory of a device,
/// which is not pinned. Corresponds to the call of `vaddr_get_pfns()` in
/// `vfio_pin_page_external()`.
///
/// # Errors
///
/// If the page is memory of a device the errors are those of [`pfnmap::frames`], otherwise those of
/// [`PinnedBatch::pin`].
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

/// A run of pages that this value keeps pinned. Dropping it unpins them.
///
/// # Invariants
///
/// If the value is `Some` and the kind of the run is not [`FrameKind::Device`], this value owns one
/// pin of each page of the run.
pub(crate) struct PinnedRun(Option<Run>);

impl PinnedRun {
    /// Takes over the pins of `frames`. Their kind is determined by the first one.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the frame number or the number of frames does not fit into a [`Run`]. The frames
    /// are unpinned then.
    #[inline]
    pub(crate) fn of_pages(frames: PinnedFrames) -> Result<Self> {
        let kind = if frames.is_reserved() {
            FrameKind::Reserved
        } else {
            FrameKind::Pinned
        };
        Self::new(frames, kind)
    }

    /// Takes over the pins of `frames`, all of which are of the kind `kind`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the frame number or the number of frames does not fit into a [`Run`]. The frames
    /// are unpinned then.
    #[inline]
    pub(crate) fn new(frames: PinnedFrames, kind: FrameKind) -> Result<Self> {
        let first = Pfn::new(frames.pfn() as u64);
        let run = Run::new(first, PageCount::new(frames.count() as u64), kind).ok_or(EFAULT)?;
        // INVARIANT: `into_raw` gives up the pins of `frames`, so the new value owns them.
        let _ = frames.into_raw();
        Ok(Self(Some(run)))
    }

    /// Creates a run of memory of a device, which is not pinned.
    pub(crate) fn of_device(run: DeviceRun) -> Self {
        // INVARIANT: By the type invariants of `DeviceRun` the kind is `Device`.
        Self(Some(run.get()))
    }

    /// Returns the frames, or `None` after they were unpinned or handed over.
    pub(crate) fn run(&self) -> Option<Run> {
        self.0
    }

    /// Appends `next`.
    ///
    /// # Errors
    ///
    /// Returns `next` if the frames are not consecutive, not of one kind, or more than `limit`
    /// together.
    pub(crate) fn join(&mut self, mut next: Self, limit: PageCount) -> Result<(), Self> {
        if let (Some(run), Some(other)) = (self.0, next.0) {
            if let Some(joined) = run.joined(other).filter(|run| run.pages() <= limit) {
                // INVARIANT: `next` no longer has a run, and its pins belong to the joined one.
                next.0 = None;
                self.0 = Some(joined);
                return Ok(());
            }
        }
        Err(next)
    }
}

impl PinnedRun {
    /// Unpins the pages, and marks them dirty if they may have been `written`. May sleep.
    ///
    /// Devices and drivers must have stopped using the pages.
    #[doc(alias = "put_pfn")]
    #[inline]
    pub(crate) fn unpin(mut self, written: bool) {
        self.give_up(written);
    }

    /// Unpins the pages if there is a run.
    fn give_up(&mut self, written: bool) {
        let Some(run) = self.0.take() else {
            return;
        };
        let dirty = match run.kind() {
            FrameKind::Pinned => written,
            // A reserved page has no contents that would have to be written back.
            FrameKind::Reserved => false,
            FrameKind::Device => return,
        };
        // CAST: The frame number came from a `usize`, and a run has at most `Run::MAX_PAGES` pages.
        let (pfn, pages) = (run.first().get() as usize, run.pages().get() as usize);
        // SAFETY: As the run is not of kind `Device`, by the type invariants this value owned the
        // pins, which `of_pages` took from `PinnedFrames::into_raw`. `take` above has left no run
        // in it, so they are not taken over again.
        unsafe { PinnedFrames::from_raw(pfn, pages) }.unpin(dirty);
    }

    /// Returns the page structure of the first frame, or `None` if it has none.
    pub(crate) fn first_page(&self) -> Option<PageRef> {
        // CAST: Frame numbers are native words.
        page_of(self.0?.first().get() as usize)
    }
}

impl Drop for PinnedRun {
    fn drop(&mut self) {
        // The pages were not mapped for any device, so none was written.
        self.give_up(false);
    }
}

/// All pinned memory of a mapping, in the order of its I/O addresses.
///
/// A single run is stored in place, without an allocation: small mappings, and those that consist
/// of one huge page, have only one.
///
/// # Invariants
///
/// This value owns one pin of each page of each run whose kind is not [`FrameKind::Device`].
/// Devices may access the pages until [`PinnedRuns::release`] has made them inaccessible.
pub(crate) struct PinnedRuns(Repr);

/// The representation of a list of runs.
enum Repr {
    Nothing,
    One(Run),
    Many(KBox<KVVec<Run>>),
}

impl PinnedRuns {
    /// No pinned memory.
    pub(crate) const NOTHING: Self = Self(Repr::Nothing);

    /// Returns whether there is no run.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Repr::Nothing)
    }

    /// Returns the runs in the order of their I/O addresses.
    pub(crate) fn as_slice(&self) -> &[Run] {
        match &self.0 {
            Repr::Nothing => &[],
            Repr::One(run) => core::slice::from_ref(run),
            Repr::Many(runs) => runs,
        }
    }

    /// Allocates room for one more run.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(crate) fn reserve(&mut self) -> Result {
        match &mut self.0 {
            Repr::Nothing => Ok(()),
            Repr::One(run) => {
                let mut runs = KVVec::with_capacity(4, GFP_KERNEL_ACCOUNT)?;
                runs.push(*run, GFP_KERNEL_ACCOUNT)?;
                // INVARIANT: The list has the same run as before.
                self.0 = Repr::Many(KBox::new(runs, GFP_KERNEL_ACCOUNT)?);
                Ok(())
            }
            Repr::Many(runs) => Ok(runs.reserve(1, GFP_KERNEL_ACCOUNT)?),
        }
    }

    /// Appends `pinned` and takes over its pins. [`PinnedRuns::reserve`] must have been called
    /// before.
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
            // INVARIANT: `pinned` no longer has the run, and its pins belong to this list.
            pinned.0 = None;
        } else {
            // There is no room. The run is mapped already, so devices may access its pages; they
            // stay pinned for ever.
            warn_on!(true);
            mem::forget(pinned);
        }
    }

    /// Frees the memory that the list does not need. Called when it is complete.
    pub(crate) fn trim(&mut self) {
        if let Repr::Many(runs) = &mut self.0 {
            // If this fails the list only takes more memory.
            let _ = runs.shrink_to(0, GFP_KERNEL_ACCOUNT);
        }
    }

    /// Unpins all pages, chunk by chunk, and marks them dirty if devices may have `written` to
    /// them. Leaves the list empty. May sleep.
    ///
    /// `unreachable` is called for each chunk, in the order of I/O addresses, with the number of
    /// pages in it. It must unmap the chunk from all devices, and returns whether that worked. If
    /// not, the pages of the chunk stay pinned for ever.
    ///
    /// Returns the number of accounted pages that stay pinned.
    pub(crate) fn release(
        &mut self,
        written: bool,
        mut unreachable: impl FnMut(PageCount) -> bool,
    ) -> PageCount {
        // INVARIANT: The list is empty, and its pins are owned by the local `repr`.
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
                    // INVARIANT: `repr` owned the pins of this run and is not used for it again, so
                    // the new value owns them.
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
        // `release` must have been called. If not, devices may still access the pages, so they stay
        // pinned.
        warn_on!(!self.is_empty());
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Runs of pinned pages that are not mapped for a device yet, or that drivers of emulated devices
//! use.
//!
//! A pin comes from [`kernel::pages`](crate::kernel::pages) to a [`PinnedRun`], which unpins the
//! pages when it is dropped. When the run is mapped for devices, its pins go to the
//! [`PinnedMemory`](super::pinned_memory::PinnedMemory) of the mapping.
//!
//! Corresponds to `put_pfn()`.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        logic::{
            runs::{
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
    kernel::{
        gup::Known,
        pages::{
            page_of,
            PageBuffer,
            PageRef,
            PinnedBatch,
            PinnedFrames,
            SmallPageBuffer,
            UserMm, //
        }, //
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
    let known = &mut Known::default();
    let pinned = PinnedBatch::pin(memory, vaddr, 1, write, known, &mut large, &mut small);
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

    /// Takes over the pins of `run`.
    ///
    /// # Safety
    ///
    /// The pins must come from [`PinnedRun::into_run`], and must not be taken over twice.
    #[inline]
    pub(super) unsafe fn from_run(run: Run) -> Self {
        // INVARIANT: By the safety requirements of this function nobody else owns these pins.
        Self(Some(run))
    }

    /// Releases the ownership of the pins without unpinning. The caller must take care of them.
    #[inline]
    pub(super) fn into_run(mut self) -> Option<Run> {
        self.0.take()
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

    /// Moves the pins to a new value, and leaves nothing in this one.
    pub(crate) fn take(&mut self) -> Self {
        // INVARIANT: This value has no pins any more.
        Self(self.0.take())
    }

    /// Leaves the pages pinned for ever. For pages that devices can still access.
    pub(crate) fn keep(self) {
        let _ = self.into_run();
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
        // pins, which `new` took from `PinnedFrames::into_raw`. `take` above has left no run in it,
        // so they are not taken over again.
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

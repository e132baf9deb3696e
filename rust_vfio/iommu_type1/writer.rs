// SPDX-License-Identifier: GPL-2.0

//! Joining pinned frames to runs, and mapping these in all domains.
//!
//! Frames that follow each other become one run, however they were pinned, so that the IOMMU can
//! use huge pages wherever the memory consists of them. A long run is mapped on its own. Short ones
//! are collected in a [`RunQueue`] and mapped together, because the IOMMU driver has work to do for
//! each call, such as a flush where the IOMMU also caches what is not mapped.
//!
//! Corresponds to the loop of `vfio_pin_map_dma()`, which maps each run on its own.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        domains::{
            Domains,
            NotMapped,
            Reach, //
        },
        logic::{
            runs::{
                are_scattered,
                room_at,
                FrameKind,
                Run,
                WINDOW, //
            },
            units::{
                Iova,
                PageCount, //
            }, //
        },
        mapping::Mapping,
        memory::pin::PinnedRun,
        params, //
    },
    kernel::{
        mm,
        pages::PinnedBatch,
        scatterlist::ScatterList, //
    }, //
};

/// The largest number of pages of a run that waits for others. It bounds what is mapped at once,
/// and for longer runs the call does not count.
const LONGEST_QUEUED: PageCount = PageCount::new(512);

/// Runs that are pinned and will be mapped together, at consecutive I/O addresses.
///
/// All are of one kind, and none begins where the one before it ends. The IOMMU API maps
/// consecutive ones together, and not every IOMMU can unmap a part of what was mapped together. But
/// runs are unmapped separately.
pub(super) struct RunQueue {
    runs: KVec<PinnedRun>,
    /// The frames of `runs`.
    list: ScatterList,
}

impl RunQueue {
    /// Creates an empty queue. Memory is allocated when it is first used.
    pub(super) const fn new() -> Self {
        Self {
            runs: KVec::new(),
            list: ScatterList::new(),
        }
    }

    /// Appends `pinned`.
    ///
    /// # Errors
    ///
    /// Returns `pinned` if it must not be mapped together with the runs that are there, or not with
    /// any; if the queue is full; or if there is no memory.
    #[inline]
    fn push(&mut self, pinned: PinnedRun) -> Result<(), PinnedRun> {
        let Some(run) = pinned.run() else {
            return Ok(());
        };
        let fits = run.pages() <= LONGEST_QUEUED
            && run.kind() != FrameKind::Device
            && self
                .last()
                .is_none_or(|last| last.kind() == run.kind() && !last.is_before(run));
        if !fits || !self.has_room() {
            return Err(pinned);
        }
        // CAST: Frame numbers are native words, and the number of pages was checked.
        let (pfn, pages) = (run.first().get() as usize, run.pages().get() as usize);
        // SAFETY: The frames are pinned, as the kind of the run is not `Device`, so they have page
        // structures. The list is cleared before the pins leave the queue.
        if unsafe { self.list.push(pfn, pages) }.is_err() {
            return Err(pinned);
        }
        self.runs
            .push_within_capacity(pinned)
            .map_err(|error| error.0)
    }

    /// Returns the last run.
    fn last(&self) -> Option<Run> {
        self.runs.last().and_then(PinnedRun::run)
    }

    /// Returns whether the frames of the runs are better not recorded, and need not be.
    fn is_scattered(&self) -> bool {
        // CAST: A `usize` fits into an `u64`.
        let (runs, bytes) = (self.runs.len() as u64, self.list.bytes() as u64);
        // All are of the kind of the last one.
        self.last()
            .is_some_and(|last| last.kind() == FrameKind::Pinned)
            && self.runs.len() >= WINDOW
            && are_scattered(runs, PageCount::new(bytes >> mm::SHIFT))
    }

    /// Returns whether there is room for another run. Allocates memory if there was none.
    #[inline]
    fn has_room(&mut self) -> bool {
        let room = ScatterList::CAPACITY;
        self.runs.len() < room
            && (self.runs.capacity() >= room || self.runs.reserve(room, GFP_KERNEL).is_ok())
    }
}

/// The side that joins frames to runs and maps these. Dropping it unpins what was not mapped.
pub(super) struct Writer<'a> {
    /// The I/O address up to which (exclusive) everything is mapped.
    mapped: Iova,
    /// Complete runs from there on.
    queue: &'a mut RunQueue,
    /// The I/O address of the pending run, behind those of the queue.
    next: Iova,
    /// The run that is not complete yet, since consecutive frames may follow.
    pending: Option<PinnedRun>,
    /// The largest number of pages of a run.
    longest: PageCount,
    domains: &'a Domains,
}

/// The number of pages that were handed to a [`Writer`].
#[derive(Clone, Copy)]
pub(super) struct Filled {
    pub(super) pages: PageCount,
    /// The number of those that are to be accounted.
    pub(super) accounted: PageCount,
}

impl Filled {
    const NOTHING: Self = Self {
        pages: PageCount::ZERO,
        accounted: PageCount::ZERO,
    };

    fn of(run: Run) -> Self {
        Self {
            pages: run.pages(),
            accounted: run.accounted(),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            pages: self.pages.plus(other.pages),
            accounted: self.accounted.plus(other.accounted),
        }
    }
}

impl<'a> Writer<'a> {
    /// Creates a writer that maps frames from `first` on in `domains`. `queue` is empty, and will
    /// be empty again when the writer is dropped.
    pub(super) fn new(first: Iova, domains: &'a Domains, queue: &'a mut RunQueue) -> Self {
        Self {
            mapped: first,
            queue,
            next: first,
            pending: None,
            longest: if params::disable_hugepages() {
                PageCount::new(1)
            } else {
                PageCount::new(Run::MAX_PAGES)
            },
            domains,
        }
    }

    /// Takes all frames of `batch`.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if a frame number does not fit into a run.
    /// - Those of [`Writer::add`].
    pub(super) fn take_all(
        &mut self,
        batch: &mut PinnedBatch<'_>,
        mapping: &mut Mapping,
    ) -> Result<Filled> {
        let mut filled = Filled::NOTHING;
        loop {
            let room = usize::try_from(self.room().get()).unwrap_or(usize::MAX);
            let Some(frames) = batch.take_frames(room) else {
                return Ok(filled);
            };
            filled = filled.plus(self.add(PinnedRun::of_pages(frames)?, mapping)?);
        }
    }

    /// Returns the largest number of frames that can be added at once.
    pub(super) fn room(&self) -> PageCount {
        let end = match self.pending.as_ref().and_then(PinnedRun::run) {
            Some(run) => self.next.behind(run.pages(), mm::SHIFT),
            None => self.next,
        };
        self.room_from(end)
    }

    /// Returns the largest number of pages of a run that begins at `iova`.
    fn room_from(&self, iova: Iova) -> PageCount {
        room_at(iova, mm::SHIFT).min(self.longest)
    }

    /// Adds `pinned` after the pending run, which is complete if they cannot be joined.
    ///
    /// # Errors
    ///
    /// Those of [`Writer::finish`].
    #[inline]
    pub(super) fn add(&mut self, mut pinned: PinnedRun, mapping: &mut Mapping) -> Result<Filled> {
        let filled = pinned.run().map_or(Filled::NOTHING, Filled::of);
        let longest = self.room_from(self.next);
        if let Some(pending) = &mut self.pending {
            match pending.join(pinned, longest) {
                Ok(()) => return Ok(filled),
                Err(apart) => pinned = apart,
            }
        }
        if let Some(complete) = self.pending.replace(pinned) {
            self.complete(complete, mapping)?;
        }
        Ok(filled)
    }

    /// Queues the run `pinned`, the one at `next`, or maps it.
    ///
    /// # Errors
    ///
    /// Those of [`Writer::finish`].
    fn complete(&mut self, pinned: PinnedRun, mapping: &mut Mapping) -> Result {
        let Some(run) = pinned.run() else {
            return Ok(());
        };
        if let Err(pinned) = self.enqueue(pinned) {
            self.map_queue(mapping)?;
            // There is room now, if this run may wait at all.
            if let Err(pinned) = self.enqueue(pinned) {
                self.map_alone(pinned, run, mapping)?;
            }
        }
        self.next = self.next.behind(run.pages(), mm::SHIFT);
        Ok(())
    }

    /// Queues the run `pinned`, or returns it if that is not possible.
    fn enqueue(&mut self, pinned: PinnedRun) -> Result<(), PinnedRun> {
        if self.longest == PageCount::new(1) {
            // Consecutive runs would be mapped as one, by a huge page if possible.
            return Err(pinned);
        }
        self.queue.push(pinned)
    }

    /// Maps everything that is not mapped yet. No frames must be added afterwards.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or any other errno of an IOMMU driver. What could not be mapped is unpinned then,
    /// unless a domain could not unmap it any more: then it stays pinned for ever.
    pub(super) fn finish(&mut self, mapping: &mut Mapping) -> Result {
        let Some(pinned) = self.pending.take() else {
            return self.map_queue(mapping);
        };
        match pinned.run() {
            // A single run, like that of most mappings, need not be queued.
            Some(run) if self.queue.runs.is_empty() => self.map_alone(pinned, run, mapping),
            _ => {
                self.complete(pinned, mapping)?;
                self.map_queue(mapping)
            }
        }
    }

    /// Maps `pinned`, whose frames are `run`, at the end of what is mapped, and adds it to the
    /// memory of the mapping. The queue must be empty.
    ///
    /// # Errors
    ///
    /// Those of [`Writer::finish`].
    fn map_alone(&mut self, pinned: PinnedRun, run: Run, mapping: &mut Mapping) -> Result {
        mapping.memory.reserve()?;
        let access = mapping.access();
        if let Err(NotMapped { error, reach }) = self.domains.map(self.mapped, run, access) {
            give_up(pinned, reach, access.write);
            return Err(error);
        }
        mapping.memory.push(pinned);
        self.mapped = self.mapped.behind(run.pages(), mm::SHIFT);
        Ok(())
    }

    /// Maps the queue, and adds its runs to the memory of the mapping.
    ///
    /// # Errors
    ///
    /// Those of [`Writer::finish`].
    fn map_queue(&mut self, mapping: &mut Mapping) -> Result {
        if self.queue.runs.is_empty() {
            return Ok(());
        }
        let access = mapping.access();
        let mut left = self.queue.list.bytes() as u64;
        let is_scattered = self.queue.is_scattered();
        let mapped = self.domains.map_list(self.mapped, &self.queue.list, access);
        self.queue.list.clear();
        let mut failure = mapped.err();
        if failure.is_none() && is_scattered {
            let pages = PageCount::new(left >> mm::SHIFT);
            // If there is no memory the loop below finds that out once more.
            if mapping
                .memory
                .push_scattered(&mut self.queue.runs, pages)
                .is_ok()
            {
                self.mapped = self.next;
            }
        }
        for pinned in self.queue.runs.drain_all() {
            if failure.is_none() {
                // If this and the following runs cannot be recorded they are unmapped again.
                let full = mapping.memory.reserve().err();
                failure = full.map(|error| NotMapped {
                    error,
                    reach: self.domains.withdraw(self.mapped, left),
                });
            }
            if let Some(NotMapped { reach, .. }) = failure {
                give_up(pinned, reach, access.write);
                continue;
            }
            let pages = pinned.run().map_or(PageCount::ZERO, Run::pages);
            mapping.memory.push(pinned);
            self.mapped = self.mapped.behind(pages, mm::SHIFT);
            left = left.saturating_sub(pages.bytes(mm::SHIFT));
        }
        failure.map_or(Ok(()), |failure| Err(failure.error))
    }
}

/// Unpins a run that could not be mapped, or keeps it pinned if devices can still reach it.
/// `written` says whether they were allowed to write.
fn give_up(pinned: PinnedRun, reach: Reach, written: bool) {
    match reach {
        Reach::Ended => pinned.unpin(written),
        Reach::Lasting => pinned.keep(),
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        // This unpins pages that were pinned but not mapped.
        self.queue.list.clear();
        self.queue.runs.clear();
    }
}

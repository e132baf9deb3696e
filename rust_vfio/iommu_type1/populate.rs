// SPDX-License-Identifier: GPL-2.0

//! Pinning the memory of a mapping and mapping it in the domains, and the reverse (contract 6.7 and
//! 6.8).
//!
//! [`populate`] pins the pages of a mapping in batches, joins consecutive frames to runs that are
//! as long as possible, and maps each run in all domains. A run can continue in the next batch, so
//! that the IOMMU can use huge pages wherever the memory consists of them. [`release`] unmaps many
//! runs with one IOTLB flush, and then unpins their pages.
//!
//! All of this happens with the lock of the container held. Between batches other tasks may run,
//! and a task that was killed gives up.
//!
//! Corresponds to `vfio_pin_map_dma()`, `vfio_pin_pages_remote()` and `vfio_unmap_unpin()`.
//!
//! Deviation: C accounts the pages of each run on its own, and takes the `mmap_lock` for writing
//! each time. We account once per batch of up to 512 pages.
//!
//! Deviation: C computes an exclusive end to look for pages that drivers have pinned already. At
//! the top of the address space it wraps, so that pages there are accounted twice. We subtract the
//! pages that are accounted already, wherever they are.
//!
//! Deviation: C does not unpin pages that the kernel reserves, if a pfnmap was not what they came
//! from, so that these pins leak. We unpin them like others.
//!
//! Deviation: C notices that the calling task was killed only while it pins pages or waits for the
//! `mmap_lock`, so it maps memory of a device to the end. We check before each batch.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        domains::{
            Domains,
            NotMapped,
            Reach, //
        },
        logic::{
            account::AccountedBefore,
            runs::{
                room_at,
                Run, //
            },
            units::{
                Iova,
                IovaRange,
                PageCount, //
            }, //
        },
        mapping::Mapping,
        memory::{
            hugetlb,
            pfnmap,
            pin::PinnedRun, //
        },
        params, //
    },
    kernel::{
        mm::{
            self,
            cond_resched, //
        },
        pages::{
            PageBuffer,
            PinnedBatch,
            SmallPageBuffer,
            UserMm, //
        }, //
    }, //
};

/// The smallest number of missing pages for which the kind of the area is looked up.
const WORTH_A_LOOK: PageCount = PageCount::new(64);

/// Pins the memory of `mapping`, accounts it to the owner, and maps it in all `domains`.
///
/// `range` are the I/O addresses of the mapping, and `memory` is the address space of its owner.
/// Takes the `mmap_lock` for reading to pin and for writing to account, and sleeps.
///
/// # Errors
///
/// The mapping has no memory then, as before. The following can occur for each batch.
///
/// - `EINTR` if the calling task was killed.
/// - `ENODEV` for [`UserMm::Current`] of a task that has no user memory.
/// - `EFAULT` if some of the memory is not mapped in user space, is read-only there while devices
///   may write, cannot be read there while devices may only read, has a hardware error, would have
///   to be provided by another task (userfaultfd), or is of a file system that has to know of each
///   write.
/// - `EOPNOTSUPP` if some of the memory cannot be pinned for long (DAX).
/// - `EBUSY` if some of it is memory of a device that cannot be migrated to RAM.
/// - `ENOMEM` if there is no memory, or the number of pages would exceed `RLIMIT_MEMLOCK`.
/// - Any other errno of an IOMMU driver for mapping a run.
#[doc(alias = "vfio_pin_map_dma")]
pub(crate) fn populate(
    mapping: &mut Mapping,
    range: IovaRange,
    memory: UserMm<'_>,
    domains: &Domains,
    buffer: &mut PageBuffer,
) -> Result {
    let mut writer = Writer {
        next: range.first(),
        pending: None,
        longest: if params::disable_hugepages() {
            PageCount::new(1)
        } else {
            PageCount::new(Run::MAX_PAGES)
        },
        domains,
    };
    // Pages that drivers of emulated devices have pinned are accounted already.
    let mut before = AccountedBefore::new(mapping.accounted);
    let mut source = Source {
        memory,
        write: mapping.access().write,
        buffer,
        no_special_area: 0,
        suitable: 0,
    };
    let result = fill(mapping, range, &mut source, &mut writer, &mut before).and_then(|()| {
        // This maps the last run.
        writer.flush(mapping)
    });
    // This unpins pages that were pinned but not mapped.
    drop(writer);
    match result {
        Ok(()) => {
            let unused = mapping.accounted.take(before.rest());
            mapping.owner().unaccount(unused);
            mapping.memory.trim();
        }
        Err(_) => release(mapping, domains, source.buffer),
    }
    result
}

/// Pins all pages of `mapping`, hands them to `writer`, and accounts those that `before` does not
/// cover.
///
/// # Errors
///
/// Those of [`populate`]. The mapping keeps the runs that were mapped.
fn fill(
    mapping: &mut Mapping,
    range: IovaRange,
    source: &mut Source<'_>,
    writer: &mut Writer<'_>,
    before: &mut AccountedBefore,
) -> Result {
    let mut vaddr = mapping.vaddr();
    let mut left = range.pages(mm::SHIFT);
    while !left.is_zero() {
        cond_resched();
        if mm::is_killed() {
            return Err(EINTR);
        }
        let filled = source.fill(vaddr, left, writer, mapping)?;
        let pages = before.cover(filled.accounted);
        mapping.owner().account(pages)?;
        mapping.accounted.add(pages);

        left = left.minus(filled.pages);
        // CAST: The size of a mapping fits native words. If the sum wraps, `left` is zero and it is
        // not used.
        vaddr = vaddr.wrapping_add(filled.pages.bytes(mm::SHIFT) as usize);
    }
    Ok(())
}

/// The user memory from which frames are taken.
struct Source<'a> {
    memory: UserMm<'a>,
    /// Whether devices may write.
    write: bool,
    buffer: &'a mut PageBuffer,
    /// The user address (exclusive) up to which there is neither hugetlbfs nor memory of a device.
    no_special_area: usize,
    /// What [`PinnedBatch::pin`] knows of the area.
    suitable: usize,
}

/// The number of pages that were handed to a [`Writer`].
#[derive(Clone, Copy)]
struct Filled {
    pages: PageCount,
    /// The number of those that are to be accounted.
    accounted: PageCount,
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

impl Source<'_> {
    /// Hands the frames from the user address `vaddr` on to `writer`, at least one and at most
    /// `left`.
    ///
    /// # Errors
    ///
    /// Those of [`PinnedBatch::pin`], [`pfnmap::frames`] and [`Writer::add`].
    fn fill(
        &mut self,
        vaddr: usize,
        left: PageCount,
        writer: &mut Writer<'_>,
        mapping: &mut Mapping,
    ) -> Result<Filled> {
        let room = left.min(writer.room(writer.end()));
        if room >= WORTH_A_LOOK && vaddr >= self.no_special_area {
            if let Some(pinned) = self.special(vaddr, room)? {
                return writer.add(pinned, mapping);
            }
        }

        let mut small = SmallPageBuffer::new();
        let (memory, write) = (self.memory, self.write);
        let count = usize::try_from(left.get()).unwrap_or(usize::MAX);
        let batch = PinnedBatch::pin(
            memory,
            vaddr,
            count,
            write,
            &mut self.suitable,
            self.buffer,
            &mut small,
        );
        let error = match batch {
            Ok(mut batch) => return writer.take_all(&mut batch, mapping),
            Err(error) => error,
        };
        // Pages of a device cannot be pinned, which is one reason for an error.
        let frames = pfnmap::frames(memory, vaddr, room, write)?.ok_or(error)?;
        writer.add(PinnedRun::of_device(frames), mapping)
    }

    /// Returns the frames from `vaddr` on, at most `room`, if the area is hugetlbfs or memory of a
    /// device, where there are many at once. Returns `None` otherwise.
    ///
    /// # Errors
    ///
    /// Those of [`pfnmap::frames`].
    fn special(&mut self, vaddr: usize, room: PageCount) -> Result<Option<PinnedRun>> {
        match hugetlb::pin(self.memory, vaddr, room, self.write) {
            hugetlb::Found::Pinned(pinned) => Ok(Some(pinned)),
            // The lock was dropped, so the area may have become another one, which gives `None`.
            hugetlb::Found::Frames => {
                let frames = pfnmap::frames(self.memory, vaddr, room, self.write)?;
                Ok(frames.map(PinnedRun::of_device))
            }
            hugetlb::Found::Otherwise { until, suitable } => {
                self.no_special_area = until;
                if suitable {
                    self.suitable = until;
                }
                Ok(None)
            }
        }
    }
}

/// The side that joins frames to runs and maps these.
struct Writer<'a> {
    /// The I/O address of the pending run.
    next: Iova,
    /// The run that is pinned but not mapped yet, since consecutive frames may follow.
    pending: Option<PinnedRun>,
    /// The largest number of pages of a run.
    longest: PageCount,
    domains: &'a Domains,
}

impl Writer<'_> {
    /// Takes all frames of `batch`.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if a frame number does not fit into a run.
    /// - Those of [`Writer::add`].
    fn take_all(&mut self, batch: &mut PinnedBatch<'_>, mapping: &mut Mapping) -> Result<Filled> {
        let mut filled = Filled::NOTHING;
        loop {
            let room = self.room(self.end());
            let room = usize::try_from(room.get()).unwrap_or(usize::MAX);
            let Some(frames) = batch.take_frames(room) else {
                return Ok(filled);
            };
            filled = filled.plus(self.add(PinnedRun::of_pages(frames)?, mapping)?);
        }
    }

    /// Returns the largest number of pages of a run that begins at `iova`.
    fn room(&self, iova: Iova) -> PageCount {
        room_at(iova, mm::SHIFT).min(self.longest)
    }

    /// Returns the I/O address at which the pending run ends (exclusive).
    fn end(&self) -> Iova {
        match self.pending.as_ref().and_then(PinnedRun::run) {
            Some(run) => self.next.behind(run.pages(), mm::SHIFT),
            None => self.next,
        }
    }

    /// Adds `pinned` after the pending run, which is mapped if they cannot be joined.
    ///
    /// # Errors
    ///
    /// Those of [`Writer::flush`].
    fn add(&mut self, mut pinned: PinnedRun, mapping: &mut Mapping) -> Result<Filled> {
        let filled = pinned.run().map_or(Filled::NOTHING, Filled::of);
        let room = self.room(self.next);
        if let Some(pending) = &mut self.pending {
            match pending.join(pinned, room) {
                Ok(()) => return Ok(filled),
                Err(apart) => pinned = apart,
            }
            self.flush(mapping)?;
        }
        self.pending = Some(pinned);
        Ok(filled)
    }

    /// Maps the pending run in all domains and adds it to the runs of the mapping.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or any other errno of an IOMMU driver. The run is unpinned then, unless a domain
    /// could not unmap it any more: then it stays pinned for ever.
    fn flush(&mut self, mapping: &mut Mapping) -> Result {
        let Some(pinned) = self.pending.take() else {
            return Ok(());
        };
        let Some(run) = pinned.run() else {
            return Ok(());
        };
        mapping.memory.reserve()?;
        let access = mapping.access();
        if let Err(NotMapped { error, reach }) = self.domains.map(self.next, run, access) {
            match reach {
                Reach::Never => drop(pinned),
                Reach::Ended => pinned.unpin(access.write),
                Reach::Lasting => pinned.keep(),
            }
            return Err(error);
        }
        mapping.memory.push(pinned);
        self.next = self.next.behind(run.pages(), mm::SHIFT);
        Ok(())
    }
}

/// Unmaps the memory of `mapping` from all domains, unpins it and subtracts it from the owner's
/// account. Pages that drivers of emulated devices have pinned stay accounted.
///
/// Pages that cannot be unmapped from a domain stay pinned and accounted for ever. Takes the
/// `mmap_lock` of the owner for writing, and sleeps.
#[doc(alias = "vfio_unmap_unpin")]
pub(crate) fn release(mapping: &mut Mapping, domains: &Domains, buffer: &mut PageBuffer) {
    let (first, written) = (mapping.first(), mapping.access().write);
    let kept = mapping.memory.release(first, written, domains, buffer);
    mapping.accounted.forget(kept);
    let still_used = mapping
        .extras()
        .map_or(PageCount::ZERO, |extras| extras.pins.accounted());
    let unused = mapping.accounted.shrink_to(still_used);
    mapping.owner().unaccount(unused);
}

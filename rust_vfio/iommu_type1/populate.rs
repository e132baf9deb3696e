// SPDX-License-Identifier: GPL-2.0

//! The memory of a mapping: from user addresses to page tables of the IOMMU, and back.
//!
//! [`populate`] pins the pages of a range in batches, puts consecutive frames together to runs as
//! long as possible, and maps each run into all domains. Runs continue from batch to batch, so
//! that huge pages of any size and alignment become huge pages of the IOMMU. [`release`] walks
//! the runs back: one unmap and one flush for many, then the pages are unpinned.
//!
//! Everything happens under the lock of the container. Between batches other tasks may run, and a
//! caller that was killed gives up.
//!
//! Deviations from C: the user is charged once per batch instead of once per run, which needs one
//! lock of the address space for up to 512 pages; and pages that the kernel has reserved are
//! unpinned like others, where C leaks the pin. Memory that another program fills in when it is
//! missing (userfaultfd) is waited for, in C it is not there. A caller that was killed gets `EINTR`
//! at each batch, in C only while it waits for a lock.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        domains::Domains,
        logic::{
            account::Credit,
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

/// So many pages have to be missing for it to be worth to look what the area consists of.
const WORTH_A_LOOK: PageCount = PageCount::new(64);

/// Pins the memory of `mapping` and maps it into all `domains`.
///
/// `range` is all of the mapping's addresses and `memory` the address space of its owner.
///
/// # Errors
///
/// - `EFAULT` if some of the memory is not there, or not writable and devices shall write.
/// - `ENOMEM` beyond `RLIMIT_MEMLOCK`, or without memory.
/// - `EINTR` if the caller was killed.
/// - What an IOMMU driver says.
///
/// The mapping then has no memory, as before.
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
    // Drivers of emulated devices may have pinned some of the pages, at the user's expense.
    let mut credit = Credit::of(mapping.accounted);
    let mut source = Source {
        memory,
        write: mapping.access().write,
        buffer,
        no_special_area: 0,
    };
    let result = fill(mapping, range, &mut source, &mut writer, &mut credit).and_then(|()| {
        // The last run.
        writer.flush(mapping)
    });
    // Pages that were pinned and not mapped are unpinned here.
    drop(writer);
    match result {
        Ok(()) => {
            let overpaid = mapping.accounted.take(credit.left());
            mapping.owner().unaccount(overpaid);
            mapping.memory.trim();
        }
        Err(_) => release(mapping, domains),
    }
    result
}

fn fill(
    mapping: &mut Mapping,
    range: IovaRange,
    source: &mut Source<'_>,
    writer: &mut Writer<'_>,
    credit: &mut Credit,
) -> Result {
    let mut vaddr = mapping.vaddr();
    let mut left = range.pages(mm::SHIFT);
    while !left.is_zero() {
        cond_resched();
        if mm::is_killed() {
            return Err(EINTR);
        }
        let filled = source.fill(vaddr, left, writer, mapping)?;
        let charge = credit.pay(filled.accounted);
        mapping.owner().account(charge)?;
        mapping.accounted.add(charge);

        left = left.minus(filled.pages);
        // CAST: As many bytes as were filled from `vaddr` on. At the top of the address space
        // the sum is not used any more.
        vaddr = vaddr.wrapping_add(filled.pages.bytes(mm::SHIFT) as usize);
    }
    Ok(())
}

/// Where the frames come from.
struct Source<'a> {
    memory: UserMm<'a>,
    /// Whether devices shall write.
    write: bool,
    buffer: &'a mut PageBuffer,
    /// Up to this user address (exclusive) there are neither pages of hugetlbfs nor of devices.
    no_special_area: usize,
}

/// What was handed to a [`Writer`].
#[derive(Clone, Copy)]
struct Filled {
    pages: PageCount,
    /// How many of them count against the limit of the user.
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
    /// Hands the frames at user address `vaddr` to `writer`, at least one and at most `left`.
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
        let batch = PinnedBatch::pin(memory, vaddr, count, write, self.buffer, &mut small);
        let error = match batch {
            Ok(mut batch) => return writer.take_all(&mut batch, mapping),
            Err(error) => error,
        };
        // There may be no pages because it is the memory of a device.
        let frames = pfnmap::frames(memory, vaddr, room, write)?.ok_or(error)?;
        writer.add(PinnedRun::of_device(frames), mapping)
    }

    /// The frames at `vaddr`, at most `room`, if the area is one that has them in large pieces.
    fn special(&mut self, vaddr: usize, room: PageCount) -> Result<Option<PinnedRun>> {
        match hugetlb::pin(self.memory, vaddr, room, self.write) {
            hugetlb::Found::Pinned(pinned) => Ok(Some(pinned)),
            // There are none if the area was exchanged meanwhile.
            hugetlb::Found::Frames => {
                let frames = pfnmap::frames(self.memory, vaddr, room, self.write)?;
                Ok(frames.map(PinnedRun::of_device))
            }
            hugetlb::Found::Otherwise(until) => {
                self.no_special_area = until;
                Ok(None)
            }
        }
    }
}

/// Collects frames and maps them as runs.
struct Writer<'a> {
    /// Where the pending run goes.
    next: Iova,
    /// Pinned and not mapped yet, because more frames may follow.
    pending: Option<PinnedRun>,
    /// How long runs may get.
    longest: PageCount,
    domains: &'a Domains,
}

impl Writer<'_> {
    /// Takes all frames of `batch`.
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

    /// How many pages a run may have that begins at `iova`.
    fn room(&self, iova: Iova) -> PageCount {
        room_at(iova, mm::SHIFT).min(self.longest)
    }

    /// The address behind the pending run.
    fn end(&self) -> Iova {
        match self.pending.as_ref().and_then(PinnedRun::run) {
            Some(run) => behind(self.next, run),
            None => self.next,
        }
    }

    /// Adds `pinned` behind the pending run.
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

    /// Maps the pending run into all domains and gives it to the mapping.
    fn flush(&mut self, mapping: &mut Mapping) -> Result {
        let Some(pinned) = self.pending.take() else {
            return Ok(());
        };
        let Some(run) = pinned.run() else {
            return Ok(());
        };
        mapping.memory.reserve()?;
        self.domains.map(self.next, run, mapping.access())?;
        mapping.memory.push(pinned);
        self.next = behind(self.next, run);
        Ok(())
    }
}

/// The address behind `run` at `iova`. There is none at the top of the address space, but then
/// nothing follows either.
fn behind(iova: Iova, run: Run) -> Iova {
    iova.checked_add(run.pages().bytes(mm::SHIFT))
        .unwrap_or(Iova::MIN)
}

/// Takes the memory of `mapping` away from all devices, unpins it and gives the charge back,
/// except for pages that drivers of emulated devices have pinned as well.
///
/// Pages that cannot be taken away from a device stay pinned and charged.
pub(crate) fn release(mapping: &mut Mapping, domains: &Domains) {
    let mut next = mapping.first();
    let kept = mapping.memory.release(mapping.access().write, |pages| {
        let bytes = pages.bytes(mm::SHIFT);
        let Ok(chunk) = IovaRange::with_len(next, bytes) else {
            return false;
        };
        // Only the chunk at the very top has nothing behind it, and it is the last one.
        next = chunk.last().after().unwrap_or(Iova::MIN);
        let gone = domains.unmap(chunk);
        cond_resched();
        gone
    });
    mapping.accounted.forget(kept);
    let still_used = mapping
        .extras()
        .map_or(PageCount::ZERO, |extras| extras.pins.price());
    let charge = mapping.accounted.shrink_to(still_used);
    mapping.owner().unaccount(charge);
}

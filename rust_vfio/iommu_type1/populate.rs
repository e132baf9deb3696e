// SPDX-License-Identifier: GPL-2.0

//! Pinning the memory of a mapping and mapping it in the domains, and the reverse (contract 6.7 and
//! 6.8).
//!
//! [`populate`] pins the pages of a mapping in batches and hands them to a [`Writer`], which joins
//! consecutive frames to runs that are as long as possible and maps these in all domains.
//! [`release`] unmaps many runs with one IOTLB flush, and then unpins their pages.
//!
//! All of this happens with the lock of the container held. Between batches other tasks may run,
//! and a task that was killed gives up.
//!
//! Corresponds to `vfio_pin_map_dma()`, `vfio_pin_pages_remote()` and `vfio_unmap_unpin()`.
//!
//! Deviation: C accounts the pages of each run on its own, and takes the `mmap_lock` for writing
//! each time, for which page faults of other threads wait. We account many pages at once, as long
//! as the limit is not near.
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
        domains::Domains,
        logic::{
            account::AccountedBefore,
            units::{
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
        writer::{
            Filled,
            RunQueue,
            Writer, //
        }, //
    },
    kernel::{
        gup::Known,
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

/// The number of pages that are accounted as soon as so many are pinned. For 4 KiB pages it is
/// 64 MiB.
const LARGEST_DEBT: PageCount = PageCount::new(1 << 14);

/// What [`populate`] and [`release`] need besides a mapping. It is kept from call to call, since it
/// takes some memory.
pub(crate) struct Buffers {
    pages: PageBuffer,
    queue: RunQueue,
}

impl Default for Buffers {
    /// Creates buffers without memory.
    fn default() -> Self {
        Self {
            pages: PageBuffer::new(),
            queue: RunQueue::new(),
        }
    }
}

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
    buffers: &mut Buffers,
) -> Result {
    let mut writer = Writer::new(range.first(), domains, &mut buffers.queue);
    // Pages that drivers of emulated devices have pinned are accounted already.
    let mut before = AccountedBefore::new(mapping.accounted);
    let mut source = Source {
        memory,
        write: mapping.access().write,
        buffer: &mut buffers.pages,
        area: Area::default(),
    };
    let result = fill(mapping, range, &mut source, &mut writer, &mut before)
        .and_then(|()| writer.finish(mapping));
    // This unpins pages that were pinned but not mapped.
    drop(writer);
    match result {
        Ok(()) => {
            let unused = mapping.accounted.take(before.rest());
            mapping.owner().unaccount(unused);
            mapping.memory.trim();
        }
        Err(_) => release(mapping, domains, buffers),
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
    // The pages that are pinned and not accounted yet.
    let mut debt = PageCount::ZERO;
    while !left.is_zero() {
        cond_resched();
        if mm::is_killed() {
            return Err(EINTR);
        }
        let filled = source.fill(vaddr, left, writer, mapping)?;
        left = left.minus(filled.pages);
        debt = debt.plus(before.cover(filled.accounted));
        if left.is_zero() || debt >= LARGEST_DEBT || !mapping.owner().has_room(debt) {
            mapping.owner().account(debt)?;
            mapping.accounted.add(debt);
            debt = PageCount::ZERO;
        }
        // CAST: The size of a mapping fits native words. If the sum wraps, `left` is zero and it is
        // not used.
        vaddr = vaddr.wrapping_add(filled.pages.bytes(mm::SHIFT) as usize);
    }
    Ok(())
}

/// What is known of the areas of user memory, each up to a user address (exclusive). The addresses
/// that are asked for rise from call to call.
#[derive(Default)]
struct Area {
    /// There is neither hugetlbfs nor memory of a device.
    ordinary: usize,
    /// All is hugetlbfs, and may be accessed.
    huge: usize,
    /// What [`PinnedBatch::pin`] knows.
    known: Known,
}

/// The user memory from which frames are taken.
struct Source<'a> {
    memory: UserMm<'a>,
    /// Whether devices may write.
    write: bool,
    buffer: &'a mut PageBuffer,
    area: Area,
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
        let room = left.min(writer.room());
        if room >= WORTH_A_LOOK && vaddr >= self.area.ordinary {
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
            &mut self.area.known,
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
        if vaddr < self.area.huge {
            if let Some(pinned) = hugetlb::pin_present(self.memory, vaddr, room, self.write) {
                return Ok(Some(pinned));
            }
        }
        match hugetlb::pin(self.memory, vaddr, room, self.write) {
            hugetlb::Found::Pinned { pinned, until } => {
                self.area.huge = until;
                Ok(Some(pinned))
            }
            // The lock was dropped, so the area may have become another one, which gives `None`.
            hugetlb::Found::Frames => {
                let frames = pfnmap::frames(self.memory, vaddr, room, self.write)?;
                Ok(frames.map(PinnedRun::of_device))
            }
            hugetlb::Found::Otherwise { until, suitable } => {
                self.area.ordinary = until;
                if suitable {
                    self.area.known.set_suitable(until);
                }
                Ok(None)
            }
        }
    }
}

/// Unmaps the memory of `mapping` from all domains, unpins it and subtracts it from the owner's
/// account. Pages that drivers of emulated devices have pinned stay accounted.
///
/// Pages that cannot be unmapped from a domain stay pinned and accounted for ever. Takes the
/// `mmap_lock` of the owner for writing, and sleeps.
#[doc(alias = "vfio_unmap_unpin")]
pub(crate) fn release(mapping: &mut Mapping, domains: &Domains, buffers: &mut Buffers) {
    let (first, written) = (mapping.first(), mapping.access().write);
    let kept = mapping
        .memory
        .release(first, written, domains, &mut buffers.pages);
    mapping.accounted.forget(kept);
    let still_used = mapping
        .extras()
        .map_or(PageCount::ZERO, |extras| extras.pins.accounted());
    let unused = mapping.accounted.shrink_to(still_used);
    mapping.owner().unaccount(unused);
}

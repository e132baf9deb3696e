// SPDX-License-Identifier: GPL-2.0

//! Memory of devices in the address space of a user: areas that consist of frame numbers.
//!
//! A driver such as vfio-pci maps the registers and the memory of its device with `VM_PFNMAP`.
//! There are no pages that could be pinned; what is found is what the page table says. As in C,
//! nothing keeps the driver from taking the memory away afterwards.
//!
//! Corresponds to `follow_fault_pfn()`.

use kernel::{
    mm::{
        virt,
        MmWithUser, //
    },
    prelude::*, //
};

use crate::{
    iommu_type1::logic::{
        runs::{
            left_in_entry,
            FrameKind,
            Run, //
        },
        units::{
            PageCount,
            Pfn, //
        }, //
    },
    kernel::{
        mm,
        pages::{
            is_memory,
            UserMm, //
        },
        pfnmap::{
            fixup_user_fault,
            untagged_addr_remote,
            PfnmapEntry, //
        }, //
    }, //
};

/// Consecutive frames of a device.
///
/// # Invariants
///
/// The kind of the run is [`FrameKind::Device`].
pub(crate) struct DeviceRun(Run);

impl DeviceRun {
    /// Returns the frames.
    pub(crate) fn get(&self) -> Run {
        self.0
    }
}

/// How many page table entries are looked at with one lock of the address space.
const MAX_ENTRIES: u32 = 512;

/// Returns the frames of a device at user address `vaddr`: as many as are consecutive, at most
/// `limit`. Takes the `mmap_lock` for reading.
///
/// Returns none if no memory of a device is there. An entry that the driver fills only when it is
/// used is filled.
///
/// # Errors
///
/// - `EFAULT` if devices shall write and the user may not, or if the frame is memory of the
///   kernel after all.
/// - `EINTR` if the caller was killed; what the driver says when it should fill an entry.
/// - `ENODEV` for [`UserMm::Current`] of a caller without memory.
pub(crate) fn frames(
    memory: UserMm<'_>,
    vaddr: usize,
    limit: PageCount,
    write: bool,
) -> Result<Option<DeviceRun>> {
    match memory {
        UserMm::Remote(mm) => frames_in(mm, vaddr, limit, write),
        UserMm::Current => {
            let current = kernel::current!();
            frames_in(current.mm().ok_or(ENODEV)?, vaddr, limit, write)
        }
    }
}

fn frames_in(
    mm: &MmWithUser,
    vaddr: usize,
    limit: PageCount,
    write: bool,
) -> Result<Option<DeviceRun>> {
    let mut locked = mm.mmap_read_lock();
    let vaddr = untagged_addr_remote(mm, &locked, vaddr);

    let mut run: Option<Run> = None;
    for _ in 0..MAX_ENTRIES {
        let pages = run.map_or(PageCount::ZERO, Run::pages);
        let rest = limit.minus(pages);
        // CAST: Not more bytes than the user asked for.
        let next = vaddr.wrapping_add(pages.bytes(mm::SHIFT) as usize);
        let vma = match locked.vma_lookup(next) {
            Some(vma) if vma.flags() & virt::flags::PFNMAP != 0 && !rest.is_zero() => vma,
            _ => break,
        };
        let found = match PfnmapEntry::lookup(vma, next) {
            Some(entry) => frames_of(&entry, rest, write),
            None => match fixup_user_fault(mm, &mut locked, next, write) {
                // Meanwhile the area may have become another one.
                Ok(()) => continue,
                Err(error) => Err(error),
            },
        };
        run = match (run, found) {
            (None, found) => Some(found?),
            (Some(run), Ok(found)) => match run.joined(found) {
                Some(joined) => Some(joined),
                None => break,
            },
            // The next call begins with it.
            (Some(_), Err(_)) => break,
        };
    }
    // INVARIANT: `frames_of` makes runs of no other kind.
    Ok(run.map(DeviceRun))
}

/// Returns the frames from the address of `entry` on, at most `limit`.
///
/// # Errors
///
/// `EFAULT` if devices shall write and the user may not, or if the frame is memory of the kernel,
/// which would have to be pinned.
fn frames_of(entry: &PfnmapEntry, limit: PageCount, write: bool) -> Result<Run> {
    // CAST: Frame numbers are native words.
    if write && !entry.writable || is_memory(entry.pfn as usize) {
        return Err(EFAULT);
    }
    let pfn = Pfn::new(entry.pfn);
    let pages = left_in_entry(pfn, entry.addr_mask, mm::SHIFT).min(limit);
    Run::new(pfn, pages, FrameKind::Device).ok_or(EFAULT)
}

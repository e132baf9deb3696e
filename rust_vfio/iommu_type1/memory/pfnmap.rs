// SPDX-License-Identifier: GPL-2.0

//! Memory of devices in user space: areas that map frame numbers without page structures.
//!
//! A driver such as vfio-pci maps the BARs of its device with `VM_PFNMAP`. Such memory cannot be
//! pinned; the frame numbers are read from the page table. As in C, nothing prevents the driver
//! from removing the memory afterwards.
//!
//! Corresponds to `follow_fault_pfn()` and to the part of `vaddr_get_pfns()` that calls it.

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

/// Consecutive frames of the memory of a device.
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

/// The largest number of page table entries that are read before the `mmap_lock` is released.
const MAX_ENTRIES: u32 = 512;

/// Returns the consecutive frames of device memory from the user address `vaddr` on, at most
/// `limit`, or `None` if the area there is not `VM_PFNMAP`. Page table entries that are not present
/// are faulted in.
///
/// Takes the `mmap_lock` for reading, and may sleep.
///
/// # Errors
///
/// - `ENODEV` for [`UserMm::Current`] of a task that has no user memory.
/// - `EINTR` if the calling task was killed.
/// - `EFAULT` if the page fault failed, if `write` is set and the entry is read-only, or if the
///   frame is memory of the kernel, which would have to be pinned.
/// - `ENOMEM` if there is no memory for the page fault.
#[doc(alias = "follow_fault_pfn")]
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

/// Does what [`frames`] does, for the address space `mm`.
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
        // CAST: `pages` is at most `limit`, the pages of a mapping, whose size fits native words.
        let next = vaddr.wrapping_add(pages.bytes(mm::SHIFT) as usize);
        let vma = match locked.vma_lookup(next) {
            Some(vma) if vma.flags() & virt::flags::PFNMAP != 0 && !rest.is_zero() => vma,
            _ => break,
        };
        let found = match PfnmapEntry::lookup(vma, next) {
            Some(entry) => frames_of(&entry, rest, write),
            None => match fixup_user_fault(mm, &mut locked, next, write) {
                // The lock may have been dropped, so the area is looked up again.
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
            // The next call begins with this entry and reports the error.
            (Some(_), Err(_)) => break,
        };
    }
    // INVARIANT: `frames_of` returns only runs of kind `Device`, and `joined` keeps the kind.
    Ok(run.map(DeviceRun))
}

/// Returns the frames from that of `entry` to the end of the page table entry, at most `limit`.
///
/// # Errors
///
/// `EFAULT` if `write` is set and the entry is read-only, if the frame is memory of the kernel, or
/// if its number does not fit into a [`Run`].
fn frames_of(entry: &PfnmapEntry, limit: PageCount, write: bool) -> Result<Run> {
    // CAST: Frame numbers are native words.
    if write && !entry.writable || is_memory(entry.pfn as usize) {
        return Err(EFAULT);
    }
    let pfn = Pfn::new(entry.pfn);
    let pages = left_in_entry(pfn, entry.addr_mask, mm::SHIFT).min(limit);
    Run::new(pfn, pages, FrameKind::Device).ok_or(EFAULT)
}

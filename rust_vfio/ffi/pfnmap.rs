// SPDX-License-Identifier: GPL-2.0

//! Memory of devices in the address space of a user: areas that consist of frame numbers.
//!
//! A driver such as vfio-pci maps the registers and the memory of its device with `VM_PFNMAP`.
//! There are no pages that could be pinned; what is found is what the page table says. As in C,
//! nothing keeps the driver from taking the memory away afterwards.
//!
//! C header: `include/linux/mm.h` (`follow_pfnmap_start()`).

use kernel::{
    error::to_result,
    mm::{
        virt::{
            self,
            VmaRef, //
        },
        MmWithUser, //
    },
    prelude::*, //
};

use super::{
    bindings,
    mm,
    pin::Memory, //
};
use crate::logic::{
    runs::{
        left_in_entry,
        Backing,
        Run, //
    },
    units::{
        PageCount,
        Pfn, //
    }, //
};

/// Consecutive frames of a device.
///
/// # Invariants
///
/// The kind of the run is [`Backing::Device`].
pub(crate) struct DeviceRun(Run);

impl DeviceRun {
    /// The frames.
    pub(crate) fn get(&self) -> Run {
        self.0
    }
}

/// How many page table entries are looked at with one lock of the address space.
const MAX_ENTRIES: u32 = 512;

/// The frames of a device at user address `vaddr`: as many as are consecutive, at most `limit`.
///
/// `None` if no memory of a device is there. An entry that the driver fills only when it is used
/// is filled.
///
/// # Errors
///
/// - `EFAULT` if devices shall write and the user may not, or if the frame is memory of the
///   kernel after all.
/// - `EINTR` if the caller was killed; what the driver says when it should fill an entry.
/// - `ENODEV` for `Memory::Own` of a caller without memory.
pub(crate) fn frames(
    memory: Memory<'_>,
    vaddr: usize,
    limit: PageCount,
    write: bool,
) -> Result<Option<DeviceRun>> {
    match memory {
        Memory::Of(mm) => frames_in(mm, vaddr, limit, write),
        Memory::Own => {
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
    let locked = mm.mmap_read_lock();
    // SAFETY: The address space is locked.
    let vaddr = unsafe { bindings::vfio_rs_untagged_addr_remote(mm.as_raw(), vaddr) };

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
        let found = match Entry::at(vma, next) {
            Some(entry) => entry.frames(rest, write),
            None => match fault_in(mm, next, write) {
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
    // INVARIANT: `Entry::frames` makes runs of no other kind.
    Ok(run.map(DeviceRun))
}

/// What a page table says about an address. It was true while the table was locked.
struct Entry {
    pfn: Pfn,
    addr_mask: u64,
    writable: bool,
}

impl Entry {
    /// The entry for `vaddr`, which is in `vma`. `None` if there is none yet.
    fn at(vma: &VmaRef, vaddr: usize) -> Option<Self> {
        let mut args = bindings::follow_pfnmap_args {
            vma: vma.as_ptr(),
            address: vaddr,
            ..Default::default()
        };
        // SAFETY: The area is valid and its address space locked, which a `VmaRef` stands for.
        to_result(unsafe { bindings::follow_pfnmap_start(&mut args) }).ok()?;
        let entry = Self {
            pfn: Pfn::new(args.pfn as u64),
            addr_mask: args.addr_mask as u64,
            writable: args.writable,
        };
        // SAFETY: Started above.
        unsafe { bindings::follow_pfnmap_end(&mut args) };
        Some(entry)
    }

    /// The frames from the address on, at most `limit`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if devices shall write and the user may not, or if the frame is memory of the
    /// kernel, which would have to be pinned.
    fn frames(&self, limit: PageCount, write: bool) -> Result<Run> {
        if write && !self.writable || is_memory(self.pfn) {
            return Err(EFAULT);
        }
        let pages = left_in_entry(self.pfn, self.addr_mask, mm::SHIFT).min(limit);
        Run::new(self.pfn, pages, Backing::Device).ok_or(EFAULT)
    }
}

/// Lets the driver of an area fill the page table entry of `vaddr`.
///
/// # Errors
///
/// `EINTR` if the caller was killed; `EFAULT` and others if it cannot be filled.
fn fault_in(mm: &MmWithUser, vaddr: usize, write: bool) -> Result {
    let mut flags = bindings::fault_flag_FAULT_FLAG_REMOTE;
    if write {
        flags |= bindings::fault_flag_FAULT_FLAG_WRITE;
    }
    let mut unlocked = false;
    // SAFETY: The address space is locked by the caller, and it is locked again if the function
    // had to unlock it.
    to_result(unsafe { bindings::fixup_user_fault(mm.as_raw(), vaddr, flags, &mut unlocked) })
}

/// Whether a frame is memory that the kernel manages.
fn is_memory(pfn: Pfn) -> bool {
    // CAST: Frame numbers are native words.
    let pfn = pfn.get() as usize;
    // SAFETY: A function without requirements; a valid frame has a page structure.
    unsafe {
        bindings::vfio_rs_pfn_valid(pfn)
            && !bindings::vfio_rs_page_reserved(bindings::vfio_rs_pfn_to_page(pfn))
    }
}

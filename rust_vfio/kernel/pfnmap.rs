// SPDX-License-Identifier: GPL-2.0

//! Areas of an address space that map frame numbers without page structures (`VM_PFNMAP`).
//!
//! In the kernel crate, these would replace this file: `follow_pfnmap()` of
//! `kernel::mm::virt::VmaRef`, and `fixup_user_fault()` and `untagged_addr()` of
//! `kernel::mm::MmapReadGuard`.
//!
//! C header: `include/linux/mm.h`.

use kernel::{
    error::to_result,
    mm::{
        virt::VmaRef,
        MmWithUser,
        MmapReadGuard, //
    },
    prelude::*, //
};

use crate::bindings;

/// A copy of a page table entry. The entry may have changed since the page table was unlocked.
pub(crate) struct PfnmapEntry {
    /// The number of the page frame at the address.
    pub(crate) pfn: u64,
    /// The mask of address bits that select the entry: addresses that are equal under it have the
    /// same entry.
    pub(crate) addr_mask: u64,
    /// Whether the entry allows writing.
    pub(crate) writable: bool,
}

impl PfnmapEntry {
    /// Returns the entry for the user address `vaddr` in `vma`, or `None` if none is present.
    #[doc(alias = "follow_pfnmap_start")]
    pub(crate) fn lookup(vma: &VmaRef, vaddr: usize) -> Option<Self> {
        let mut args = bindings::follow_pfnmap_args {
            vma: vma.as_ptr(),
            address: vaddr,
            ..Default::default()
        };
        // SAFETY: By the type invariants of `VmaRef` the area is valid and locked for reading, so
        // its page table is not freed during the call.
        to_result(unsafe { bindings::follow_pfnmap_start(&mut args) }).ok()?;
        let entry = Self {
            pfn: args.pfn as u64,
            addr_mask: args.addr_mask as u64,
            writable: args.writable,
        };
        // SAFETY: `follow_pfnmap_start()` succeeded with these arguments.
        unsafe { bindings::follow_pfnmap_end(&mut args) };
        Some(entry)
    }
}

/// Handles a page fault at the user address `vaddr` of `mm` as if user space had caused it, by a
/// write if `write`. `_locked` is the lock of `mm`.
///
/// May sleep. The lock may be dropped and taken again meanwhile.
///
/// # Errors
///
/// - `EFAULT` if nothing is mapped there, the access is not allowed, the memory has a hardware
///   error, or the fault handler of the area reports `SIGBUS` or `SIGSEGV`.
/// - `EINTR` if the calling task was killed.
/// - `ENOMEM` if there is no memory.
pub(crate) fn fixup_user_fault(
    mm: &MmWithUser,
    _locked: &mut MmapReadGuard<'_>,
    vaddr: usize,
    write: bool,
) -> Result {
    let mut flags = bindings::fault_flag_FAULT_FLAG_REMOTE;
    if write {
        flags |= bindings::fault_flag_FAULT_FLAG_WRITE;
    }
    let mut unlocked = false;
    // SAFETY: The address space has users and `_locked` shows that it is locked for reading. As
    // that reference is exclusive nobody uses an area that was found under the lock, so it may be
    // dropped. The function returns with the lock held, as `unlocked` is not null.
    to_result(unsafe { bindings::fixup_user_fault(mm.as_raw(), vaddr, flags, &mut unlocked) })
}

/// Returns the user address `vaddr` of `mm` without the tag bits that the hardware ignores.
/// `_locked` is the lock of `mm`.
pub(crate) fn untagged_addr_remote(
    mm: &MmWithUser,
    _locked: &MmapReadGuard<'_>,
    vaddr: usize,
) -> usize {
    // SAFETY: `mm` is valid, and locked as `_locked` shows.
    unsafe { bindings::vfio_rs_untagged_addr_remote(mm.as_raw(), vaddr) }
}

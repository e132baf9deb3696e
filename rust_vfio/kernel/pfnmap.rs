// SPDX-License-Identifier: GPL-2.0

//! Areas of an address space that map frame numbers without page structures (`VM_PFNMAP`), such as
//! those of device memory. The caller holds `mmap_lock`.
//!
//! In the kernel crate: methods of `kernel::mm::virt::VmaRef` and `kernel::mm::MmapReadGuard`.
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

/// A page table entry of a user virtual address, as it was while the page table was locked.
pub(crate) struct PfnmapEntry {
    /// The number of the page frame at the address.
    pub(crate) pfn: u64,
    /// A mask: addresses that are equal under it have the same entry.
    pub(crate) addr_mask: u64,
    /// Whether user space may write.
    pub(crate) writable: bool,
}

impl PfnmapEntry {
    /// Returns the entry for the user virtual address `vaddr` of `vma`, or none if there is none
    /// yet or the area is of another kind.
    #[doc(alias = "follow_pfnmap_start")]
    pub(crate) fn lookup(vma: &VmaRef, vaddr: usize) -> Option<Self> {
        let mut args = bindings::follow_pfnmap_args {
            vma: vma.as_ptr(),
            address: vaddr,
            ..Default::default()
        };
        // SAFETY: By the type invariants of `VmaRef` the area is valid, and its address space or
        // the area itself is locked for reading.
        to_result(unsafe { bindings::follow_pfnmap_start(&mut args) }).ok()?;
        let entry = Self {
            pfn: args.pfn as u64,
            addr_mask: args.addr_mask as u64,
            writable: args.writable,
        };
        // SAFETY: `follow_pfnmap_start()` succeeded with the same arguments.
        unsafe { bindings::follow_pfnmap_end(&mut args) };
        Some(entry)
    }
}

/// Faults in the page table entry of the user virtual address `vaddr`, for writing if `write`.
/// `mmap_lock` may be released and taken again meanwhile. Sleeps.
///
/// # Errors
///
/// - `EFAULT` if there is no area at the address, or it does not permit the access.
/// - `EINTR` if the calling task was killed.
/// - `EFAULT`, `ENOMEM` or `EHWPOISON` if the fault handler of the area failed.
#[doc(alias = "fixup_user_fault")]
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
    // SAFETY: The mutable borrow of the guard says that `mmap_lock` is held for reading and that no
    // area is borrowed through it. If the function had to unlock it, it has locked it again.
    to_result(unsafe { bindings::fixup_user_fault(mm.as_raw(), vaddr, flags, &mut unlocked) })
}

/// Returns the user virtual address `vaddr` of the address space `mm` without the tag bits that the
/// hardware ignores.
#[doc(alias = "untagged_addr_remote")]
pub(crate) fn untagged_addr_remote(
    mm: &MmWithUser,
    _locked: &MmapReadGuard<'_>,
    vaddr: usize,
) -> usize {
    // SAFETY: The guard says that `mmap_lock` is held for reading.
    unsafe { bindings::vfio_rs_untagged_addr_remote(mm.as_raw(), vaddr) }
}

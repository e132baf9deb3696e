// SPDX-License-Identifier: GPL-2.0

//! Areas of an address space that consist of frame numbers, without pages (`VM_PFNMAP`).
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

/// What a page table says about an address. It was true while the table was locked.
pub(crate) struct PfnmapEntry {
    /// The page frame at the address.
    pub(crate) pfn: u64,
    /// Addresses that are equal under this mask have the same entry.
    pub(crate) addr_mask: u64,
    /// Whether the user may write.
    pub(crate) writable: bool,
}

impl PfnmapEntry {
    /// Returns the entry for the address `vaddr` of `vma`, or none if it is not filled yet.
    #[doc(alias = "follow_pfnmap_start")]
    pub(crate) fn lookup(vma: &VmaRef, vaddr: usize) -> Option<Self> {
        let mut args = bindings::follow_pfnmap_args {
            vma: vma.as_ptr(),
            address: vaddr,
            ..Default::default()
        };
        // SAFETY: The area is valid and its address space locked, which a `VmaRef` stands for.
        to_result(unsafe { bindings::follow_pfnmap_start(&mut args) }).ok()?;
        let entry = Self {
            pfn: args.pfn as u64,
            addr_mask: args.addr_mask as u64,
            writable: args.writable,
        };
        // SAFETY: Started above.
        unsafe { bindings::follow_pfnmap_end(&mut args) };
        Some(entry)
    }
}

/// Lets the driver of an area fill the page table entry of `vaddr`, for writing if `write`. The
/// lock may be released and taken again meanwhile.
///
/// # Errors
///
/// `EINTR` if the caller was killed; `EFAULT` and others if it cannot be filled.
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
    // SAFETY: The address space is locked, and nobody has an area of it; it is locked again if the
    // function had to unlock it.
    to_result(unsafe { bindings::fixup_user_fault(mm.as_raw(), vaddr, flags, &mut unlocked) })
}

/// Returns the address `vaddr` of another process without the tags that its hardware ignores.
pub(crate) fn untagged_addr_remote(
    mm: &MmWithUser,
    _locked: &MmapReadGuard<'_>,
    vaddr: usize,
) -> usize {
    // SAFETY: The address space is locked.
    unsafe { bindings::vfio_rs_untagged_addr_remote(mm.as_raw(), vaddr) }
}

// SPDX-License-Identifier: GPL-2.0

//! The module parameters.
//!
//! They are declared as parameters in `modinfo.c`, since only C macros can do that. User space can
//! write to them in sysfs at any time, without a lock, so they are atomics, and each function that
//! depends on one reads it once. Contract 8.1.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// The parameter `allow_unsafe_interrupts`.
#[no_mangle]
static vfio_rs_allow_unsafe_interrupts: Atomic<bool> = Atomic::new(false);

/// The parameter `disable_hugepages`.
#[no_mangle]
static vfio_rs_disable_hugepages: Atomic<bool> = Atomic::new(false);

/// The parameter `dma_entry_limit`.
#[no_mangle]
static vfio_rs_dma_entry_limit: Atomic<u32> = Atomic::new(65535);

/// Returns whether groups may be attached whose interrupts are not isolated, so that their devices
/// can raise any interrupt. Read for each attach.
pub(crate) fn allow_unsafe_interrupts() -> bool {
    vfio_rs_allow_unsafe_interrupts.load(Relaxed)
}

/// Returns whether memory is mapped in base pages only, so that the IOMMU uses no huge pages. Read
/// for each mapping that is populated.
pub(crate) fn disable_hugepages() -> bool {
    vfio_rs_disable_hugepages.load(Relaxed)
}

/// Returns the largest number of mappings of a container. Read when the type of a container is set.
pub(crate) fn dma_entry_limit() -> u32 {
    vfio_rs_dma_entry_limit.load(Relaxed)
}

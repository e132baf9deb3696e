// SPDX-License-Identifier: GPL-2.0

//! The module parameters.
//!
//! C declares them (`type1_helpers.c`), because only its macros make them visible in sysfs. It
//! also writes them, at any time and without a lock, so they are atomics; each is read once where
//! it matters.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Users may have devices whose interrupts are not isolated.
#[no_mangle]
static vfio_rs_allow_unsafe_interrupts: Atomic<bool> = Atomic::new(false);

/// Only base pages go into the page tables of the IOMMU.
#[no_mangle]
static vfio_rs_disable_hugepages: Atomic<bool> = Atomic::new(false);

/// The most mappings that a container can have.
#[no_mangle]
static vfio_rs_dma_entry_limit: Atomic<u32> = Atomic::new(65535);

/// Whether users may have devices whose interrupts are not isolated. Read at each attach.
pub(crate) fn allow_unsafe_interrupts() -> bool {
    vfio_rs_allow_unsafe_interrupts.load(Relaxed)
}

/// Whether only base pages go into the page tables. Read at each map.
pub(crate) fn disable_hugepages() -> bool {
    vfio_rs_disable_hugepages.load(Relaxed)
}

/// The most mappings that a container can have. Read when the IOMMU type is set.
pub(crate) fn dma_entry_limit() -> u32 {
    vfio_rs_dma_entry_limit.load(Relaxed)
}

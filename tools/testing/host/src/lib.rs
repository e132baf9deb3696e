// SPDX-License-Identifier: GPL-2.0

//! The pure logic of `vfio.ko` and `vfio_iommu_type1.ko`, compiled for the host.
//!
//! The files are the ones that the modules are built from. Their unit tests run here as they are;
//! `tests/` compares them with naive models on random input. What is compiled here cannot use the
//! kernel, cannot allocate and cannot contain `unsafe`, which is how those rules are enforced.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// The modules, in alphabetical order.
#[path = "../../../../rust_vfio/logic"]
pub mod logic {
    pub mod account;
    pub mod argsz;
    pub mod caps;
    pub mod combine;
    pub mod dirty;
    pub mod features;
    pub mod fsm;
    pub mod iova_ranges;
    pub mod irqs;
    pub mod logging;
    pub mod runs;
    pub mod units;
    pub mod unmap_plan;
}

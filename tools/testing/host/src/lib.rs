// SPDX-License-Identifier: GPL-2.0

//! The pure logic of `vfio.ko`, `vfio_iommu_type1.ko` and the crate `vfio`, compiled for the host.
//!
//! The files are the ones that modules are built from. Their unit tests run here as they are;
//! `tests/` compares them with naive models on random input. What is compiled here cannot use the
//! kernel, cannot allocate and cannot contain `unsafe`, which is how those rules are enforced.

#![no_std]
#![forbid(unsafe_code)]

/// Those of `vfio.ko`.
#[path = "../../../../rust_vfio/logic"]
pub mod logic {
    pub mod argsz;
    pub mod caps;
    pub mod combine;
    pub mod features;
    pub mod fsm;
    pub mod irqs;
    pub mod logging;
}

/// Those of `vfio_iommu_type1.ko`.
#[path = "../../../../rust_vfio/iommu_type1/logic"]
pub mod type1_logic {
    pub mod account;
    pub mod dirty;
    pub mod iova_ranges;
    pub mod runs;
    pub mod units;
    pub mod unmap_plan;
}

/// Those of the crate `vfio`.
#[path = "../../../../rust_vfio/driver/logic"]
pub mod driver_logic {
    pub mod image;
    pub mod irqs;
    pub mod pieces;
    pub mod range;
    pub mod regions;
    pub mod states;
    pub mod words;
}

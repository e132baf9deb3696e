// SPDX-License-Identifier: GPL-2.0
//! Whether VFIO can have a group.
//!
//! The kernel gives a group to one owner at a time. A driver that is bound to a device of
//! it owns it for the kernel, unless the driver leaves DMA to others, which its structure
//! says (`driver_managed_dma`): drivers for VFIO do, and a few that do no DMA. See
//! `iommu_group_claim_dma_owner()` in `drivers/iommu/iommu.c`.

use serde::Serialize;

use crate::{device::Device, group::Group, machine::Machine};

/// Drivers that own no group although VFIO does not know their devices: those with
/// `driver_managed_dma` in Linux 7.3 that are no drivers for VFIO.
const LEAVE_DMA_ALONE: [&str; 2] = ["pci-stub", "pcieport"];

/// A device that keeps its group from VFIO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Blocker {
    /// The name of the device.
    pub(crate) device: String,
    /// The driver that has it.
    pub(crate) driver: String,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has {}", self.driver, self.device)
    }
}

/// Returns the driver by which a device keeps its group from VFIO.
fn blocking_driver(device: &Device) -> Option<&String> {
    device
        .driver
        .as_ref()
        .filter(|driver| device.vfio.is_none() && !LEAVE_DMA_ALONE.contains(&driver.as_str()))
}

/// Returns the devices that keep a group from VFIO: none if it is viable.
pub(crate) fn blockers(machine: &Machine, group: &Group) -> Vec<Blocker> {
    // Emulated devices do no DMA, and without an IOMMU nothing is protected.
    if group.has_no_iommu() {
        return Vec::new();
    }
    machine
        .members(group)
        .filter_map(|device| {
            Some(Blocker {
                device: device.name.clone(),
                driver: blocking_driver(device)?.clone(),
            })
        })
        .collect()
}

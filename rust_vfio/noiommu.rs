// SPDX-License-Identifier: GPL-2.0

//! Devices that no IOMMU protects memory from: the module parameter, and what using it costs.
//!
//! Contract sections 1.6, 7.3 and 8.1.

use kernel::prelude::*;
#[cfg(CONFIG_VFIO_NOIOMMU)]
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

#[cfg(CONFIG_VFIO_GROUP)]
use crate::views::group_type::GroupType;
use crate::{
    kernel::task,
    views::device::Device, //
};

/// The module parameter `enable_unsafe_noiommu_mode`, which C declares and sysfs writes.
#[cfg(CONFIG_VFIO_NOIOMMU)]
#[no_mangle]
static vfio_rs_noiommu: Atomic<bool> = Atomic::new(false);

/// Whether the administrator wants such devices to be handed out.
#[cfg(any(CONFIG_VFIO_NOIOMMU, CONFIG_VFIO_GROUP))]
pub(crate) fn is_enabled() -> bool {
    #[cfg(CONFIG_VFIO_NOIOMMU)]
    return vfio_rs_noiommu.load(Relaxed);
    #[cfg(not(CONFIG_VFIO_NOIOMMU))]
    false
}

/// Checks that the caller may use a group of this kind: one whose DMA nothing translates needs
/// `CAP_SYS_RAWIO`.
///
/// # Errors
///
/// `EPERM`.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) fn check_rawio(kind: GroupType) -> Result {
    match kind {
        GroupType::NoIommu if !task::capable_rawio() => Err(EPERM),
        _ => Ok(()),
    }
}

/// Tells the world that such a device was handed out.
pub(crate) fn taint(device: &Device) {
    task::taint_user();
    dev_warn!(
        device.bus_device(),
        "vfio-noiommu: the kernel is tainted, a user can make this device write to any memory\n",
    );
}

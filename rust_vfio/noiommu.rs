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

use crate::{
    ffi::{
        device::Device,
        task, //
    },
    group, //
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

/// Whether no IOMMU is in front of the device, which has a group already.
pub(crate) fn is_device(device: &Device) -> bool {
    group::is_noiommu(device) || (cfg!(CONFIG_IOMMUFD_NOIOMMU) && device.is_marked_noiommu())
}

/// Tells the world that such a device was handed out.
pub(crate) fn taint(device: &Device) {
    task::taint_user();
    dev_warn!(
        device.bus_device(),
        "vfio-noiommu: the kernel is tainted, a user can make this device write to any memory\n",
    );
}

// SPDX-License-Identifier: GPL-2.0

//! Devices whose DMA no IOMMU translates: the module parameter that allows them, the capability
//! that their users need, and the taint of the kernel.
//!
//! The parameter is an atomic, which sysfs may change at any time.
//!
//! Corresponds to `vfio_noiommu` in `drivers/vfio/vfio_main.c`; contract 1.6, 7.3 and 8.1.

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
    refusal::Refusal,
    views::device::Device, //
};

/// The module parameter `enable_unsafe_noiommu_mode`, which `exports/modinfo.c` declares.
#[cfg(CONFIG_VFIO_NOIOMMU)]
#[no_mangle]
static vfio_rs_noiommu: Atomic<bool> = Atomic::new(false);

/// Returns whether the administrator allows such devices now.
#[cfg(any(CONFIG_VFIO_NOIOMMU, CONFIG_VFIO_GROUP))]
pub(crate) fn is_enabled() -> bool {
    #[cfg(CONFIG_VFIO_NOIOMMU)]
    return vfio_rs_noiommu.load(Relaxed);
    #[cfg(not(CONFIG_VFIO_NOIOMMU))]
    false
}

/// Checks that the calling task may use a group of this kind.
///
/// # Errors
///
/// `EPERM` if nothing translates the group's DMA and the task lacks `CAP_SYS_RAWIO`.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) fn check_rawio(kind: GroupType) -> Result {
    match kind {
        GroupType::NoIommu if !task::capable_rawio() => Err(Refusal::RawIo.report(EPERM)),
        _ => Ok(()),
    }
}

/// Taints the kernel and warns in the log, because such a device becomes available to user space.
pub(crate) fn taint(device: &Device) {
    task::taint_user();
    dev_warn!(
        device.bus_device(),
        "vfio-noiommu: the kernel is tainted, a user can make this device write to any memory\n",
    );
}

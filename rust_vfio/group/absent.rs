// SPDX-License-Identifier: GPL-2.0

//! What is left of groups in a kernel without them: every device is on its own.

use kernel::prelude::*;

use crate::{
    kernel::module::ModuleInit,
    views::{
        device::Device,
        group_type::GroupType, //
    },
};

/// There is nothing to set up.
pub(crate) struct Groups(());

impl Groups {
    /// Sets nothing up.
    pub(crate) fn init(_: &ModuleInit) -> Result<Self> {
        Ok(Self(()))
    }
}

/// Nothing to join.
pub(crate) fn join(_device: &Device, _kind: GroupType) -> Result {
    Ok(())
}

/// Leaves nothing.
///
/// # Safety
///
/// None; the function looks like its counterpart.
pub(crate) unsafe fn leave(_device: &Device) {}

/// No group to be found in.
pub(crate) fn link(_device: &Device) {}

/// No group to be found in.
pub(crate) fn unlink(_device: &Device) {}

/// Returns whether nothing translates the DMA of a device, which says so by itself.
pub(crate) fn is_noiommu(device: &Device) -> bool {
    cfg!(CONFIG_IOMMUFD_NOIOMMU) && device.is_marked_noiommu()
}

/// There is no file to keep from being opened.
pub(crate) struct Blocked(());

/// Nothing to block.
pub(crate) fn block(_device: &Device) -> Result<Blocked> {
    Ok(Blocked(()))
}

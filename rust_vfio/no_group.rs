// SPDX-License-Identifier: GPL-2.0

//! What is left of groups in a kernel without them: every device is on its own.

use kernel::prelude::*;

use crate::ffi::{
    device::Device,
    group_kind::GroupKind, //
};

/// There is nothing to set up.
pub(crate) struct Groups(());

impl Groups {
    /// Sets nothing up.
    ///
    /// # Safety
    ///
    /// None; the function looks like its counterpart.
    pub(crate) unsafe fn init() -> Result<Self> {
        Ok(Self(()))
    }
}

/// Nothing to join.
pub(crate) fn join(_device: &Device, _kind: GroupKind) -> Result {
    Ok(())
}

/// Nothing to leave.
pub(crate) fn leave(_device: &Device) {}

/// No group to be found in.
pub(crate) fn link(_device: &Device) {}

/// No group to be found in.
pub(crate) fn unlink(_device: &Device) {}

/// Such groups do not exist; a device says by itself whether it lacks an IOMMU.
pub(crate) fn is_noiommu(_device: &Device) -> bool {
    false
}

/// There is no file to keep from being opened.
pub(crate) struct Blocked(());

/// Nothing to block.
pub(crate) fn block(_device: &Device) -> Result<Blocked> {
    Ok(Blocked(()))
}

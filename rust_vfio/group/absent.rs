// SPDX-License-Identifier: GPL-2.0

//! The functions of `group.rs` in a kernel without groups. They take no lock.
//!
//! Corresponds to the `#else` branch of `CONFIG_VFIO_GROUP` in `drivers/vfio/vfio.h`.

use core::marker::PhantomData;

use kernel::prelude::*;

use crate::{
    kernel::{
        module::ModuleInit,
        task::TaskName, //
    },
    views::{
        device::Device,
        group_type::GroupType, //
    },
};

/// The place of what the group layer sets up, which is nothing.
pub(crate) struct Groups(());

impl Groups {
    /// Returns the empty value.
    ///
    /// # Errors
    ///
    /// None.
    pub(crate) fn init(_: &ModuleInit) -> Result<Self> {
        Ok(Self(()))
    }
}

/// Does nothing: there is no group to join.
pub(crate) fn join(_device: &Device, _kind: GroupType) -> Result {
    Ok(())
}

/// Does nothing: there is no group to leave.
///
/// # Safety
///
/// There are no safety requirements. The function is unsafe because its counterpart is.
pub(crate) unsafe fn leave(_device: &Device) {}

/// Does nothing: there is no group whose list the device could join.
pub(crate) fn link(_device: &Device) {}

/// Does nothing: there is no group whose list the device could be on.
pub(crate) fn unlink(_device: &Device) {}

/// Returns whether nothing translates the DMA of a device, which registration has marked then.
pub(crate) fn is_noiommu(device: &Device) -> bool {
    cfg!(CONFIG_IOMMUFD_NOIOMMU) && device.is_marked_noiommu()
}

/// Returns none: nobody knows who uses the device.
pub(crate) fn user_of(_device: &Device) -> Option<TaskName> {
    None
}

/// The place of what keeps a group's file from being opened, which is nothing.
pub(crate) struct Blocked<'a>(PhantomData<&'a Device>);

/// Returns the empty value: there is no file to keep from being opened.
pub(crate) fn block(_device: &Device) -> Result<Blocked<'_>> {
    Ok(Blocked(PhantomData))
}

impl<'a> Blocked<'a> {
    /// Does nothing.
    pub(crate) fn keep(self) {}

    /// Returns the empty value.
    pub(crate) fn kept(_device: &'a Device) -> Self {
        Self(PhantomData)
    }
}

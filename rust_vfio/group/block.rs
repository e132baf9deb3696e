// SPDX-License-Identifier: GPL-2.0

//! While a file of a device's own node is bound to an iommufd, the group's file cannot be opened.
//!
//! Corresponds to `vfio_device_block_group()` and `vfio_device_unblock_group()`.

use core::num::NonZeroUsize;

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    group::state::{
        Group,
        Users, //
    },
    views::device::Device, //
};

/// Keeps the group's file from being opened, for a file of a device's own node.
pub(crate) struct Blocked(ARef<Group>);

/// Blocks the group of a device.
///
/// # Errors
///
/// `EBUSY` if the group's file is open, `ENODEV` if the device has no group.
pub(crate) fn block(device: &Device) -> Result<Blocked> {
    let group = Group::of(device).ok_or(ENODEV)?;
    let mut state = group.state.lock();
    let files = match state.users {
        Users::GroupFile(_) => return Err(EBUSY),
        Users::Nobody => NonZeroUsize::MIN,
        Users::NodeFiles(files) => files.checked_add(1).ok_or(EMFILE)?,
    };
    state.users = Users::NodeFiles(files);
    Ok(Blocked(group.into()))
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if let Users::NodeFiles(files) = state.users {
            state.users = match NonZeroUsize::new(files.get() - 1) {
                Some(files) => Users::NodeFiles(files),
                None => Users::Nobody,
            };
        }
    }
}

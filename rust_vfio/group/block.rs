// SPDX-License-Identifier: GPL-2.0

//! Keeping a group's file from being opened while the cdev of one of its devices is bound to an
//! iommufd.
//!
//! Lock: the group's, of whose state the number of bound files is a part.
//!
//! Corresponds to `vfio_device_block_group()` and `vfio_device_unblock_group()`.

use core::num::NonZeroUsize;

use kernel::prelude::*;

use crate::{
    group::state::{
        Group,
        Users, //
    },
    kernel::task::TaskName,
    refusal::Refusal,
    views::device::Device, //
};

/// Keeps the file of the device's group from being opened, for a file of the device's cdev that is
/// bound. Dropping it takes the group's lock and may sleep.
pub(crate) struct Blocked<'a>(&'a Device);

/// Keeps the file of the device's group from being opened until the result is dropped. Takes the
/// group's lock. Sleeps.
///
/// # Errors
///
/// - `ENODEV` if the device has no group, because it is not registered.
/// - `EBUSY` if the group's file is open.
/// - `EMFILE` if there are too many bound files to count.
#[doc(alias = "vfio_device_block_group")]
pub(crate) fn block(device: &Device) -> Result<Blocked<'_>> {
    let group = Group::of(device).ok_or(ENODEV)?;
    let mut state = group.state.lock();
    let files = match &state.users {
        Users::GroupFile(_, by) => {
            let group = state.number();
            return Err(Refusal::GroupOpen { group, by }.report(EBUSY));
        }
        Users::Nobody => NonZeroUsize::MIN,
        Users::CdevFiles(files, _) => files.checked_add(1).ok_or(EMFILE)?,
    };
    state.users = Users::CdevFiles(files, TaskName::current());
    Ok(Blocked(device))
}

impl<'a> Blocked<'a> {
    /// Leaves the group as it is. The caller has to call [`Blocked::kept`] later, as long as the
    /// device is registered.
    pub(crate) fn keep(self) {
        core::mem::forget(self);
    }

    /// Returns what [`Blocked::keep`] has left.
    pub(crate) fn kept(device: &'a Device) -> Self {
        Self(device)
    }
}

impl Drop for Blocked<'_> {
    /// Undoes [`block`].
    #[doc(alias = "vfio_device_unblock_group")]
    fn drop(&mut self) {
        let Some(group) = Group::of(self.0) else {
            return;
        };
        let mut state = group.state.lock();
        if let Users::CdevFiles(files, by) = state.users {
            state.users = match NonZeroUsize::new(files.get() - 1) {
                Some(files) => Users::CdevFiles(files, by),
                None => Users::Nobody,
            };
        }
    }
}

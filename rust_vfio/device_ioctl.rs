// SPDX-License-Identifier: GPL-2.0

//! What all files of devices answer alike, whether they came from a group or from a node.
//!
//! Nearly everything is passed on to the driver. The core answers GET_REGION_INFO and the feature
//! ioctl, and keeps the device powered during an ioctl. No lock is held while a driver runs: it
//! serialises itself (contract 2.3).
//!
//! Corresponds to `vfio_device_fops_unl_ioctl()`; contract section 3.3.

use kernel::prelude::*;

use crate::{
    kernel::uaccess::UserAddr,
    uapi::ioctls,
    views::device::Device, //
};

pub(crate) mod bind_request;
mod features;
mod region_info;

/// An ioctl of a device that is open, and that `Awake` keeps powered.
///
/// # Errors
///
/// As the request says, or the driver.
#[inline]
pub(crate) fn ioctl(device: &Device, cmd: u32, arg: UserAddr) -> Result<isize> {
    match cmd {
        ioctls::VFIO_DEVICE_FEATURE => features::ioctl(device, arg),
        ioctls::VFIO_DEVICE_GET_REGION_INFO => region_info::ioctl(device, arg),
        _ => device.driver_ioctl(cmd, arg),
    }
}

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
    core::{
        features,
        region_info, //
    },
    ffi::{
        device::Device,
        uapi::UserAddr, //
    },
    uapi, //
};

/// An ioctl of a device that is open, and that `Awake` keeps powered.
///
/// # Errors
///
/// As the request says, or the driver.
#[inline]
pub(crate) fn ioctl(device: &Device, cmd: u32, arg: UserAddr) -> Result<isize> {
    match cmd {
        uapi::VFIO_DEVICE_FEATURE => features::ioctl(device, arg),
        uapi::VFIO_DEVICE_GET_REGION_INFO => region_info::ioctl(device, arg),
        _ => device.driver_ioctl(cmd, arg),
    }
}

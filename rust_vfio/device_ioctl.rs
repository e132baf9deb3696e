// SPDX-License-Identifier: GPL-2.0

//! The ioctls that all files of devices have in common, whether they were opened through a group or
//! as a cdev.
//!
//! Nearly all are passed on to the driver. The core handles GET_REGION_INFO and part of the feature
//! ioctl. No lock is held while a driver runs: it serialises itself (contract 2.3).
//!
//! Corresponds to `vfio_device_fops_unl_ioctl()` in `drivers/vfio/vfio_main.c`; contract 3.3.

use kernel::prelude::*;

use crate::{
    kernel::{
        returned::Failure,
        uaccess::UserAddr, //
    },
    uapi::ioctls,
    views::device::Device, //
};

pub(crate) mod bind_request;
mod features;
mod region_info;

/// Handles an ioctl of an open device, which the caller keeps powered. Holds no lock. Sleeps.
///
/// # Errors
///
/// - Those of [`features::ioctl`] for VFIO_DEVICE_FEATURE.
/// - Those of [`region_info::ioctl`] for VFIO_DEVICE_GET_REGION_INFO.
/// - `EINVAL` for other requests if the driver has no `ioctl`.
/// - Any failure of the driver's `ioctl`.
#[doc(alias = "vfio_device_fops_unl_ioctl")]
#[inline]
pub(crate) fn ioctl(device: &Device, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
    match cmd {
        ioctls::VFIO_DEVICE_FEATURE => features::ioctl(device, arg),
        ioctls::VFIO_DEVICE_GET_REGION_INFO => region_info::ioctl(device, arg),
        _ => device.driver_ioctl(cmd, arg),
    }
}

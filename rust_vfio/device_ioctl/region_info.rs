// SPDX-License-Identifier: GPL-2.0

//! VFIO_DEVICE_GET_REGION_INFO: the driver describes a region, the core copies the description and
//! the capabilities that follow it to user space. No lock is held.
//!
//! Corresponds to `vfio_get_region_info()` in `drivers/vfio/vfio_main.c`; contract 3.3.

use core::mem::size_of;

use kernel::prelude::*;

use crate::{
    core::info_caps::CapBuffer,
    kernel::{
        returned::Failure,
        uaccess::UserAddr, //
    },
    uapi::structs::{
        RegionInfo,
        REGION_INFO_FLAG_CAPS, //
    },
    views::device::Device, //
};

/// Handles VFIO_DEVICE_GET_REGION_INFO. Returns 0.
///
/// # Errors
///
/// - `EINVAL` if the driver has no `get_region_info_caps`.
/// - `EFAULT` if the request cannot be read.
/// - `EINVAL` if `argsz` is less than the 32 bytes of the structure.
/// - Any failure of the driver's `get_region_info_caps`.
/// - `EFAULT` if the capabilities or the structure cannot be written.
#[doc(alias = "vfio_get_region_info")]
#[inline(never)] // Keeps the code for requests that the driver handles short.
pub(crate) fn ioctl(device: &Device, arg: UserAddr) -> Result<isize, Failure> {
    const SIZE: usize = size_of::<RegionInfo>();

    if !device.driver_has_region_info() {
        return Err(EINVAL.into());
    }
    let mut info = arg.read::<RegionInfo>()?;
    let room = usize::try_from(info.argsz)?;
    if room < SIZE {
        return Err(EINVAL.into());
    }

    let mut caps = CapBuffer::new();
    device.driver_region_info(&mut info, &mut caps)?;
    if caps.len() > 0 {
        info.flags |= REGION_INFO_FLAG_CAPS;
        // `argsz` is read again because the driver may have changed it.
        let room = usize::try_from(info.argsz)?;
        let needed = SIZE.checked_add(caps.len()).ok_or(EINVAL)?;
        if room < needed {
            // User space learns how many bytes it needs.
            info.argsz = u32::try_from(needed)?;
            info.cap_offset = 0;
        } else {
            caps.shift(SIZE);
            arg.offset(SIZE).write_bytes(caps.bytes())?;
            info.cap_offset = u32::try_from(SIZE)?;
        }
    }
    arg.write(&info)?;
    Ok(0)
}

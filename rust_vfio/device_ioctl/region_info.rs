// SPDX-License-Identifier: GPL-2.0

//! VFIO_DEVICE_GET_REGION_INFO: the driver describes a region, the core hands out the description
//! and the capabilities behind it.
//!
//! Corresponds to `vfio_get_region_info()`; contract section 3.3.

use core::mem::size_of;

use kernel::prelude::*;

use crate::{
    core::info_caps::CapBuffer,
    kernel::uaccess::UserAddr,
    uapi::structs::{
        RegionInfo,
        REGION_INFO_FLAG_CAPS, //
    },
    views::device::Device, //
};

/// Answers the ioctl. Always 0 on success.
///
/// # Errors
///
/// `EINVAL` if the driver has no regions or `argsz` is short, `EFAULT`, the driver's errno.
#[inline(never)] // Keeps the path of what is only passed on short.
pub(crate) fn ioctl(device: &Device, arg: UserAddr) -> Result<isize> {
    const SIZE: usize = size_of::<RegionInfo>();

    if !device.driver_has_region_info() {
        return Err(EINVAL);
    }
    let mut info = arg.read::<RegionInfo>()?;
    let room = usize::try_from(info.argsz)?;
    if room < SIZE {
        return Err(EINVAL);
    }

    let mut caps = CapBuffer::new();
    device.driver_region_info(&mut info, &mut caps)?;
    if caps.len() > 0 {
        info.flags |= REGION_INFO_FLAG_CAPS;
        // The driver may have changed what the caller said; user space sees the driver's word.
        let room = usize::try_from(info.argsz)?;
        let needed = SIZE.checked_add(caps.len()).ok_or(EINVAL)?;
        if room < needed {
            // The caller learns how much to bring next time.
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

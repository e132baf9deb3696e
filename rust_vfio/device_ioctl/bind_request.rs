// SPDX-License-Identifier: GPL-2.0

//! The argument of BIND_IOMMUFD. It is checked for all files of devices, although only those of a
//! cdev can be bound.
//!
//! There is no lock: a request lives as long as one ioctl.
//!
//! Corresponds to the first part of `vfio_df_ioctl_bind_iommufd()` in
//! `drivers/vfio/device_cdev.c`; contract 3.5.

use kernel::prelude::*;

use crate::kernel::uaccess::UserAddr;
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::{
    logic::argsz,
    uapi::structs::{
        BindIommufd,
        BIND_FLAG_TOKEN, //
    }, //
};
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use core::mem::offset_of;

/// A request to bind a device to an iommufd.
pub(crate) struct BindRequest {
    /// The user address of the request.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    arg: UserAddr,
    /// The file descriptor of the iommufd.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) iommufd: i32,
    /// The user address of the token, if there is one.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) token: Option<UserAddr>,
}

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
impl BindRequest {
    /// Reads the request at the user address `arg`. The first 16 bytes, up to the device id, are
    /// mandatory.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if `argsz` cannot be read.
    /// - `EINVAL` if `argsz` is less than 16.
    /// - `E2BIG` if it is more than 24, and a byte behind the first 24 is not zero.
    /// - `EFAULT` if the request cannot be read.
    /// - `EINVAL` if the file descriptor is negative or there is an unknown flag.
    /// - `EINVAL` if the address of the token does not fit into an address of this kernel.
    #[inline]
    pub(crate) fn read(arg: UserAddr) -> Result<Self> {
        const MANDATORY: u32 = offset_of!(BindIommufd, token_uuid_ptr) as u32;

        let argsz = arg.read::<u32>()?;
        argsz::behind(argsz, MANDATORY).map_err(|_| EINVAL)?;
        let request = arg.read_extensible::<BindIommufd>(usize::try_from(argsz)?)?;
        if request.iommufd < 0 || request.flags & !BIND_FLAG_TOKEN != 0 {
            return Err(EINVAL);
        }
        let token = match request.flags & BIND_FLAG_TOKEN {
            0 => None,
            _ => Some(UserAddr::new(usize::try_from(request.token_uuid_ptr)?)),
        };
        Ok(Self {
            arg,
            iommufd: request.iommufd,
            token,
        })
    }

    /// Writes the id of the device in the iommufd to the request.
    ///
    /// # Errors
    ///
    /// `EFAULT` if user memory cannot be written.
    pub(crate) fn write_device_id(&self, id: u32) -> Result {
        self.arg
            .offset(offset_of!(BindIommufd, out_devid))
            .write(&id)
    }
}

#[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
impl BindRequest {
    /// Refuses the request, since this kernel has no cdevs.
    ///
    /// # Errors
    ///
    /// `ENOTTY`, always.
    pub(crate) fn read(_arg: UserAddr) -> Result<Self> {
        Err(ENOTTY)
    }
}

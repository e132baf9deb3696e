// SPDX-License-Identifier: GPL-2.0

//! BIND_IOMMUFD, as far as it is the same for all files of devices: only those of a node can be
//! bound, but the argument is looked at first.
//!
//! Contract section 3.5.

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

/// A request to bind.
pub(crate) struct BindRequest {
    /// Where the request is in user memory.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    arg: UserAddr,
    /// The descriptor of the iommufd.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) iommufd: i32,
    /// Where the token is in user memory, if the user has one.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) token: Option<UserAddr>,
}

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
impl BindRequest {
    /// Reads the request, of which the part up to the id is mandatory.
    ///
    /// # Errors
    ///
    /// `EFAULT`; `EINVAL` if it is short or makes no sense; `E2BIG` if it has what is not known
    /// here.
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

    /// Tells the user the id of the device in the iommufd.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(crate) fn write_device_id(&self, id: u32) -> Result {
        self.arg
            .offset(offset_of!(BindIommufd, out_devid))
            .write(&id)
    }
}

#[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
impl BindRequest {
    /// No file can be bound.
    ///
    /// # Errors
    ///
    /// `ENOTTY`.
    pub(crate) fn read(_arg: UserAddr) -> Result<Self> {
        Err(ENOTTY)
    }
}

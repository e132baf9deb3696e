// SPDX-License-Identifier: GPL-2.0

//! VFIO_DEVICE_FEATURE: optional abilities of a device behind one ioctl.
//!
//! The core checks the envelope and knows the features that have to do with migration
//! (`migration.rs`); every other one goes to the driver. Nothing is locked: drivers serialise.
//!
//! Corresponds to `vfio_ioctl_device_feature()`; contract sections 5.5 and 5.6.

use kernel::prelude::*;

use crate::{
    ffi::{
        device::Device,
        feature_structs::{
            self as uapi,
            Feature, //
        },
        uapi::UserAddr, //
    },
    logic::{
        argsz,
        features::{
            Access,
            Operation,
            Request,
            HEADER, //
        }, //
    },
    migration, //
};

/// A request for one feature: what is to be done, and where its data is.
pub(crate) struct Call {
    request: Request,
    data: UserAddr,
    len: usize,
}

impl Call {
    /// Where the data is in user memory.
    pub(crate) fn data(&self) -> UserAddr {
        self.data
    }

    /// Decides what to do with a feature that allows `access` and has `needed` bytes of data.
    ///
    /// # Errors
    ///
    /// `EINVAL`; see [`Request::check`].
    #[doc(alias = "vfio_check_feature")]
    pub(crate) fn check(&self, access: Access, needed: usize) -> Result<Operation> {
        let operation = self.request.check(access, self.len, needed);
        operation.map_err(|_| EINVAL)
    }
}

/// Answers the ioctl. A driver may return more than 0: a file descriptor, for one.
///
/// # Errors
///
/// `EFAULT`; `EINVAL` if `argsz` is short or the flags make no sense, for this feature or at all;
/// `ENOTTY` if the device does not have the feature; what the driver returned.
#[inline(never)] // Keeps the path of what is only passed on short.
pub(crate) fn ioctl(device: &Device, arg: UserAddr) -> Result<isize> {
    let feature = arg.read::<Feature>()?;
    let len = argsz::behind(feature.argsz, HEADER).map_err(|_| EINVAL)?;
    let call = Call {
        request: Request::parse(feature.flags).map_err(|_| EINVAL)?,
        data: arg.offset(usize::try_from(HEADER)?),
        len: usize::try_from(len)?,
    };
    match call.request.index() {
        uapi::MIGRATION => migration::get_flags(device, &call)?,
        uapi::MIG_DEVICE_STATE => migration::state(device, &call)?,
        uapi::MIG_DATA_SIZE => migration::data_size(device, &call)?,
        uapi::MIG_PRECOPY_INFO_V2 => migration::opt_in_to_precopy_info_v2(device, &call)?,
        uapi::DMA_LOGGING_START => migration::logging::start(device, &call)?,
        uapi::DMA_LOGGING_STOP => migration::logging::stop(device, &call)?,
        uapi::DMA_LOGGING_REPORT => migration::logging::report(device, &call)?,
        _ => return device.driver_feature(call.request.flags(), call.data, call.len),
    }
    Ok(0)
}

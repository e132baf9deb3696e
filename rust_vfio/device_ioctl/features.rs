// SPDX-License-Identifier: GPL-2.0

//! VFIO_DEVICE_FEATURE: optional abilities of a device behind one ioctl.
//!
//! The core checks the envelope and knows the features that have to do with migration
//! (`migration.rs`); every other one goes to the driver. Nothing is locked: drivers serialise.
//!
//! Corresponds to `vfio_ioctl_device_feature()`; contract sections 5.5 and 5.6.

use kernel::prelude::*;

use crate::{
    core::feature_call::FeatureCall,
    kernel::uaccess::UserAddr,
    migration,
    uapi::feature::{
        self,
        Feature, //
    },
    views::device::Device, //
};

/// Answers the ioctl. A driver may return more than 0: a file descriptor, for one.
///
/// # Errors
///
/// `EFAULT`; `EINVAL` if `argsz` is short or the flags make no sense, for this feature or at all;
/// `ENOTTY` if the device does not have the feature; what the driver returned.
#[inline(never)] // Keeps the path of what is only passed on short.
pub(crate) fn ioctl(device: &Device, arg: UserAddr) -> Result<isize> {
    let header = arg.read::<Feature>()?;
    let call = FeatureCall::new(header.argsz, header.flags, arg)?;
    match call.index() {
        feature::MIGRATION => migration::get_flags(device, &call)?,
        feature::MIG_DEVICE_STATE => migration::state(device, &call)?,
        feature::MIG_DATA_SIZE => migration::data_size(device, &call)?,
        feature::MIG_PRECOPY_INFO_V2 => migration::opt_in_to_precopy_info_v2(device, &call)?,
        feature::DMA_LOGGING_START => migration::logging::start(device, &call)?,
        feature::DMA_LOGGING_STOP => migration::logging::stop(device, &call)?,
        feature::DMA_LOGGING_REPORT => migration::logging::report(device, &call)?,
        _ => return device.driver_feature(call.flags(), call.data(), call.len()),
    }
    Ok(0)
}

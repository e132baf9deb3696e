// SPDX-License-Identifier: GPL-2.0

//! VFIO_DEVICE_FEATURE: one ioctl for the optional features of a device.
//!
//! The core checks the header and handles the features of migration (`migration.rs`); all others
//! are the driver's. A feature that the core is to handle is added to [`ioctl`]. No lock is held:
//! drivers serialise their callbacks.
//!
//! Corresponds to `vfio_ioctl_device_feature()` in `drivers/vfio/vfio_main.c`; contract 5.5 and
//! 5.6.

use kernel::prelude::*;

use crate::{
    core::feature_call::FeatureCall,
    kernel::{
        returned::Failure,
        uaccess::UserAddr, //
    },
    migration,
    trace,
    uapi::feature::{
        self,
        Feature, //
    },
    views::device::Device, //
};

/// Handles VFIO_DEVICE_FEATURE. Returns 0, or what the driver returns for a feature of its own, for
/// instance a file descriptor.
///
/// # Errors
///
/// - `EFAULT` if the header cannot be read.
/// - `EINVAL` if `argsz` is less than the 8 bytes of the header.
/// - `EINVAL` if there is an unknown flag, or the flags ask to read and to write at once.
/// - For a feature of migration, those of its function, which begin with `ENOTTY` if the device
///   lacks the feature and `EINVAL` if it does not allow the operation.
///   VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 says `EINVAL` in both cases.
/// - `ENOTTY` for any other feature if the driver has no `device_feature`.
/// - Any failure of the driver's `device_feature`.
#[doc(alias = "vfio_ioctl_device_feature")]
#[inline(never)] // Keeps the code for requests that the driver handles short.
pub(crate) fn ioctl(device: &Device, arg: UserAddr) -> Result<isize, Failure> {
    let header = arg.read::<Feature>()?;
    let result = FeatureCall::new(header.argsz, header.flags, arg)
        .map_err(Failure::from)
        .and_then(|call| handle(device, &call));
    trace::feature(device.bus_device(), header.flags, &result);
    result
}

/// Handles the feature that `call` names.
///
/// # Errors
///
/// Those of [`ioctl`] from the features of migration on.
fn handle(device: &Device, call: &FeatureCall) -> Result<isize, Failure> {
    match call.index() {
        feature::MIGRATION => migration::get_flags(device, call)?,
        feature::MIG_DEVICE_STATE => migration::state(device, call)?,
        feature::MIG_DATA_SIZE => migration::data_size(device, call)?,
        feature::MIG_PRECOPY_INFO_V2 => migration::opt_in_to_precopy_info_v2(device, call)?,
        feature::DMA_LOGGING_START => migration::logging::start(device, call)?,
        feature::DMA_LOGGING_STOP => migration::logging::stop(device, call)?,
        feature::DMA_LOGGING_REPORT => migration::logging::report(device, call)?,
        _ => return device.driver_feature(call.flags(), call.data(), call.len()),
    }
    Ok(0)
}

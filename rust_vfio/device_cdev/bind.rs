// SPDX-License-Identifier: GPL-2.0

//! BIND_IOMMUFD: opens a device for a file of its cdev and binds it to an iommufd.
//!
//! Locks, outer first: `binding` of the file, the group's for a moment, that of the device's set.
//!
//! Corresponds to `vfio_df_ioctl_bind_iommufd()` in `drivers/vfio/device_cdev.c`; contract 3.5.
//!
//! Deviation: a second file of an open device is refused before anything of KVM is touched. C
//! replaces or drops the reference to the virtual machine that the first file took.

use kernel::prelude::*;

use crate::{
    core::session::Session,
    device_cdev::cdev_file::{
        CdevBinding,
        CdevFile, //
    },
    device_ioctl::bind_request::BindRequest,
    group,
    iommufd::IommufdBacking,
    kernel::{
        iommu_group::IommuGroup,
        iommufd::IommufdCtx,
        returned::Failure,
        uaccess::UserAddr, //
    },
    refusal::{
        self,
        Refusal, //
    },
    trace,
    views::{
        device::Device,
        driver_iommufd::Token, //
    }, //
};

/// Handles DEVICE_BIND_IOMMUFD. Sleeps.
///
/// # Errors
///
/// - `EFAULT` if `argsz` cannot be read.
/// - `EINVAL` if `argsz` is less than 16.
/// - `E2BIG` if it is more than 24, and a byte behind the first 24 is not zero.
/// - `EFAULT` if the request cannot be read.
/// - `EINVAL` if the file descriptor is negative, or there is a flag other than BIND_FLAG_TOKEN.
/// - `EINVAL` if this file is bound already.
/// - `EBUSY` if the file of the device's group is open.
/// - `EMFILE` if there are too many bound files in the group to count.
/// - `EINVAL` if there is a token, and the driver has no `match_token_uuid`.
/// - `EFAULT` if the token cannot be read.
/// - Any failure of the driver's `match_token_uuid`. vfio-pci: `EACCES` for a wrong or missing
///   token, `EINVAL` for one that it does not expect.
/// - `EBADF` if there is no such file descriptor.
/// - `EBADFD` if the file is no iommufd.
/// - `EINVAL` if another file of the device is bound.
/// - `ENODEV` if the bus driver's module is being unloaded.
/// - Any failure of the driver's `bind_iommufd`. The standard ones are at
///   [`physical::bind`](crate::iommufd::physical::bind).
/// - Any failure of the driver's `open_device`.
/// - `EFAULT` if the device id cannot be written.
#[doc(alias = "vfio_df_ioctl_bind_iommufd")]
#[inline(never)] // Keeps the code for requests that the driver handles short.
pub(super) fn ioctl(file: &CdevFile, arg: UserAddr) -> Result<isize, Failure> {
    let request = BindRequest::read(arg)?;
    let bound = bind(file, &request);
    trace::bind(file.device.bus_device(), request.iommufd, &bound);
    bound.map(|()| 0)
}

/// Opens the device of `file`, and binds it as `request` says.
///
/// # Errors
///
/// Those of [`ioctl`] from "this file is bound already" on.
fn bind(file: &CdevFile, request: &BindRequest) -> Result<(), Failure> {
    let mut binding = file.binding.lock();
    let device: &Device = &file.device;
    if binding.is_some() {
        let device = device.bus_device().name();
        return Err(Refusal::DeviceOpen { device }.report(EINVAL).into());
    }
    let blocked = group::block(device)?;
    let mut open = device.lock_set();
    check_token(device, request)?;
    let ctx = IommufdCtx::from_fd(request.iommufd)?;
    let session = Session::begin(&mut open, &file.kvm, |device| {
        IommufdBacking::new(device, ctx).inspect_err(|failure| report_owner(device, *failure))
    })?;
    if let Err(e) = request.write_device_id(session.backing().id()) {
        session.end(&mut open);
        return Err(e.into());
    }
    open.set_cdev_opened(true);
    *binding = Some(CdevBinding::new(session, blocked));
    file.grant();
    Ok(())
}

/// Reports who owns the DMA of the device, if that is why iommufd does not take it.
fn report_owner(device: &Device, failure: Failure) {
    let error = failure.to_error();
    if error == EPERM || error == EBUSY {
        if let Some(group) = IommuGroup::of(device.bus_device()) {
            refusal::of_claim(&group, error);
        }
    }
}

/// Checks the token by which user space proves that it may use the device, with the driver's
/// `match_token_uuid`. The lock of the device's set is held.
///
/// # Errors
///
/// - `EINVAL` if there is a token, and the driver has no `match_token_uuid`.
/// - `EFAULT` if the token cannot be read.
/// - Any failure of `match_token_uuid`.
#[doc(alias = "vfio_df_check_token")]
fn check_token(device: &Device, request: &BindRequest) -> Result<(), Failure> {
    match request.token {
        Some(_) if !device.driver_wants_token() => Err(EINVAL.into()),
        Some(addr) => device.driver_match_token(Some(&addr.read::<Token>()?)),
        None => device.driver_match_token(None),
    }
}

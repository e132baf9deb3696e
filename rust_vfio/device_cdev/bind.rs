// SPDX-License-Identifier: GPL-2.0

//! BIND_IOMMUFD: opens a device for the file of its node, with an iommufd behind it.
//!
//! Contract section 3.5. Unlike C, a file that comes second does not touch the virtual machine that
//! the device has from the first (contract row R-39).

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
        iommufd::IommufdCtx,
        uaccess::UserAddr, //
    },
    views::{
        device::Device,
        driver_iommufd::Token, //
    }, //
};

/// Answers the ioctl.
///
/// # Errors
///
/// `EFAULT`, `EINVAL`, `E2BIG` as the request is; `EBUSY` if the file of the device's group is
/// open; `EINVAL` if this file or another one is bound; what the driver says to the token; `EBADF`,
/// `EBADFD` if the descriptor is none of an iommufd; what binding and opening returned.
#[inline(never)] // Keeps the path of what is only passed on short.
pub(super) fn ioctl(file: &CdevFile, arg: UserAddr) -> Result<isize> {
    let request = BindRequest::read(arg)?;
    let mut binding = file.binding.lock();
    if binding.is_some() {
        return Err(EINVAL);
    }
    let device: &Device = &file.device;
    let blocked = group::block(device)?;
    let mut open = device.lock_set();
    check_token(device, &request)?;
    let ctx = IommufdCtx::from_fd(request.iommufd)?;
    let session = Session::begin(&mut open, &file.kvm, |device| {
        IommufdBacking::new(device, ctx)
    })?;
    if let Err(e) = request.write_device_id(session.backing().id()) {
        session.end(&mut open);
        return Err(e);
    }
    open.set_cdev_opened(true);
    *binding = Some(CdevBinding { session, blocked });
    file.grant();
    Ok(0)
}

/// Whether the caller has proved that it may use the device, if the driver wants it to.
fn check_token(device: &Device, request: &BindRequest) -> Result {
    match request.token {
        Some(_) if !device.driver_wants_token() => Err(EINVAL),
        Some(addr) => device.driver_match_token(Some(&addr.read::<Token>()?)),
        None => device.driver_match_token(None),
    }
}

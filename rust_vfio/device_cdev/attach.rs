// SPDX-License-Identifier: GPL-2.0

//! ATTACH_IOMMUFD_PT and DETACH_IOMMUFD_PT: which address space a device uses, or one of its
//! PASIDs.
//!
//! The id that user space passes names an address space or a page table of the iommufd; the driver
//! says which page table is used. What is attached already is replaced.
//!
//! Lock: that of the device's set, around the driver's callbacks and the copy of the answer.
//!
//! Corresponds to `vfio_df_ioctl_attach_pt()` and `vfio_df_ioctl_detach_pt()` in
//! `drivers/vfio/device_cdev.c`; contract 3.5.
//!
//! Deviation: if the answer to ATTACH cannot be written, what the request attached is detached. C
//! detaches what is attached without a PASID, even if the request attached one for a PASID.

use core::mem::offset_of;

use kernel::prelude::*;

use crate::{
    kernel::{
        iommufd::Pasid,
        returned::Failure,
        uaccess::UserAddr, //
    },
    logic::argsz,
    trace,
    uapi::structs::{
        AttachIommufdPt,
        DetachIommufdPt,
        ATTACH_PASID,
        DETACH_PASID, //
    },
    views::device::Device, //
};

/// One of the places of a device to which an address space can be attached.
#[derive(Clone, Copy)]
enum Space {
    /// The one for DMA without a PASID.
    Device,
    /// The one of a PASID.
    Pasid(Pasid),
}

impl Space {
    /// Returns the PASID, if it is one.
    fn pasid(self) -> Option<Pasid> {
        match self {
            Self::Device => None,
            Self::Pasid(pasid) => Some(pasid),
        }
    }

    /// Attaches what has the id `*pt`, and sets `*pt` to the page table that is used. The lock of
    /// the device's set is held.
    fn attach(self, device: &Device, pt: &mut u32) -> Result<(), Failure> {
        match self {
            Self::Device => device.driver_attach(pt),
            Self::Pasid(pasid) => device.driver_attach_pasid(pasid, pt),
        }
    }

    /// Detaches what is attached; undoes [`Space::attach`]. The lock of the device's set is held.
    fn detach(self, device: &Device) {
        match self {
            Self::Device => device.driver_detach(),
            Self::Pasid(pasid) => device.driver_detach_pasid(pasid),
        }
    }
}

/// The part that both requests have in common.
struct PtHeader {
    argsz: u32,
    flags: u32,
    /// The number of bytes of the request without the PASID, which follows.
    mandatory: usize,
}

impl PtHeader {
    /// Returns which place the request at the user address `arg` is about. The flag `pasid_flag`
    /// says that the request has a PASID; `driver_can` says whether the driver supports that.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if `argsz` is less than the mandatory part.
    /// - `EINVAL` if there is an unknown flag.
    /// - `EOPNOTSUPP` if there is a PASID, and the driver does not support that.
    /// - `EINVAL` if `argsz` is too small for the PASID.
    /// - `EFAULT` if the PASID cannot be read.
    fn space(&self, arg: UserAddr, pasid_flag: u32, driver_can: bool) -> Result<Space> {
        let len = u32::try_from(self.mandatory)?;
        argsz::behind(self.argsz, len).map_err(|_| EINVAL)?;
        match self.flags {
            0 => Ok(Space::Device),
            flags if flags != pasid_flag => Err(EINVAL),
            _ if !driver_can => Err(EOPNOTSUPP),
            _ => {
                let len = u32::try_from(self.mandatory + size_of::<Pasid>())?;
                argsz::behind(self.argsz, len).map_err(|_| EINVAL)?;
                Ok(Space::Pasid(arg.offset(self.mandatory).read()?))
            }
        }
    }
}

/// Handles DEVICE_ATTACH_IOMMUFD_PT. Takes the lock of the device's set. Sleeps.
///
/// # Errors
///
/// - `EFAULT` if the first 12 bytes of the request cannot be read.
/// - `EINVAL` if `argsz` is less than 12.
/// - `EINVAL` if there is a flag other than ATTACH_PASID.
/// - `EOPNOTSUPP` if there is a PASID, and the driver has no `pasid_attach_ioas`.
/// - `EINVAL` if there is a PASID, and `argsz` is less than 16.
/// - `EFAULT` if the PASID cannot be read.
/// - Any failure of the driver's `attach_ioas` or `pasid_attach_ioas`. What was attached stays.
/// - `EFAULT` if the answer cannot be written. Nothing is attached then.
#[doc(alias = "vfio_df_ioctl_attach_pt")]
#[inline(never)] // Keeps the code for requests that the driver handles short.
pub(super) fn attach(device: &Device, arg: UserAddr) -> Result<isize, Failure> {
    const MANDATORY: usize = offset_of!(AttachIommufdPt, pasid);

    let request = arg.read_prefix::<AttachIommufdPt>(MANDATORY)?;
    let header = PtHeader {
        argsz: request.argsz,
        flags: request.flags,
        mandatory: MANDATORY,
    };
    let space = header.space(arg, ATTACH_PASID, device.driver_can_attach_pasid())?;
    let mut pt = request.pt_id;
    let _open = device.lock_set();
    let attached = space.attach(device, &mut pt);
    trace::device_attach(device.bus_device(), space.pasid(), pt, &attached);
    attached?;
    arg.offset(offset_of!(AttachIommufdPt, pt_id))
        .write(&pt)
        .inspect_err(|_| space.detach(device))?;
    Ok(0)
}

/// Handles DEVICE_DETACH_IOMMUFD_PT. It is no error if nothing is attached. Takes the lock of the
/// device's set. Sleeps.
///
/// # Errors
///
/// - `EFAULT` if the first 8 bytes of the request cannot be read.
/// - `EINVAL` if `argsz` is less than 8.
/// - `EINVAL` if there is a flag other than DETACH_PASID.
/// - `EOPNOTSUPP` if there is a PASID, and the driver has no `pasid_detach_ioas`.
/// - `EINVAL` if there is a PASID, and `argsz` is less than 12.
/// - `EFAULT` if the PASID cannot be read.
#[doc(alias = "vfio_df_ioctl_detach_pt")]
#[inline(never)] // Keeps the code for requests that the driver handles short.
pub(super) fn detach(device: &Device, arg: UserAddr) -> Result<isize, Failure> {
    const MANDATORY: usize = offset_of!(DetachIommufdPt, pasid);

    let request = arg.read_prefix::<DetachIommufdPt>(MANDATORY)?;
    let header = PtHeader {
        argsz: request.argsz,
        flags: request.flags,
        mandatory: MANDATORY,
    };
    let space = header.space(arg, DETACH_PASID, device.driver_can_detach_pasid())?;
    let _open = device.lock_set();
    space.detach(device);
    trace::device_detach(device.bus_device(), space.pasid());
    Ok(0)
}

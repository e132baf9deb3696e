// SPDX-License-Identifier: GPL-2.0

//! ATTACH_IOMMUFD_PT and DETACH_IOMMUFD_PT: which address space a device uses, or one of its
//! PASIDs.
//!
//! The id that the user gives may name an address space or a page table; the driver says which
//! page table it became. What is attached already is replaced.
//!
//! Contract section 3.5. Unlike C, an id that cannot be told to the user takes back what was
//! attached by the same request, and not something else (contract row R-40).

use core::mem::offset_of;

use kernel::prelude::*;

use crate::{
    kernel::{
        iommufd::Pasid,
        uaccess::UserAddr, //
    },
    logic::argsz,
    uapi::structs::{
        AttachIommufdPt,
        DetachIommufdPt,
        ATTACH_PASID,
        DETACH_PASID, //
    },
    views::device::Device, //
};

/// Which of a device's address spaces.
#[derive(Clone, Copy)]
enum Space {
    /// That of requests without a PASID.
    Device,
    /// That of a PASID.
    Pasid(Pasid),
}

impl Space {
    fn attach(self, device: &Device, pt: &mut u32) -> Result {
        match self {
            Self::Device => device.driver_attach(pt),
            Self::Pasid(pasid) => device.driver_attach_pasid(pasid, pt),
        }
    }

    fn detach(self, device: &Device) {
        match self {
            Self::Device => device.driver_detach(),
            Self::Pasid(pasid) => device.driver_detach_pasid(pasid),
        }
    }
}

/// The part of a request that both have in common.
struct PtHeader {
    argsz: u32,
    flags: u32,
    /// How long the request is without a PASID, which follows.
    mandatory: usize,
}

impl PtHeader {
    /// Finds out what the request is about. `pasid_flag` says that there is a PASID, which the
    /// driver must be able to handle.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the request is short or has unknown flags, `EOPNOTSUPP`, `EFAULT`.
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

/// Answers ATTACH.
///
/// # Errors
///
/// `EFAULT`; `EINVAL` if the request is short or has unknown flags; `EOPNOTSUPP` if the driver has
/// no PASIDs; the driver's errno, and then what was attached stays.
#[inline(never)] // Keeps the path of what is only passed on short.
pub(super) fn attach(device: &Device, arg: UserAddr) -> Result<isize> {
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
    space.attach(device, &mut pt)?;
    arg.offset(offset_of!(AttachIommufdPt, pt_id))
        .write(&pt)
        .inspect_err(|_| space.detach(device))?;
    Ok(0)
}

/// Answers DETACH.
///
/// # Errors
///
/// `EFAULT`; `EINVAL` if the request is short or has unknown flags; `EOPNOTSUPP` if the driver has
/// no PASIDs. That nothing is attached is no error.
#[inline(never)] // Keeps the path of what is only passed on short.
pub(super) fn detach(device: &Device, arg: UserAddr) -> Result<isize> {
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
    Ok(0)
}

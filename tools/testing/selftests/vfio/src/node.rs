// SPDX-License-Identifier: GPL-2.0
//! Devices that are opened by nodes of their own, and bound to an iommufd.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Result,
};
use vfio_uapi::{self as uapi, DeviceAttachIommufdPt, DeviceBindIommufd, DeviceDetachIommufdPt};

use crate::{device::Device, iommufd::Iommufd, request};

/// Where the node of a device is, by its name among those of VFIO.
pub fn path(name: &str) -> PathBuf {
    Path::new("/dev/vfio/devices").join(name)
}

/// A request to bind without a token, as a new program makes it.
pub fn bind_request(iommufd: impl AsFd) -> DeviceBindIommufd {
    DeviceBindIommufd {
        argsz: mem::size_of::<DeviceBindIommufd>() as u32,
        iommufd: iommufd.as_fd().as_raw_fd(),
        ..Default::default()
    }
}

/// What files of nodes can do.
impl Device {
    /// Opens a device by its node. It is dead until it is bound.
    pub fn open(node: &Path) -> Result<Self> {
        let fd: OwnedFd = rustix::fs::open(node, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self::from(fd))
    }

    /// Binds it to an iommufd, and returns its number there.
    pub fn bind(&self, iommufd: &Iommufd) -> Result<u32> {
        let mut bind = bind_request(iommufd);
        request::with_struct(self, uapi::DEVICE_BIND_IOMMUFD, &mut bind)?;
        Ok(bind.out_devid)
    }

    /// Attaches it to the address space or page table with this number, and
    /// returns the number of what is used.
    pub fn attach(&self, id: u32) -> Result<u32> {
        self.attach_with(DeviceAttachIommufdPt {
            pt_id: id,
            ..Default::default()
        })
    }

    /// Attaches one of its PASIDs.
    pub fn attach_pasid(&self, pasid: u32, id: u32) -> Result<u32> {
        self.attach_with(DeviceAttachIommufdPt {
            flags: uapi::DEVICE_ATTACH_PASID,
            pt_id: id,
            pasid,
            ..Default::default()
        })
    }

    fn attach_with(&self, mut attach: DeviceAttachIommufdPt) -> Result<u32> {
        attach.argsz = mem::size_of::<DeviceAttachIommufdPt>() as u32;
        request::with_struct(self, uapi::DEVICE_ATTACH_IOMMUFD_PT, &mut attach)?;
        Ok(attach.pt_id)
    }

    /// Detaches it.
    pub fn detach(&self) -> Result<()> {
        self.detach_with(DeviceDetachIommufdPt::default())
    }

    /// Detaches one of its PASIDs.
    pub fn detach_pasid(&self, pasid: u32) -> Result<()> {
        self.detach_with(DeviceDetachIommufdPt {
            flags: uapi::DEVICE_DETACH_PASID,
            pasid,
            ..Default::default()
        })
    }

    fn detach_with(&self, mut detach: DeviceDetachIommufdPt) -> Result<()> {
        detach.argsz = mem::size_of::<DeviceDetachIommufdPt>() as u32;
        request::with_struct(self, uapi::DEVICE_DETACH_IOMMUFD_PT, &mut detach)?;
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0
//! The group: devices that the IOMMU cannot keep apart.

use std::{
    ffi::CString,
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    io::{Errno, Result},
};
use vfio_uapi::{self as uapi, GroupStatus};

use crate::{device::Device, request};

/// An open group file.
#[derive(Debug)]
pub struct Group {
    fd: OwnedFd,
}

/// Where the file of a group is.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from("/dev/vfio").join(name)
}

impl Group {
    /// Opens a group: its number, or its number behind `noiommu-`.
    pub fn open(name: &str) -> Result<Self> {
        let fd = rustix::fs::open(path(name), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Opens a group that may still be closing: a close that waits for a
    /// device to be closed is finished a moment after that.
    pub fn open_when_free(name: &str) -> Result<Self> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match Self::open(name) {
                Err(Errno::BUSY) if Instant::now() < end => {
                    thread::sleep(Duration::from_millis(5));
                }
                other => return other,
            }
        }
    }

    /// The flags of its state.
    pub fn status(&self) -> Result<u32> {
        let argsz = mem::size_of::<GroupStatus>() as u32;
        let mut status = GroupStatus { argsz, flags: 0 };
        request::with_struct(&self.fd, uapi::GROUP_GET_STATUS, &mut status)?;
        Ok(status.flags)
    }

    /// Puts the group into a container.
    pub fn set_container(&self, container: impl AsFd) -> Result<()> {
        self.set_container_fd(container.as_fd().as_raw_fd())
    }

    /// The same with the bare number of a file, which may be none.
    pub fn set_container_fd(&self, fd: RawFd) -> Result<()> {
        request::with_struct(&self.fd, uapi::GROUP_SET_CONTAINER, &mut { fd })?;
        Ok(())
    }

    /// Takes the group out of its container.
    pub fn unset_container(&self) -> Result<()> {
        request::with_number(&self.fd, uapi::GROUP_UNSET_CONTAINER, 0)?;
        Ok(())
    }

    /// Opens a device of the group.
    pub fn device(&self, name: &str) -> Result<Device> {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        let fd = request::with_string(&self.fd, uapi::GROUP_GET_DEVICE_FD, &name)?;
        let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
        // SAFETY: The request made this descriptor, and only we know of it.
        Ok(Device::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl From<OwnedFd> for Group {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

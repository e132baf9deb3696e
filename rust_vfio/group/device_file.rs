// SPDX-License-Identifier: GPL-2.0

//! Files of devices that were opened through their group.
//!
//! Such a file is part of an open session from the start, which the device's group has. The file
//! owns one count of the device's registration, so that unregistration waits for it, and the device
//! stays in its group. What the file owns never changes, so it has no lock.
//!
//! Corresponds to `vfio_device_fops` in `drivers/vfio/vfio_main.c` and to
//! `vfio_device_open_file()` in `drivers/vfio/group.c`; contract 3.3.

use kernel::{
    fs::File,
    prelude::*,
    seq_file::SeqFile,
    sync::aref::ARef, //
};

use crate::{
    device_ioctl::{
        self,
        bind_request::BindRequest, //
    },
    group::state::Group,
    kernel::{
        fops::{
            FileOps,
            FopsTable,
            Vma, //
        },
        returned::Failure,
        task::{
            self,
            Comm, //
        },
        uaccess::UserAddr, //
    },
    migration,
    uapi::ioctls,
    views::{
        device::{
            Device,
            Registered, //
        },
        file,
        group_type::GroupType, //
    }, //
};

/// The file operations of these files.
static FOPS: FopsTable<DeviceFile> = FopsTable::new();

/// The kind of these files. Each has the device as its private data, and is a member of the session
/// until it is released.
#[doc(alias = "vfio_device_file")]
struct DeviceFile;

/// Opens `device`, which is in `group`, and returns a new file of it. Takes the group's lock and
/// that of the device's set. Sleeps.
///
/// # Errors
///
/// - Those of [`Group::open_session`].
/// - `ENFILE` if the system has too many open files.
/// - `ENOMEM`.
#[doc(alias = "vfio_device_open_file")]
#[doc(alias = "vfio_allocate_device_file")]
pub(super) fn open(group: &Group, device: Registered) -> Result<ARef<File>> {
    group.open_session(&device)?;
    // From here on the release of the file ends the session, also if it cannot be created.
    let file = file::device_file(&FOPS, device)?;
    if group.kind == GroupType::NoIommu {
        if let Some(opened) = from_file(&file) {
            dev_warn!(
                opened.bus_device(),
                "vfio-noiommu: device opened by {}:{}\n",
                Comm::current(),
                task::current_pid(),
            );
        }
    }
    Ok(file)
}

/// Handles BIND_IOMMUFD, which such a file does not allow.
///
/// # Errors
///
/// - Those of [`BindRequest::read`].
/// - `EINVAL` otherwise.
#[inline(never)] // Keeps the code for requests that the driver handles short.
fn refuse_bind(arg: UserAddr) -> Result<isize, Failure> {
    BindRequest::read(arg)?;
    Err(EINVAL.into())
}

#[vtable]
impl FileOps for DeviceFile {
    type Ptr = Registered;

    /// Takes the file out of the session, which ends with the last one. Takes the group's lock and
    /// that of the device's set.
    #[doc(alias = "vfio_device_fops_release")]
    fn release(device: Registered) {
        if let Some(group) = Group::of(&device) {
            group.close_session(&device);
        }
    }

    /// Handles an ioctl of the file. Holds no lock.
    ///
    /// # Errors
    ///
    /// - Those of [`refuse_bind`] for BIND_IOMMUFD.
    /// - `EIO` if the bus device cannot be resumed.
    /// - Those of [`device_ioctl::ioctl`].
    #[doc(alias = "vfio_device_fops_unl_ioctl")]
    #[inline]
    fn ioctl(device: &Device, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        // BIND_IOMMUFD comes first because it does not resume the device.
        if cmd == ioctls::VFIO_DEVICE_BIND_IOMMUFD {
            return refuse_bind(arg);
        }
        let _powered = device.keep_powered()?;
        device_ioctl::ioctl(device, cmd, arg)
    }

    fn read(device: &Device, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize, Failure> {
        device.driver_read(buf, len, pos)
    }

    fn write(device: &Device, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize, Failure> {
        device.driver_write(buf, len, pos)
    }

    fn mmap(device: &Device, vma: Vma) -> Result<(), Failure> {
        device.driver_mmap(&vma)
    }

    fn show_fdinfo(device: &Device, m: &SeqFile) {
        device.print_sysfs_path(m);
        migration::show_state(device, m);
    }
}

/// Returns the device that `file` has open, if it was opened through its group.
pub(crate) fn from_file(file: &File) -> Option<&Device> {
    FOPS.borrow(file)
}

// SPDX-License-Identifier: GPL-2.0

//! Files of devices that were opened through their group.
//!
//! Such a file is part of an open session from the start. It owns one count of the device's
//! registration, so that unregistration waits for it, and a reference to the group, which has the
//! session. What the file owns never changes, so it has no lock.
//!
//! Corresponds to `vfio_device_fops` in `drivers/vfio/vfio_main.c` and to
//! `vfio_device_open_file()` in `drivers/vfio/group.c`; contract 3.3.

use kernel::{
    alloc::KBox,
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
            IommuCap,
            Registered, //
        },
        file,
        group_type::GroupType, //
    }, //
};

/// The file operations of these files.
static FOPS: FopsTable<DeviceFile> = FopsTable::new();

/// The private data of such a file, and a member of an open session until it is released.
#[doc(alias = "vfio_device_file")]
pub(crate) struct DeviceFile {
    device: Registered,
    group: ARef<Group>,
}

impl DeviceFile {
    /// Creates the private data for a file of `device`. The caller opens the session.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[doc(alias = "vfio_allocate_device_file")]
    fn new(device: Registered, group: ARef<Group>) -> Result<KBox<Self>> {
        Ok(KBox::new(Self { device, group }, GFP_KERNEL_ACCOUNT)?)
    }

    /// Returns the device.
    fn device(&self) -> &Device {
        &self.device
    }

    /// Returns whether the IOMMU can enforce cache coherency of the device's DMA.
    pub(crate) fn is_enforced_coherent(&self) -> bool {
        self.device.iommu_capable(IommuCap::EnforceCacheCoherency)
    }

    /// Creates the file, whose release ends the session. If that fails, the session ends at once.
    ///
    /// # Errors
    ///
    /// - `ENFILE` if the system has too many open files.
    /// - `ENOMEM`.
    fn into_file(this: KBox<Self>) -> Result<ARef<File>> {
        file::device_file(&FOPS, this, Self::device)
    }
}

/// Opens `device`, which is in `group`, and returns a new file of it. Takes the group's lock and
/// that of the device's set. Sleeps.
///
/// # Errors
///
/// - `ENOMEM`.
/// - Those of [`Group::open_session`].
/// - `ENFILE` if the system has too many open files.
/// - `ENOMEM`.
#[doc(alias = "vfio_device_open_file")]
pub(super) fn open(group: &Group, device: Registered) -> Result<ARef<File>> {
    let file = DeviceFile::new(device, group.into())?;
    group.open_session(file.device())?;
    // From here on the release of `file` ends the session, which `into_file` calls if it fails.
    let file = DeviceFile::into_file(file)?;
    if group.kind == GroupType::NoIommu {
        if let Some(opened) = from_file(&file) {
            dev_warn!(
                opened.device().bus_device(),
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
    type Ptr = KBox<DeviceFile>;

    /// Takes the file out of the session, which ends with the last one. Takes the group's lock and
    /// that of the device's set.
    #[doc(alias = "vfio_device_fops_release")]
    fn release(this: KBox<DeviceFile>) {
        this.group.close_session(&this.device);
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
    fn ioctl(this: &DeviceFile, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        // BIND_IOMMUFD comes first because it does not resume the device.
        if cmd == ioctls::VFIO_DEVICE_BIND_IOMMUFD {
            return refuse_bind(arg);
        }
        let _powered = this.device.keep_powered()?;
        device_ioctl::ioctl(&this.device, cmd, arg)
    }

    fn read(this: &DeviceFile, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize, Failure> {
        this.device.driver_read(buf, len, pos)
    }

    fn write(
        this: &DeviceFile,
        buf: UserAddr,
        len: usize,
        pos: &mut i64,
    ) -> Result<isize, Failure> {
        this.device.driver_write(buf, len, pos)
    }

    fn mmap(this: &DeviceFile, vma: Vma) -> Result<(), Failure> {
        this.device.driver_mmap(&vma)
    }

    fn show_fdinfo(this: &DeviceFile, m: &SeqFile) {
        this.device.print_sysfs_path(m);
        migration::show_state(&this.device, m);
    }
}

/// Returns the private data of `file`, if it is a file of a device that was opened through its
/// group.
pub(crate) fn from_file(file: &File) -> Option<&DeviceFile> {
    FOPS.borrow(file)
}

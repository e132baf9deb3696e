// SPDX-License-Identifier: GPL-2.0

//! Files of devices that were opened through their group.
//!
//! Such a file is part of an open session from the start. It owns one count of the device's
//! registration, so that unregistration waits for it, and its group, which ends the session.
//!
//! Corresponds to `vfio_device_fops` in `drivers/vfio/vfio_main.c`, for files with a group;
//! contract section 3.3.

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
        task::{
            self,
            Comm, //
        },
        uaccess::UserAddr, //
    },
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

/// The table of these files.
static FOPS: FopsTable<DeviceFile> = FopsTable::new();

/// What such a file owns. It is part of an open session; its release takes it out.
pub(crate) struct DeviceFile {
    device: Registered,
    group: ARef<Group>,
}

impl DeviceFile {
    /// The file of a device that `group` handed out. The caller opens the session.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn new(device: Registered, group: ARef<Group>) -> Result<KBox<Self>> {
        Ok(KBox::new(Self { device, group }, GFP_KERNEL_ACCOUNT)?)
    }

    /// The device.
    fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the IOMMU makes the device's DMA coherent, whatever the device asks for.
    pub(crate) fn is_enforced_coherent(&self) -> bool {
        self.device.iommu_capable(IommuCap::EnforceCacheCoherency)
    }

    /// Makes the file, which ends the session when it is released. So does a failure to make it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENFILE`.
    fn into_file(this: KBox<Self>) -> Result<ARef<File>> {
        file::device_file(&FOPS, this, Self::device)
    }
}

/// Opens a device of `group` and makes a file of it.
///
/// # Errors
///
/// Those of [`Group::open_session`]; `ENOMEM`, `ENFILE`.
pub(super) fn open(group: &Group, device: Registered) -> Result<ARef<File>> {
    let file = DeviceFile::new(device, group.into())?;
    group.open_session(file.device())?;
    // From here on releasing the file ends the session, also if the file cannot be made.
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

/// What BIND_IOMMUFD comes to with such a file.
#[inline(never)] // Keeps the path of what is only passed on short.
fn refuse_bind(arg: UserAddr) -> Result<isize> {
    BindRequest::read(arg)?;
    Err(EINVAL)
}

#[vtable]
impl FileOps for DeviceFile {
    type Ptr = KBox<DeviceFile>;

    fn release(this: KBox<DeviceFile>) {
        this.group.close_session(&this.device);
    }

    #[inline]
    fn ioctl(this: &DeviceFile, cmd: u32, arg: UserAddr) -> Result<isize> {
        // Before anything else that could fail. Only files of nodes can be bound.
        if cmd == ioctls::VFIO_DEVICE_BIND_IOMMUFD {
            return refuse_bind(arg);
        }
        let _powered = this.device.keep_powered()?;
        device_ioctl::ioctl(&this.device, cmd, arg)
    }

    fn read(this: &DeviceFile, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize> {
        this.device.driver_read(buf, len, pos)
    }

    fn write(this: &DeviceFile, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize> {
        this.device.driver_write(buf, len, pos)
    }

    fn mmap(this: &DeviceFile, vma: Vma) -> Result {
        this.device.driver_mmap(&vma)
    }

    fn show_fdinfo(this: &DeviceFile, m: &SeqFile) {
        this.device.print_sysfs_path(m);
    }
}

/// What `file` owns, if it is such a file.
pub(crate) fn from_file(file: &File) -> Option<&DeviceFile> {
    FOPS.borrow(file)
}

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

use super::Group;
use crate::{
    core::{
        bind_request::BindRequest,
        requests, //
    },
    ffi::{
        device::{
            Device,
            IommuCap,
            Registered, //
        },
        file,
        fops::{
            FileOps,
            FopsTable,
            Vma, //
        },
        task::Awake,
        uapi::UserAddr, //
    },
    uapi, //
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
    pub(super) fn new(device: Registered, group: ARef<Group>) -> Result<KBox<Self>> {
        Ok(KBox::new(Self { device, group }, GFP_KERNEL_ACCOUNT)?)
    }

    /// The device.
    pub(super) fn device(&self) -> &Device {
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
    pub(super) fn into_file(this: KBox<Self>) -> Result<ARef<File>> {
        file::device_file(&FOPS, this, Self::device)
    }
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
        this.group.close_device(&this.device);
    }

    #[inline]
    fn ioctl(this: &DeviceFile, cmd: u32, arg: UserAddr) -> Result<isize> {
        // Before anything else that could fail. Only files of nodes can be bound.
        if cmd == uapi::VFIO_DEVICE_BIND_IOMMUFD {
            return refuse_bind(arg);
        }
        let _awake = Awake::get(&this.device)?;
        requests::ioctl(&this.device, cmd, arg)
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

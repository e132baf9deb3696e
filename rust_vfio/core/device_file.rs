// SPDX-License-Identifier: GPL-2.0

//! Device files: what user space reads, writes, maps and controls.
//!
//! Nearly everything is passed on to the driver. The core answers GET_REGION_INFO and the feature
//! ioctl, and keeps the device powered during an ioctl. No lock is held while a driver runs: it
//! serialises itself (contract 2.3).
//!
//! A file owns one count of the device's registration, so that unregistration waits for it, and
//! its group, through which the session is closed.
//!
//! Corresponds to `vfio_device_fops` in `drivers/vfio/vfio_main.c`; contract section 3.3.

use kernel::{
    alloc::KBox,
    fs::File,
    prelude::*,
    seq_file::SeqFile,
    sync::aref::ARef, //
};

use crate::{
    core::{
        features,
        region_info, //
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
    group::{
        self,
        Group, //
    },
    uapi, //
};

/// The table of device files.
static FOPS: FopsTable<DeviceFile> = FopsTable::new();

/// What a device file owns. It is part of an open session; its release takes it out.
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
    pub(crate) fn new(device: Registered, group: ARef<Group>) -> Result<KBox<Self>> {
        Ok(KBox::new(Self { device, group }, GFP_KERNEL_ACCOUNT)?)
    }

    /// The device.
    pub(crate) fn device(&self) -> &Device {
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
    pub(crate) fn into_file(this: KBox<Self>) -> Result<ARef<File>> {
        file::device_file(&FOPS, this, Self::device)
    }
}

#[vtable]
impl FileOps for DeviceFile {
    type Ptr = KBox<DeviceFile>;

    fn release(this: KBox<DeviceFile>) {
        group::close_device(&this.group, &this.device);
    }

    fn ioctl(this: &DeviceFile, cmd: u32, arg: UserAddr) -> Result<isize> {
        let device = this.device();
        // Binding to iommufd is for files that were opened by the device's own node, and comes
        // before anything else that could fail.
        if cmd == uapi::VFIO_DEVICE_BIND_IOMMUFD {
            return Err(ENOTTY);
        }
        let _awake = Awake::get(device)?;
        match cmd {
            uapi::VFIO_DEVICE_FEATURE => features::ioctl(device, arg),
            uapi::VFIO_DEVICE_GET_REGION_INFO => region_info::ioctl(device, arg),
            _ => device.driver_ioctl(cmd, arg),
        }
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

/// What `file` owns, if it is a device file.
pub(crate) fn from_file(file: &File) -> Option<&DeviceFile> {
    FOPS.borrow(file)
}

// SPDX-License-Identifier: GPL-2.0

//! Nodes of devices, `/dev/vfio/devices/vfio<n>`: a device without its group, for iommufd.
//!
//! Anybody who may can open the node, any number of times, and it does nothing: a file becomes
//! useful when it is bound to an iommufd (`device_cdev/bind.rs`). One file can be bound at a time,
//! and not while the group's file is open, nor can that be opened meanwhile. A bound file attaches
//! the device to address spaces of the iommufd (`device_cdev/attach.rs`), and stays bound until it
//! is released.
//!
//! A file owns one count of the device's registration from the moment it is opened, so it blocks
//! unregistration even if it is never bound.
//!
//! Locks, outer first: [`CdevFile::binding`], the group's, the device set's. [`CdevFile::kvm`] is a
//! spinlock because KVM sets it under locks that are taken inside the device set's.
//!
//! Corresponds to `drivers/vfio/device_cdev.c`; contract section 3.5.

use kernel::{
    fs::File,
    prelude::*,
    seq_file::SeqFile,
    sync::SetOnce, //
};

use crate::{
    device_ioctl,
    group,
    kernel::{
        chardev::{
            Region,
            RegionHandle, //
        },
        fops::{
            FileOps,
            FopsTable,
            Inode,
            OpeningFile,
            Vma, //
        },
        task,
        uaccess::UserAddr, //
    },
    uapi::ioctls,
    views::{
        device::{
            Device,
            Registered, //
        },
        file, //
    }, //
};

mod attach;
mod bind;
mod cdev_file;

pub(crate) use cdev_file::CdevFile;

/// The table of these files.
static FOPS: FopsTable<CdevFile> = FopsTable::new();

/// The device numbers of nodes, which [`CdevRegion`] owns. A number is the device's index.
static NUMBERS: SetOnce<RegionHandle> = SetOnce::new();

/// What nodes need as long as the module is loaded.
pub(crate) struct CdevRegion(Region);

impl CdevRegion {
    /// Takes the device numbers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EBUSY` if no major is left.
    pub(crate) fn init() -> Result<Self> {
        let nodes = Self(Region::new(c"vfio-dev")?);
        NUMBERS.populate(nodes.0.handle());
        Ok(nodes)
    }
}

/// Returns what the device node of a device needs. There is none if nothing translates for the
/// device and iommufd does not know such devices: then it must not be reached this way.
pub(crate) fn cdev_of(device: &Device) -> Option<(RegionHandle, &'static FopsTable<CdevFile>)> {
    if !cfg!(CONFIG_IOMMUFD_NOIOMMU) && group::is_noiommu(device) {
        return None;
    }
    Some((NUMBERS.copy()?, &FOPS))
}

#[vtable]
impl FileOps for CdevFile {
    type Ptr = Pin<KBox<CdevFile>>;

    fn open(inode: &Inode, file: &OpeningFile<'_>) -> Result<Self::Ptr> {
        // SAFETY: Every node in the region of devices is that of a device.
        let device = unsafe { Device::of_cdev(inode) };
        let device = Registered::get(device).ok_or(ENODEV)?;
        if group::is_noiommu(&device) && !task::capable_rawio() {
            return Err(EPERM);
        }
        let this = KBox::pin_init(CdevFile::new(device), GFP_KERNEL_ACCOUNT)?;
        file::share_mapping(file, &this.device);
        Ok(this)
    }

    fn release(this: Self::Ptr) {
        let binding = this.binding.lock().take();
        if let Some(binding) = binding {
            binding.end(&this.device);
        }
    }

    #[inline]
    fn ioctl(this: Pin<&CdevFile>, cmd: u32, arg: UserAddr) -> Result<isize> {
        // Before anything else that could fail.
        if cmd == ioctls::VFIO_DEVICE_BIND_IOMMUFD {
            return bind::ioctl(&this, arg);
        }
        let device = this.granted()?;
        let _powered = device.keep_powered()?;
        match cmd {
            ioctls::VFIO_DEVICE_ATTACH_IOMMUFD_PT => attach::attach(device, arg),
            ioctls::VFIO_DEVICE_DETACH_IOMMUFD_PT => attach::detach(device, arg),
            _ => device_ioctl::ioctl(device, cmd, arg),
        }
    }

    fn read(this: Pin<&CdevFile>, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize> {
        this.granted()?.driver_read(buf, len, pos)
    }

    fn write(this: Pin<&CdevFile>, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize> {
        this.granted()?.driver_write(buf, len, pos)
    }

    fn mmap(this: Pin<&CdevFile>, vma: Vma) -> Result {
        this.granted()?.driver_mmap(&vma)
    }

    fn show_fdinfo(this: Pin<&CdevFile>, m: &SeqFile) {
        this.device.print_sysfs_path(m);
    }
}

/// What `file` owns, if it is the file of a node, bound or not.
pub(crate) fn from_file(file: &File) -> Option<Pin<&CdevFile>> {
    FOPS.borrow(file)
}

// SPDX-License-Identifier: GPL-2.0

//! Character devices (cdevs) of devices, `/dev/vfio/devices/vfio<n>`: a device without its group,
//! for iommufd.
//!
//! The cdev can be opened any number of times, but a file gives no access to the device until it is
//! bound to an iommufd (`device_cdev/bind.rs`). One file can be bound at a time, and only while the
//! group's file is not open; that cannot be opened meanwhile. A bound file attaches the device to
//! address spaces of the iommufd (`device_cdev/attach.rs`), and stays bound until it is released.
//!
//! A file owns one count of the device's registration from when it is opened until it is
//! released, so unregistration waits for it even if it is never bound.
//!
//! Locks, outer first: [`CdevFile::binding`], the group's, the device set's. [`CdevFile::kvm`] is a
//! spinlock because KVM sets it under locks that are taken inside the device set's.
//!
//! Corresponds to `drivers/vfio/device_cdev.c`; contract 3.5.

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
        returned::Failure,
        slab::SlabBox,
        task,
        uaccess::UserAddr, //
    },
    migration,
    refusal::Refusal,
    trace,
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

/// The file operations of cdevs.
static FOPS: FopsTable<CdevFile> = FopsTable::new();

/// The device numbers of cdevs, which [`CdevRegion`] owns. The minor number of a cdev is the index
/// of its device.
static NUMBERS: SetOnce<RegionHandle> = SetOnce::new();

/// The device numbers of cdevs while the module is loaded. Dropping this frees them.
pub(crate) struct CdevRegion(Region);

impl CdevRegion {
    /// Reserves the device numbers. Called once.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EBUSY` if no major number is left.
    #[doc(alias = "vfio_cdev_init")]
    pub(crate) fn init() -> Result<Self> {
        let nodes = Self(Region::new(c"vfio-dev")?);
        NUMBERS.populate(nodes.0.handle());
        Ok(nodes)
    }
}

/// Returns the device numbers and the file operations for the cdev of the device. There is none if
/// nothing translates the device's DMA and iommufd is built without support for such devices.
#[doc(alias = "vfio_init_device_cdev")]
pub(crate) fn cdev_of(device: &Device) -> Option<(RegionHandle, &'static FopsTable<CdevFile>)> {
    if !cfg!(CONFIG_IOMMUFD_NOIOMMU) && group::is_noiommu(device) {
        return None;
    }
    Some((NUMBERS.copy()?, &FOPS))
}

/// Returns the private data for `file`, a file of the cdev of `device`.
///
/// # Errors
///
/// The last two of opening a cdev.
fn new_file(device: Registered, file: &OpeningFile<'_>) -> Result<Pin<SlabBox<CdevFile>>> {
    if group::is_noiommu(&device) && !task::capable_rawio() {
        return Err(Refusal::RawIo.report(EPERM));
    }
    let this = SlabBox::pin_init(CdevFile::new(device), GFP_KERNEL_ACCOUNT)?;
    file::share_mapping(file, &this.device);
    Ok(this)
}

#[vtable]
impl FileOps for CdevFile {
    type Ptr = Pin<SlabBox<CdevFile>>;

    /// Opens the cdev, without access to the device. Takes no lock.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the device is not, or no longer, registered.
    /// - `EPERM` if nothing translates the device's DMA and the calling task lacks `CAP_SYS_RAWIO`.
    /// - `ENOMEM`.
    #[doc(alias = "vfio_device_fops_cdev_open")]
    fn open(inode: &Inode, file: &OpeningFile<'_>) -> Result<Self::Ptr> {
        // SAFETY: `FOPS` is the table of cdevs only: `cdev_of` returns it for `Device::publish`,
        // which makes the character device that `inode` leads to.
        let device = unsafe { Device::of_cdev(inode) };
        let opened = Registered::get(device)
            .ok_or(ENODEV)
            .and_then(|device| new_file(device, file));
        trace::cdev_open(device.bus_device(), &opened);
        opened
    }

    /// Ends the binding, if there is one, and gives the count of the registration back.
    #[doc(alias = "vfio_device_fops_release")]
    fn release(this: Self::Ptr) {
        trace::cdev_close(this.device.bus_device());
        let binding = this.binding.lock().take();
        if let Some(binding) = binding {
            binding.end(&this.device);
        }
    }

    /// Handles an ioctl of the file. Holds no lock.
    ///
    /// # Errors
    ///
    /// - Those of [`bind::ioctl`] for BIND_IOMMUFD.
    /// - `EINVAL` if the file is not bound.
    /// - `EIO` if the bus device cannot be resumed.
    /// - Those of [`attach::attach`], [`attach::detach`] or [`device_ioctl::ioctl`].
    #[doc(alias = "vfio_device_fops_unl_ioctl")]
    #[inline]
    fn ioctl(this: Pin<&CdevFile>, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        // BIND_IOMMUFD comes first because the file is not bound yet.
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

    fn read(
        this: Pin<&CdevFile>,
        buf: UserAddr,
        len: usize,
        pos: &mut i64,
    ) -> Result<isize, Failure> {
        this.granted()?.driver_read(buf, len, pos)
    }

    fn write(
        this: Pin<&CdevFile>,
        buf: UserAddr,
        len: usize,
        pos: &mut i64,
    ) -> Result<isize, Failure> {
        this.granted()?.driver_write(buf, len, pos)
    }

    fn mmap(this: Pin<&CdevFile>, vma: Vma) -> Result<(), Failure> {
        this.granted()?.driver_mmap(&vma)
    }

    fn show_fdinfo(this: Pin<&CdevFile>, m: &SeqFile) {
        this.device.print_sysfs_path(m);
        if this.is_granted() {
            migration::show_state(&this.device, m);
        }
    }
}

/// Returns the private data of `file`, if it is a file of a cdev, bound or not.
pub(crate) fn from_file(file: &File) -> Option<Pin<&CdevFile>> {
    FOPS.borrow(file)
}

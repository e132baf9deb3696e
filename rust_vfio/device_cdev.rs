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
//! Locks, outer first: [`NodeFile::binding`], the group's, the device set's. [`NodeFile::kvm`] is a
//! spinlock because KVM sets it under locks that are taken inside the device set's.
//!
//! Corresponds to `drivers/vfio/device_cdev.c`; contract section 3.5.

use kernel::{
    fs::File,
    new_mutex, new_spinlock,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Mutex,
        SetOnce,
        SpinLock, //
    },
};

use crate::{
    core::requests,
    ffi::{
        chardev::{
            NodePath,
            Region,
            RegionHandle, //
        },
        device::{
            Device,
            IommuCap,
            Registered, //
        },
        file,
        fops::{
            FileOps,
            FopsTable,
            Inode,
            Vma, //
        },
        kvm::KvmPtr,
        task::{
            self,
            Awake, //
        },
        uapi::UserAddr, //
    },
    noiommu,
    uapi, //
};

mod attach;
mod bind;

use bind::Binding;

/// The table of these files.
static FOPS: FopsTable<NodeFile> = FopsTable::new();

/// Devices have their nodes in `/dev/vfio/devices`.
pub(crate) struct DeviceNode;

impl NodePath for DeviceNode {
    const FORMAT: &'static CStr = c"vfio/devices/%s";
}

/// The device numbers of nodes, which [`Nodes`] owns. A number is the device's index.
static NUMBERS: SetOnce<RegionHandle> = SetOnce::new();

/// What nodes need as long as the module is loaded.
pub(crate) struct Nodes(Region);

impl Nodes {
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

/// Gives the device a node, unless nothing translates for it and iommufd does not know such
/// devices: then it must not be reached this way.
///
/// # Safety
///
/// The device must not be published.
pub(crate) unsafe fn add_node(device: &Device) {
    if !cfg!(CONFIG_IOMMUFD_NOIOMMU) && noiommu::is_device(device) {
        return;
    }
    if let Some(numbers) = NUMBERS.copy() {
        // SAFETY: By the contract of this function; the files use `of_node`.
        unsafe { device.init_node(numbers, &FOPS) };
    }
}

/// What a file of a node owns.
#[pin_data]
pub(crate) struct NodeFile {
    device: Registered,
    /// What BIND set up.
    #[pin]
    binding: Mutex<Option<Binding>>,
    /// Whether `binding` is there to stay: from here on the file's user may reach the device. It
    /// is written last by BIND and read without a lock.
    granted: Atomic<bool>,
    /// The virtual machine that KVM named; the device sees it when the file is bound.
    #[pin]
    kvm: SpinLock<KvmPtr>,
}

impl NodeFile {
    fn new(device: Registered) -> impl PinInit<Self> {
        pin_init!(Self {
            device,
            binding <- new_mutex!(None, "vfio_device_file.binding"),
            granted: Atomic::new(false),
            kvm <- new_spinlock!(KvmPtr::none(), "vfio_device_file.kvm_ref_lock"),
        })
    }

    /// The device, if the file is bound.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not.
    fn granted(&self) -> Result<&Device> {
        // Whoever sees the flag sees the open device.
        match self.granted.load(Acquire) {
            true => Ok(&self.device),
            false => Err(EINVAL),
        }
    }

    /// Lets the file's user reach the device, which is open.
    fn grant(&self) {
        self.granted.store(true, Release);
    }

    /// Names the virtual machine, which the device sees if the file is bound from now on. Does not
    /// sleep.
    pub(crate) fn set_kvm(&self, kvm: KvmPtr) {
        *self.kvm.lock() = kvm;
    }

    /// Whether the IOMMU makes the device's DMA coherent, whatever the device asks for.
    pub(crate) fn is_enforced_coherent(&self) -> bool {
        self.device.iommu_capable(IommuCap::EnforceCacheCoherency)
    }
}

#[vtable]
impl FileOps for NodeFile {
    type Ptr = Pin<KBox<NodeFile>>;

    fn open(inode: &Inode, file: &File) -> Result<Self::Ptr> {
        // SAFETY: Every node in the region of devices is that of a device.
        let device = unsafe { Device::of_node(inode) };
        let device = Registered::get(device).ok_or(ENODEV)?;
        if noiommu::is_device(&device) && !task::capable_rawio() {
            return Err(EPERM);
        }
        let this = KBox::pin_init(NodeFile::new(device), GFP_KERNEL_ACCOUNT)?;
        // SAFETY: The file is being opened, and owns `this`, which keeps the device.
        unsafe { file::share_mapping(file, &this.device) };
        Ok(this)
    }

    fn release(this: Self::Ptr) {
        let binding = this.binding.lock().take();
        if let Some(binding) = binding {
            binding.end(&this.device);
        }
    }

    #[inline]
    fn ioctl(this: Pin<&NodeFile>, cmd: u32, arg: UserAddr) -> Result<isize> {
        // Before anything else that could fail.
        if cmd == uapi::VFIO_DEVICE_BIND_IOMMUFD {
            return bind::ioctl(&this, arg);
        }
        let device = this.granted()?;
        let _awake = Awake::get(device)?;
        match cmd {
            uapi::VFIO_DEVICE_ATTACH_IOMMUFD_PT => attach::attach(device, arg),
            uapi::VFIO_DEVICE_DETACH_IOMMUFD_PT => attach::detach(device, arg),
            _ => requests::ioctl(device, cmd, arg),
        }
    }

    fn read(this: Pin<&NodeFile>, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize> {
        this.granted()?.driver_read(buf, len, pos)
    }

    fn write(this: Pin<&NodeFile>, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize> {
        this.granted()?.driver_write(buf, len, pos)
    }

    fn mmap(this: Pin<&NodeFile>, vma: Vma) -> Result {
        this.granted()?.driver_mmap(&vma)
    }

    fn show_fdinfo(this: Pin<&NodeFile>, m: &SeqFile) {
        this.device.print_sysfs_path(m);
    }
}

/// What `file` owns, if it is the file of a node, bound or not.
pub(crate) fn from_file(file: &File) -> Option<Pin<&NodeFile>> {
    FOPS.borrow(file)
}

// SPDX-License-Identifier: GPL-2.0

//! What a file of a device's own node owns.
//!
//! Corresponds to `struct vfio_device_file`, for files of `/dev/vfio/devices`.

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Mutex,
        SpinLock, //
    }, //
};

use crate::{
    core::session::Session,
    group::Blocked,
    iommufd::IommufdBacking,
    kernel::kvm::KvmPtr,
    views::device::{
        Device,
        IommuCap,
        Registered, //
    }, //
};

/// What a bound file owns.
pub(super) struct CdevBinding {
    pub(super) session: Session<IommufdBacking>,
    /// Given back when the lock of the device's set is free.
    pub(super) blocked: Blocked,
}

impl CdevBinding {
    /// Closes the device.
    pub(super) fn end(self, device: &Device) {
        let mut open = device.lock_set();
        self.session.end(&mut open);
        open.set_cdev_opened(false);
        drop(open);
        drop(self.blocked);
    }
}

/// What a file of a node owns.
#[pin_data]
pub(crate) struct CdevFile {
    pub(super) device: Registered,
    /// What BIND set up.
    #[pin]
    pub(super) binding: Mutex<Option<CdevBinding>>,
    /// Whether `binding` is there to stay: from here on the file's user may reach the device. It
    /// is written last by BIND and read without a lock.
    granted: Atomic<bool>,
    /// The virtual machine that KVM named; the device sees it when the file is bound.
    #[pin]
    pub(super) kvm: SpinLock<KvmPtr>,
}

impl CdevFile {
    pub(super) fn new(device: Registered) -> impl PinInit<Self> {
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
    pub(super) fn granted(&self) -> Result<&Device> {
        // Whoever sees the flag sees the open device.
        match self.granted.load(Acquire) {
            true => Ok(&self.device),
            false => Err(EINVAL),
        }
    }

    /// Lets the file's user reach the device, which is open.
    pub(super) fn grant(&self) {
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

// SPDX-License-Identifier: GPL-2.0

//! The private data of a file of a cdev.
//!
//! Locks: `binding`, which BIND_IOMMUFD holds throughout, and the spinlock `kvm`.
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
    refusal::Refusal,
    views::device::{
        Device,
        Registered, //
    }, //
};

/// What a bound file owns in addition.
///
/// While it exists, [`Blocked`] keeps the group's file from being opened.
pub(super) struct CdevBinding {
    session: Session<IommufdBacking>,
}

impl CdevBinding {
    /// Takes over what keeps the group's file from being opened, until [`CdevBinding::end`].
    pub(super) fn new(session: Session<IommufdBacking>, blocked: Blocked<'_>) -> Self {
        blocked.keep();
        Self { session }
    }

    /// Closes the device and lets the group's file be opened again. Takes the lock of the device's
    /// set, then the group's. Sleeps.
    #[doc(alias = "vfio_df_unbind_iommufd")]
    pub(super) fn end(self, device: &Device) {
        let mut open = device.lock_set();
        self.session.end(&mut open);
        open.set_cdev_opened(false);
        // The lock of the device's set is not held when that of the group is taken.
        drop(open);
        drop(Blocked::kept(device));
    }
}

/// The private data of a file of a cdev.
#[pin_data]
#[doc(alias = "vfio_device_file")]
pub(crate) struct CdevFile {
    pub(super) device: Registered,
    /// What BIND_IOMMUFD has set up; it stays until the file is released.
    #[pin]
    pub(super) binding: Mutex<Option<CdevBinding>>,
    /// Whether user space may use the device through the file. BIND_IOMMUFD sets it as the last
    /// step; it is read without a lock. `access_granted` in C.
    granted: Atomic<bool>,
    /// The virtual machine that KVM named; BIND_IOMMUFD passes it to the device.
    #[pin]
    pub(super) kvm: SpinLock<KvmPtr>,
}

impl CdevFile {
    /// Returns an initialiser of the data of a file that is not bound.
    #[doc(alias = "vfio_allocate_device_file")]
    pub(super) fn new(device: Registered) -> impl PinInit<Self> {
        pin_init!(Self {
            device,
            binding <- new_mutex!(None, "vfio_device_file.binding"),
            granted: Atomic::new(false),
            kvm <- new_spinlock!(KvmPtr::none(), "vfio_device_file.kvm_ref_lock"),
        })
    }

    /// Returns the device, which is open. Takes no lock.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the file is not bound.
    pub(super) fn granted(&self) -> Result<&Device> {
        // Pairs with the store in `grant`: what BIND_IOMMUFD has set up is visible here.
        match self.granted.load(Acquire) {
            true => Ok(&self.device),
            false => {
                let device = self.device.bus_device().name();
                Err(Refusal::NotBound { device }.report(EINVAL))
            }
        }
    }

    /// Returns whether the file is bound.
    pub(super) fn is_granted(&self) -> bool {
        self.granted.load(Acquire)
    }

    /// Gives user space access to the device, which is open.
    pub(super) fn grant(&self) {
        self.granted.store(true, Release);
    }

    /// Sets the virtual machine, which the device gets if the file is bound afterwards. Takes the
    /// spinlock `kvm`; does not sleep.
    #[doc(alias = "vfio_device_file_set_kvm")]
    pub(crate) fn set_kvm(&self, kvm: KvmPtr) {
        *self.kvm.lock() = kvm;
    }

    /// Returns the device, open or not.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

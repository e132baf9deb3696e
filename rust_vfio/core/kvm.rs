// SPDX-License-Identifier: GPL-2.0

//! The virtual machine that an open device belongs to.
//!
//! Drivers that need it (mediated devices, mostly) read `vfio_device.kvm` while they open the
//! device. It is set before that, to the virtual machine that KVM named for the file or the group,
//! and cleared after the driver has closed the device. If KVM names another one in between, that
//! has no effect on the open device. The member belongs to the lock of the device's set, which the
//! caller holds.
//!
//! Corresponds to `vfio_device_get_kvm_safe()` and `vfio_device_put_kvm()`; contract section 9.

use crate::{
    kernel::kvm::KvmPtr,
    views::device::Device, //
};

#[cfg(CONFIG_KVM)]
use crate::kernel::kvm::KvmRef;

/// Gives the device a reference to the virtual machine, unless there is none or its last reference
/// is gone.
///
/// The caller holds the lock of the device's set and the spinlock that keeps `kvm` valid. Does not
/// sleep.
#[cfg(CONFIG_KVM)]
#[doc(alias = "vfio_device_get_kvm_safe")]
pub(crate) fn attach(device: &Device, kvm: &KvmPtr) {
    if let Some(kvm) = KvmRef::get(kvm) {
        device.store_kvm(kvm);
    }
}

/// Drops the device's reference to the virtual machine, if it has one; undoes [`attach`].
///
/// The caller holds the lock of the device's set. Sleeps: this may be the last reference, and KVM
/// calls VFIO while it destroys the virtual machine. Those calls take `group.devices`, `group.kvm`
/// and `cdev_file.kvm`, but no lock of a set.
#[cfg(CONFIG_KVM)]
#[doc(alias = "vfio_device_put_kvm")]
pub(crate) fn detach(device: &Device) {
    drop(device.take_kvm());
}

/// Does nothing: without KVM there is no virtual machine.
#[cfg(not(CONFIG_KVM))]
pub(crate) fn attach(_device: &Device, _kvm: &KvmPtr) {}

/// Does nothing: without KVM there is no virtual machine.
#[cfg(not(CONFIG_KVM))]
pub(crate) fn detach(_device: &Device) {}

// SPDX-License-Identifier: GPL-2.0

//! The virtual machine that an open device belongs to.
//!
//! Drivers that need to know (mediated devices, mostly) read `vfio_device.kvm` when they are
//! opened. It is set before that, from what KVM said about the group, and cleared after the driver
//! was closed; what KVM says in between has no effect. The caller holds the lock of the device's
//! set.
//!
//! Corresponds to `vfio_device_get_kvm_safe()` and `vfio_device_put_kvm()`; contract section 9.

use crate::{
    kernel::kvm::KvmPtr,
    views::device::Device, //
};

#[cfg(CONFIG_KVM)]
use crate::kernel::kvm::KvmRef;

/// Lets the device see the virtual machine, unless there is none or it is on its way out.
///
/// The caller also holds the spinlock that keeps `kvm` valid; this does not sleep.
#[cfg(CONFIG_KVM)]
pub(crate) fn attach(device: &Device, kvm: &KvmPtr) {
    if let Some(kvm) = KvmRef::get(kvm) {
        device.store_kvm(kvm);
    }
}

/// The opposite of [`attach`]. Sleeps: this may be the last reference to the virtual machine, and
/// its end calls back into VFIO, but nothing that takes the lock of a set.
#[cfg(CONFIG_KVM)]
pub(crate) fn detach(device: &Device) {
    drop(device.take_kvm());
}

/// Without KVM there is no virtual machine.
#[cfg(not(CONFIG_KVM))]
pub(crate) fn attach(_device: &Device, _kvm: &KvmPtr) {}

/// Without KVM there is no virtual machine.
#[cfg(not(CONFIG_KVM))]
pub(crate) fn detach(_device: &Device) {}

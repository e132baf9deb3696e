// SPDX-License-Identifier: GPL-2.0

//! The virtual machine that an open device belongs to: `vfio_device.kvm` and `vfio_device.put_kvm`.
//!
//! Both members are protected by the lock of the device's set. Drivers read the first one while the
//! device is open.
//!
//! Corresponds to the members that `vfio_device_get_kvm_safe()` and `vfio_device_put_kvm()` of
//! `drivers/vfio/vfio_main.c` set and clear; contract section 9.

use core::{
    mem::replace,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};

use crate::{
    kernel::kvm::KvmRef,
    views::device::Device, //
};

impl Device {
    /// Stores a reference in the device, which must have none. The lock of its set must be held.
    pub(crate) fn store_kvm(&self, kvm: KvmRef) {
        let (kvm, put) = kvm.into_raw();
        // SAFETY: The caller holds the lock of the set, which protects the members.
        unsafe {
            (*self.as_raw()).put_kvm = Some(put);
            (*self.as_raw()).kvm = kvm;
        }
    }

    /// Removes the reference from the device and returns it, or none if there is none. The lock of
    /// the device's set must be held.
    pub(crate) fn take_kvm(&self) -> Option<KvmRef> {
        // SAFETY: The caller holds the lock of the set, which protects the members.
        let (kvm, put) = unsafe {
            (
                replace(&mut (*self.as_raw()).kvm, null_mut()),
                (*self.as_raw()).put_kvm.take(),
            )
        };
        let kvm = NonNull::new(kvm)?;
        // SAFETY: Only `store_kvm` sets the members, to the result of one `into_raw`, and they were
        // cleared above.
        put.map(|put| unsafe { KvmRef::from_raw(kvm, put) })
    }
}

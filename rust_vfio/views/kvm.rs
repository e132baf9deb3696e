// SPDX-License-Identifier: GPL-2.0

//! The virtual machine that an open device belongs to: `vfio_device.kvm` and `vfio_device.put_kvm`.
//!
//! Both members are protected by the lock of the device's set. Drivers read the first.

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
    /// Gives the device a reference. The lock of its set is held, and it has none yet.
    pub(crate) fn store_kvm(&self, kvm: KvmRef) {
        let (kvm, put) = kvm.into_raw();
        // SAFETY: The members are protected by the lock of the set.
        unsafe {
            (*self.as_raw()).put_kvm = Some(put);
            (*self.as_raw()).kvm = kvm;
        }
    }

    /// Takes the reference back, if there is one. The lock of the device's set is held.
    pub(crate) fn take_kvm(&self) -> Option<KvmRef> {
        // SAFETY: The members are protected by the lock of the set.
        let (kvm, put) = unsafe {
            (
                replace(&mut (*self.as_raw()).kvm, null_mut()),
                (*self.as_raw()).put_kvm.take(),
            )
        };
        let kvm = NonNull::new(kvm)?;
        // SAFETY: Only `store_kvm` sets the members, and they were cleared here.
        put.map(|put| unsafe { KvmRef::from_raw(kvm, put) })
    }
}

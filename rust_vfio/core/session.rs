// SPDX-License-Identifier: GPL-2.0

//! Open sessions: what the first file of a device sets up and the last one takes down.
//!
//! A session holds the module of the bus driver, a use of the IOMMU behind the device's group, the
//! virtual machine that KVM named, and the driver's open state. It has no object of its own: it
//! exists while `open_count` is not 0, and what it holds is found again from the device when it
//! ends.
//!
//! Everything here runs under the lock of the device's set, and under the lock of its group.
//!
//! Corresponds to `vfio_df_open()` and `vfio_df_close()`; contract section 3.4.

use kernel::{
    prelude::*,
    sync::atomic::{
        AtomicFlag,
        Relaxed, //
    }, //
};

use crate::{
    core::kvm,
    ffi::{
        device::{
            Device,
            OpenState, //
        },
        driver_ops::ModuleRef, //
    },
};

/// Who provides what a session needs from outside: the device's group.
///
/// The functions are called under the lock of the device's set.
pub(crate) trait SessionOwner {
    /// Lets the device's driver see the virtual machine, if KVM named one.
    fn attach_kvm(&self, device: &Device);

    /// Readies the IOMMU for a device that is about to be opened.
    ///
    /// # Errors
    ///
    /// The open fails with the error.
    fn use_iommu(&mut self, device: &Device) -> Result;

    /// The opposite of [`SessionOwner::use_iommu`].
    fn unuse_iommu(&mut self, device: &Device);
}

/// Adds a file to the device's session, which the first file begins.
///
/// # Errors
///
/// `ENODEV` if the bus driver's module is on its way out, what the owner or the driver's
/// `open_device` returned.
pub(crate) fn open(state: &mut OpenState<'_>, owner: &mut impl SessionOwner) -> Result {
    let count = state.open_count();
    // The driver counts itself as open from here on: it may pin pages while it opens.
    state.set_open_count(count.checked_add(1).ok_or(EMFILE)?);
    if count == 0 {
        owner.attach_kvm(state.device());
        if let Err(e) = begin(state.device(), owner) {
            state.set_open_count(0);
            kvm::detach(state.device());
            return Err(e);
        }
    }
    Ok(())
}

fn begin(device: &Device, owner: &mut impl SessionOwner) -> Result {
    let module = device.pin_bus_driver()?;
    owner.use_iommu(device)?;
    if let Err(e) = device.driver_open() {
        owner.unuse_iommu(device);
        return Err(e);
    }
    // `end` gives it back.
    module.keep();
    Ok(())
}

/// Takes a file from the device's session, which ends with the last one.
pub(crate) fn close(state: &mut OpenState<'_>, owner: &mut impl SessionOwner) {
    let Some(left) = state.open_count().checked_sub(1) else {
        static WARNED: AtomicFlag = AtomicFlag::new(false);
        kernel::warn_on!(!WARNED.xchg(true, Relaxed));
        return;
    };
    if left == 0 {
        end(state, owner);
    }
    state.set_open_count(left);
    if left == 0 {
        kvm::detach(state.device());
    }
}

fn end(state: &mut OpenState<'_>, owner: &mut impl SessionOwner) {
    state.device().driver_close();
    owner.unuse_iommu(state.device());
    state.clear_precopy_info_v2();
    // SAFETY: `begin` kept it for this session, and an open device keeps its bus driver bound.
    drop(unsafe { ModuleRef::from_kept(state.device()) });
}

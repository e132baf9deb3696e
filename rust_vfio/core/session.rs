// SPDX-License-Identifier: GPL-2.0

//! Open sessions: what the first file of a device sets up and the last one takes down.
//!
//! A [`Session`] holds the module of the bus driver, the way in which the device reaches memory
//! ([`Backing`]), the virtual machine that KVM named, and the driver's open state. Whoever began it
//! keeps it until it ends, so that a session ends as it began, whatever happened to the group
//! meanwhile (contract 3.4, R-38).
//!
//! A device has one session at a time, and `open_count` files share it; drivers read that number.
//! Everything here runs under the lock of the device's set.
//!
//! Corresponds to `vfio_df_open()` and `vfio_df_close()`; contract section 3.4.

#[cfg(CONFIG_VFIO_GROUP)]
use kernel::sync::atomic::{
    AtomicFlag,
    Relaxed, //
};
use kernel::{
    prelude::*,
    sync::SpinLock, //
};

use crate::{
    core::kvm,
    kernel::{
        kvm::KvmPtr,
        module::ModuleRef, //
    },
    views::device::{
        Device,
        OpenState, //
    }, //
};

/// How an open device reaches memory.
pub(crate) trait Backing: Sized {
    /// Undoes what was set up for the device, after its driver closed it.
    fn release(self, device: &Device);
}

/// An open device. It must be ended, not dropped.
#[must_use]
pub(crate) struct Session<B> {
    backing: B,
    module: ModuleRef,
}

impl<B: Backing> Session<B> {
    /// Opens a device for one file.
    ///
    /// The driver sees the virtual machine that `kvm` names, and can reach memory as `back` sets
    /// it up.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the device is open, and then nothing of it has changed; `ENODEV` if the bus
    /// driver's module is on its way out; what `back` or the driver's `open_device` returned.
    pub(crate) fn begin(
        state: &mut OpenState<'_>,
        kvm: &SpinLock<KvmPtr>,
        back: impl FnOnce(&Device) -> Result<B>,
    ) -> Result<Self> {
        if state.open_count() > 0 {
            return Err(EINVAL);
        }
        let device = state.device();
        // The driver counts itself as open from here on: it may pin pages while it opens.
        state.set_open_count(1);
        kvm::attach(device, &kvm.lock());
        Self::open(device, back).inspect_err(|_| {
            state.set_open_count(0);
            kvm::detach(device);
        })
    }

    fn open(device: &Device, back: impl FnOnce(&Device) -> Result<B>) -> Result<Self> {
        let module = device.pin_bus_driver()?;
        let backing = back(device)?;
        if let Err(e) = device.driver_open() {
            backing.release(device);
            return Err(e);
        }
        Ok(Self { backing, module })
    }

    /// Closes the device, of which no file is left.
    pub(crate) fn end(self, state: &mut OpenState<'_>) {
        let device = state.device();
        device.driver_close();
        self.backing.release(device);
        state.clear_precopy_info_v2();
        drop(self.module);
        state.set_open_count(0);
        kvm::detach(device);
    }

    /// How the device reaches memory.
    pub(crate) fn backing(&self) -> &B {
        &self.backing
    }
}

/// Adds a file to the session.
///
/// # Errors
///
/// `EMFILE` if there are too many to count.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) fn join(state: &mut OpenState<'_>) -> Result {
    let count = state.open_count().checked_add(1).ok_or(EMFILE)?;
    state.set_open_count(count);
    Ok(())
}

/// Takes a file from the session, unless it is the last one: then the session must be ended.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) fn leave(state: &mut OpenState<'_>) -> Left {
    match state.open_count() {
        0 => {
            static WARNED: AtomicFlag = AtomicFlag::new(false);
            kernel::warn_on!(!WARNED.xchg(true, Relaxed));
            Left::Files
        }
        1 => Left::Nobody,
        count => {
            state.set_open_count(count - 1);
            Left::Files
        }
    }
}

/// What is left of a session when a file goes.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) enum Left {
    /// Other files.
    Files,
    /// None: the session must be ended.
    Nobody,
}

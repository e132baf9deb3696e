// SPDX-License-Identifier: GPL-2.0

//! Open sessions: what the first file of a device sets up and the last one takes down.
//!
//! A [`Session`] holds the module of the bus driver and what gives the device access to memory
//! ([`Backing`]); the device holds the virtual machine that KVM named, and the driver has it open.
//! The group or the file of the cdev that began the session stores it until it ends.
//!
//! A device has one session at a time, and `open_count` files share it; drivers read that number.
//! Everything here runs under the lock of the device's set.
//!
//! Corresponds to `vfio_df_open()` and `vfio_df_close()`; contract 3.4.
//!
//! Deviation: a session stores what it set up and undoes exactly that. C undoes what fits the file
//! that is closed last, for which the group may have been in something else.

use kernel::{
    prelude::*,
    sync::SpinLock, //
};

#[cfg(CONFIG_VFIO_GROUP)]
use crate::kernel::warn::warn_on_once;
use crate::{
    core::kvm,
    kernel::{
        kvm::KvmPtr,
        module::ModuleRef,
        returned::Failure, //
    },
    refusal::Refusal,
    trace,
    views::device::{
        Device,
        OpenState, //
    }, //
};

/// What gives an open device access to memory: a use of a container, or a binding to an iommufd.
pub(crate) trait Backing: Sized {
    /// Undoes what was set up for the device, after its driver has closed it. The lock of the
    /// device's set is held. May sleep.
    fn release(self, device: &Device);
}

/// An open device. It must be ended with [`Session::end`], not dropped.
#[must_use]
pub(crate) struct Session<B> {
    backing: B,
    module: ModuleRef,
}

impl<B: Backing> Session<B> {
    /// Opens a device for one file.
    ///
    /// The driver sees the virtual machine that `kvm` names; `back` gives the device access to
    /// memory. The lock of the device's set is held, which `state` shows; takes the spinlock `kvm`
    /// for a moment. Sleeps. Corresponds to `vfio_df_device_first_open()`.
    ///
    /// # Errors
    ///
    /// Nothing of the device has changed then.
    ///
    /// - `EINVAL` if the device is open.
    /// - `ENODEV` if the bus driver's module is being unloaded.
    /// - Those of `back`.
    /// - Any failure of the driver's `open_device`.
    #[doc(alias = "vfio_df_open")]
    #[doc(alias = "vfio_df_device_first_open")]
    pub(crate) fn begin(
        state: &mut OpenState<'_>,
        kvm: &SpinLock<KvmPtr>,
        back: impl FnOnce(&Device) -> Result<B, Failure>,
    ) -> Result<Self, Failure> {
        let device = state.device();
        if state.open_count() > 0 {
            let device = device.bus_device().name();
            return Err(Refusal::DeviceOpen { device }.report(EINVAL).into());
        }
        // The device counts as open from here on, because its driver may pin pages in
        // `open_device`.
        state.set_open_count(1);
        kvm::attach(device, &kvm.lock());
        let session = Self::open(device, back).inspect_err(|_| {
            state.set_open_count(0);
            kvm::detach(device);
        });
        trace::device_open(device.bus_device(), &session);
        session
    }

    fn open(
        device: &Device,
        back: impl FnOnce(&Device) -> Result<B, Failure>,
    ) -> Result<Self, Failure> {
        let module = device.pin_bus_driver()?;
        let backing = back(device)?;
        if let Err(e) = device.driver_open() {
            backing.release(device);
            return Err(e);
        }
        Ok(Self { backing, module })
    }

    /// Closes the device, of which no file is left; undoes [`Session::begin`].
    ///
    /// The lock of the device's set is held. Sleeps. Corresponds to `vfio_df_device_last_close()`.
    #[doc(alias = "vfio_df_close")]
    #[doc(alias = "vfio_df_device_last_close")]
    pub(crate) fn end(self, state: &mut OpenState<'_>) {
        let device = state.device();
        device.driver_close();
        self.backing.release(device);
        state.clear_precopy_info_v2();
        drop(self.module);
        state.set_open_count(0);
        kvm::detach(device);
        trace::device_close(device.bus_device());
    }

    /// Returns what gives the device access to memory.
    pub(crate) fn backing(&self) -> &B {
        &self.backing
    }
}

/// Adds a file to the session. The lock of the device's set is held.
///
/// # Errors
///
/// `EMFILE` if the number of files does not fit into `open_count`.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) fn join(state: &mut OpenState<'_>) -> Result {
    let count = state.open_count().checked_add(1).ok_or(EMFILE)?;
    state.set_open_count(count);
    Ok(())
}

/// Removes a file from the session, unless it is the last one: then the caller must end the
/// session. Warns once if the device is not open. The lock of the device's set is held.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) fn leave(state: &mut OpenState<'_>) -> Left {
    match state.open_count() {
        0 => {
            warn_on_once!(true);
            Left::Files
        }
        1 => Left::Nobody,
        count => {
            state.set_open_count(count - 1);
            Left::Files
        }
    }
}

/// Who uses a session after a file has left it.
#[cfg(CONFIG_VFIO_GROUP)]
pub(crate) enum Left {
    /// Other files, or the device was not open in the first place.
    Files,
    /// Nobody: the session must be ended.
    Nobody,
}

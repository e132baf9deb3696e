// SPDX-License-Identifier: GPL-2.0

//! What translates the DMA of a container: another module that registered itself, or nothing.
//!
//! This file owns the registry of backends. Its lock is the innermost of the container layer; the
//! modules behind the entries are pinned while they are used, so they cannot unregister.
//!
//! Corresponds to the iommu-driver half of `drivers/vfio/container.c`; contract sections 3.1, 4.8.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kernel::{
        iommu_group::IommuGroup,
        module::ModuleInit,
        task,
        uaccess::UserAddr, //
    },
    noiommu,
    uapi::ioctls,
    views::{
        device::Device,
        group_type::GroupType,
        iommu_driver::{
            BackendState,
            IommuDriver, //
        }, //
    }, //
};

kernel::sync::global_lock! {
    // SAFETY: Initialised by `BackendRegistry::init`, before the first backend or container.
    unsafe(uninit) static DRIVERS: Mutex<KVec<IommuDriver>> = KVec::new();
}

/// The registry of backends; dropping it frees it.
pub(crate) struct BackendRegistry(());

impl BackendRegistry {
    /// Makes the registry usable. Called once.
    pub(crate) fn init(_: &ModuleInit) -> Self {
        // SAFETY: Nobody else uses the module yet, so there is no backend and no container.
        unsafe { DRIVERS.init() };
        Self(())
    }
}

impl Drop for BackendRegistry {
    fn drop(&mut self) {
        drop(core::mem::take(&mut *DRIVERS.lock()));
    }
}

/// Adds a backend. It is asked before those that are there already.
///
/// # Errors
///
/// `EINVAL` if the table is inconsistent (and a warning) or registered, `ENOMEM`.
pub(crate) fn register_driver(driver: IommuDriver) -> Result {
    if kernel::warn_on!(!driver.is_consistent()) {
        return Err(EINVAL);
    }
    let mut drivers = DRIVERS.lock();
    if drivers.contains(&driver) {
        return Err(EINVAL);
    }
    drivers.reserve(1, GFP_KERNEL)?;
    drivers
        .insert_within_capacity(0, driver)
        .map_err(|_| ENOMEM)
}

/// Removes a backend, if it is there.
pub(crate) fn unregister_driver(driver: IommuDriver) {
    DRIVERS.lock().retain(|d| *d != driver);
}

/// What a container has chosen.
pub(crate) enum Backend {
    /// Another module translates.
    Driver(BackendState),
    /// Nothing translates; the user addresses physical memory.
    NoIommu,
}

impl Backend {
    /// Passes an ioctl on.
    pub(crate) fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<isize> {
        match self {
            Self::Driver(state) => state.ioctl(cmd, arg),
            Self::NoIommu if cmd == ioctls::VFIO_CHECK_EXTENSION => Ok(noiommu_extension(arg)),
            Self::NoIommu => Err(ENOTTY),
        }
    }

    /// Lets a group's DMA through.
    pub(crate) fn attach_group(&self, group: &IommuGroup, kind: GroupType) -> Result {
        match self {
            Self::Driver(state) => state.attach_group(group, kind),
            Self::NoIommu => Ok(()),
        }
    }

    /// The opposite of [`Backend::attach_group`].
    pub(crate) fn detach_group(&self, group: &IommuGroup) {
        if let Self::Driver(state) = self {
            state.detach_group(group);
        }
    }

    /// Tells the backend of a device that is about to be opened.
    pub(crate) fn register_device(&self, device: &Device) {
        if let Self::Driver(state) = self {
            state.register_device(device);
        }
    }

    /// The opposite of [`Backend::register_device`].
    pub(crate) fn unregister_device(&self, device: &Device) {
        if let Self::Driver(state) = self {
            state.unregister_device(device);
        }
    }

    /// The state of the module that translates.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if nothing does.
    pub(crate) fn driver(&self) -> Result<&BackendState> {
        match self {
            Self::Driver(state) => Ok(state),
            Self::NoIommu => Err(ENOTTY),
        }
    }
}

/// What a container without IOMMU says to CHECK_EXTENSION. The parameter is read as it is now.
fn noiommu_extension(arg: UserAddr) -> isize {
    (noiommu::is_enabled() && arg.get() == ioctls::VFIO_NOIOMMU_IOMMU).into()
}

/// Answers CHECK_EXTENSION for a container without a backend: the first that says more than 0,
/// else what the last one asked said.
///
/// `noiommu` is what kind of groups the container has, if any: they restrict the choice.
#[inline(never)] // Only containers without a backend come here.
pub(crate) fn check_extension(noiommu: Option<bool>, arg: UserAddr) -> Result<isize> {
    let mut answer = Ok(0);
    if noiommu != Some(true) {
        for driver in DRIVERS.lock().iter() {
            let Some(pinned) = driver.pin() else { continue };
            answer = pinned.check_extension(arg);
            if matches!(answer, Ok(n) if n > 0) {
                return answer;
            }
        }
    }
    if cfg!(CONFIG_VFIO_NOIOMMU) && noiommu != Some(false) {
        answer = Ok(noiommu_extension(arg));
    }
    answer
}

/// Opens the first backend that takes the IOMMU type `arg` and with which `attach` succeeds.
///
/// # Errors
///
/// `ENODEV` if no backend knows the type, else the error of the last that failed.
pub(crate) fn open(
    noiommu: bool,
    arg: UserAddr,
    attach: impl Fn(&Backend) -> Result,
) -> Result<Arc<Backend>> {
    if noiommu {
        return open_noiommu(arg);
    }
    let mut failure = ENODEV;
    for driver in DRIVERS.lock().iter() {
        let Some(pinned) = driver.pin() else { continue };
        if !matches!(pinned.check_extension(arg), Ok(n) if n > 0) {
            continue;
        }
        let opened = pinned.open(arg).and_then(|state| {
            // Once groups are attached nothing may fail: a backend is not made to be released
            // with groups in it.
            let backend = Arc::new(Backend::Driver(state), GFP_KERNEL)?;
            attach(&backend)?;
            Ok(backend)
        });
        match opened {
            Ok(backend) => return Ok(backend),
            Err(e) => failure = e,
        }
    }
    Err(failure)
}

fn open_noiommu(arg: UserAddr) -> Result<Arc<Backend>> {
    if noiommu_extension(arg) == 0 {
        return Err(ENODEV);
    }
    if !task::capable_rawio() {
        return Err(EPERM);
    }
    Ok(Arc::new(Backend::NoIommu, GFP_KERNEL)?)
}

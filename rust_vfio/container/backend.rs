// SPDX-License-Identifier: GPL-2.0

//! Backends of containers: another module that translates their DMA (an "iommu driver" in C), or
//! the built-in one for groups without IOMMU, which translates nothing.
//!
//! This file owns the registry of backends. Its lock, `DRIVERS`, is taken under that of a
//! container and outside the locks of backends. The module of a backend is kept while its table is
//! used, so it cannot unregister meanwhile.
//!
//! Corresponds to `vfio_register_iommu_driver()`, `vfio_noiommu_ops` and the walks over
//! `vfio.iommu_drivers_list` in `drivers/vfio/container.c`; contract 3.1 and 4.8.

use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print, //
};

use crate::{
    kernel::{
        iommu_group::IommuGroup,
        module::ModuleInit,
        returned::Failure,
        slab::{
            Counted,
            Shared, //
        },
        task,
        uaccess::UserAddr, //
    },
    noiommu,
    refusal::Refusal,
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
    // SAFETY: `BackendRegistry::init` initialises it, which the module's init function calls before
    // a backend can register and a container be opened.
    unsafe(uninit) static DRIVERS: Mutex<KVec<IommuDriver>> = KVec::new();
}

/// The registry of backends while the module is loaded; dropping it empties the registry.
pub(crate) struct BackendRegistry(());

impl BackendRegistry {
    /// Initialises the registry. Called once.
    pub(crate) fn init(_: &ModuleInit) -> Self {
        // SAFETY: `ModuleInit` shows that nobody else uses the module yet, so nobody has locked it;
        // the module's init function calls this once.
        unsafe { DRIVERS.init() };
        Self(())
    }
}

impl Drop for BackendRegistry {
    fn drop(&mut self) {
        drop(core::mem::take(&mut *DRIVERS.lock()));
    }
}

/// Registers a backend. Containers try it before those that were registered earlier. Takes the
/// lock of the registry. Sleeps.
///
/// # Errors
///
/// - `EINVAL` (and a warning) if the table has only one of `register_device` and
///   `unregister_device`.
/// - `EINVAL` if the table is registered.
/// - `ENOMEM`.
#[doc(alias = "vfio_register_iommu_driver")]
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

/// Unregisters a backend, if it is registered. Takes the lock of the registry. Sleeps.
#[doc(alias = "vfio_unregister_iommu_driver")]
pub(crate) fn unregister_driver(driver: IommuDriver) {
    DRIVERS.lock().retain(|d| *d != driver);
}

/// The backend of a container.
pub(crate) enum Backend {
    /// Another module, and its state for this container.
    Driver(BackendState),
    /// None: the devices address physical memory.
    NoIommu,
}

impl Backend {
    /// Passes an ioctl of the container's file on. Sleeps.
    ///
    /// # Errors
    ///
    /// - Any failure of the backend's `ioctl`, or `EINVAL` if it has none.
    /// - `ENOTTY` for requests other than CHECK_EXTENSION if nothing translates.
    pub(crate) fn ioctl(&self, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        match self {
            Self::Driver(state) => state.ioctl(cmd, arg),
            Self::NoIommu if cmd == ioctls::VFIO_CHECK_EXTENSION => Ok(noiommu_extension(arg)),
            Self::NoIommu => Err(ENOTTY.into()),
        }
    }

    /// Attaches a group: its devices can use what is mapped in the container. The container's lock
    /// is held. Sleeps.
    ///
    /// # Errors
    ///
    /// None if nothing translates. Otherwise any failure of the backend's `attach_group`, or
    /// `EINVAL` if it has none. Those of type1 (contract 6.12):
    ///
    /// - `EBUSY` while a mapping has lost its vaddr, after UNMAP_DMA with the flag VADDR.
    /// - `EINVAL` if the group is attached already.
    /// - `ENOMEM`.
    /// - Any errno of the IOMMU driver as a domain is made and attached to the group, among them
    ///   `EBUSY` if another domain is attached or a device of the group is being reset, and
    ///   `EINVAL` if this one does not fit a device.
    /// - `EINVAL` if memory is mapped at IOVAs that the new domain cannot translate, or that are
    ///   reserved for the group.
    /// - `EPERM` if the interrupts of the group are not isolated and the parameter
    ///   `allow_unsafe_interrupts` of type1 is off.
    /// - Any errno of mapping in the new domain what is mapped in the container. If the group is
    ///   the first that needs the memory pinned, also those of pinning: `ENODEV` if the process of
    ///   a mapping is gone, `EFAULT`, `ENOMEM`, `EINTR`, `EBUSY` if memory of a device cannot be
    ///   migrated to RAM, and others.
    pub(crate) fn attach_group(&self, group: &IommuGroup, kind: GroupType) -> Result<(), Failure> {
        match self {
            Self::Driver(state) => state.attach_group(group, kind),
            Self::NoIommu => Ok(()),
        }
    }

    /// Detaches a group; undoes [`Backend::attach_group`]. The container's lock is held. Sleeps.
    pub(crate) fn detach_group(&self, group: &IommuGroup) {
        if let Self::Driver(state) = self {
            state.detach_group(group);
        }
    }

    /// Tells the backend of a device that is about to be opened. The lock of the device's set is
    /// held. Sleeps.
    #[doc(alias = "vfio_device_container_register")]
    pub(crate) fn register_device(&self, device: &Device) {
        if let Self::Driver(state) = self {
            state.register_device(device);
        }
    }

    /// Tells the backend of a device that has been closed; undoes [`Backend::register_device`]. The
    /// lock of the device's set is held. Sleeps until a call of the driver's `dma_unmap` returns.
    #[doc(alias = "vfio_device_container_unregister")]
    pub(crate) fn unregister_device(&self, device: &Device) {
        if let Self::Driver(state) = self {
            state.unregister_device(device);
        }
    }

    /// Prints the lines of the backend in fdinfo and debugfs. Does not wait for the backend's lock.
    pub(crate) fn show(&self, m: &SeqFile) {
        match self {
            Self::Driver(state) => state.show(m),
            Self::NoIommu => seq_print!(m, "vfio-container-backend:\tnoiommu\n"),
        }
    }

    /// Returns the state of the module that translates.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if nothing translates.
    pub(crate) fn driver(&self) -> Result<&BackendState> {
        match self {
            Self::Driver(state) => Ok(state),
            Self::NoIommu => Err(ENOTTY),
        }
    }
}

/// Returns the answer of the built-in backend to CHECK_EXTENSION: 1 for the type without IOMMU if
/// the administrator allows such devices now, else 0.
#[doc(alias = "vfio_noiommu_ioctl")]
fn noiommu_extension(arg: UserAddr) -> isize {
    (noiommu::is_enabled() && arg.get() == ioctls::VFIO_NOIOMMU_IOMMU).into()
}

/// Returns the answer to CHECK_EXTENSION of a container without a backend: the first answer of a
/// backend that is more than 0, else the last one.
///
/// `noiommu` says whether the groups of the container are without IOMMU, which restricts the
/// choice; it is none if there is no group. Takes the lock of the registry. Sleeps.
///
/// # Errors
///
/// Any failure of the last backend's `ioctl`.
#[inline(never)] // Only containers without a backend come here.
pub(crate) fn check_extension(noiommu: Option<bool>, arg: UserAddr) -> Result<isize, Failure> {
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
/// `noiommu` says whether the groups of the container are without IOMMU. The container's lock is
/// held; takes that of the registry. Sleeps.
///
/// # Errors
///
/// - `ENODEV` if no backend takes the type. Without IOMMU that is also so while the parameter
///   `enable_unsafe_noiommu_mode` is off.
/// - `EPERM` without IOMMU if the calling task lacks `CAP_SYS_RAWIO`.
/// - Otherwise that of the last backend that failed: any errno of its `open` (type1: `EINVAL` for a
///   number that is an extension and no type, `ENOMEM`), `EINVAL` if it has none, `ENOMEM`, or that
///   of `attach`.
pub(crate) fn open(
    noiommu: bool,
    arg: UserAddr,
    attach: impl Fn(&Backend) -> Result<(), Failure>,
) -> Result<Shared<Backend>, Failure> {
    if noiommu {
        return Ok(open_noiommu(arg)?);
    }
    let mut failure = ENODEV.into();
    for driver in DRIVERS.lock().iter() {
        let Some(pinned) = driver.pin() else { continue };
        if !matches!(pinned.check_extension(arg), Ok(n) if n > 0) {
            continue;
        }
        let attempt = || -> Result<_, Failure> {
            // Nothing may fail once groups are attached, because a backend must not be released
            // while it has groups.
            let backend = Counted::new(Backend::Driver(pinned.open(arg)?), GFP_KERNEL)?;
            attach(&backend)?;
            Ok(backend)
        };
        match attempt() {
            Ok(backend) => return Ok(backend),
            Err(e) => failure = e,
        }
    }
    if failure == ENODEV.into() {
        Refusal::NoBackend { kind: arg.get() }.report(ENODEV);
    }
    Err(failure)
}

fn open_noiommu(arg: UserAddr) -> Result<Shared<Backend>> {
    if noiommu_extension(arg) == 0 {
        return Err(Refusal::NoBackend { kind: arg.get() }.report(ENODEV));
    }
    if !task::capable_rawio() {
        return Err(Refusal::RawIo.report(EPERM));
    }
    Counted::new(Backend::NoIommu, GFP_KERNEL)
}

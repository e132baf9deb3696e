// SPDX-License-Identifier: GPL-2.0

//! The life of a VFIO device, from allocation to the last reference.
//!
//! A driver allocates a device, registers it, unregisters it and drops its reference. Between
//! registration and unregistration user space can open it (`registration.rs`).
//!
//! The device is a C structure that the driver embeds. This file owns its index and its inode, and
//! takes it out of its device set (`views/set_table.rs`) when it is freed. Nothing here takes a
//! lock of its own.
//!
//! Corresponds to `_vfio_alloc_device()`, `vfio_init_device()` and `vfio_device_release()` in
//! `drivers/vfio/vfio_main.c`; contract 1.3 and 1.4.
//!
//! Deviation: if `init` of a driver fails with a number that is no errno (a positive one, or one
//! below -4095), the driver gets `EINVAL`. C returns the number as a pointer, which the driver
//! takes for its device.

use kernel::{
    prelude::*,
    sync::SetOnce, //
};

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::kernel::chardev::NodePath;
use crate::{
    kernel::{
        chardev::{
            Class,
            ClassHandle, //
        },
        ida::{
            Id,
            Ida,
            IdaLife, //
        },
        module::ModuleInit, //
    },
    views::{
        device::{
            Allocated,
            Blueprint,
            Device,
            Lifecycle,
            RawDevice, //
        },
        inode,
        set_table, //
    }, //
};

pub(crate) mod feature_call;
pub(crate) mod info_caps;
pub(crate) mod irqs;
pub(crate) mod kvm;
pub(crate) mod provider;
pub(crate) mod session;

/// The indices of devices. The index of a device is also the minor number of its cdev.
static INDICES: Ida = Ida::uninit();

/// The class `vfio-dev`, which [`CoreState`] owns.
static CLASS: SetOnce<ClassHandle> = SetOnce::new();

/// The place of the cdevs: `/dev/vfio/devices`.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
struct DeviceNode;

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
impl NodePath for DeviceNode {
    const FORMAT: &'static CStr = c"vfio/devices/%s";
}

/// What the core needs as long as the module is loaded. Fields are dropped in this order.
pub(crate) struct CoreState {
    _indices: IdaLife,
    _class: Class,
    _sets: set_table::Sets,
}

impl CoreState {
    /// Sets the core up. Called once.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EEXIST` if another module has a class of this name.
    pub(crate) fn init(loading: &ModuleInit) -> Result<Self> {
        #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
        let class = Class::with_nodes::<DeviceNode>(c"vfio-dev")?;
        #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
        let class = Class::new(c"vfio-dev")?;
        CLASS.populate(class.handle());
        Ok(Self {
            _sets: set_table::Sets::init(loading),
            _class: class,
            // SAFETY: `loading` shows that nobody uses the module yet, so there is no device. The
            // result is dropped when the module is unloaded, which no device outlives: each keeps
            // its driver's module, which uses this one.
            _indices: unsafe { INDICES.init() },
        })
    }
}

/// Allocates a device of the size and with the callbacks that its driver asks for.
///
/// The caller owns one reference to the result, in the sense of `put_device()`. Sleeps; takes no
/// lock. Corresponds to `_vfio_alloc_device()`; contract 1.3.
///
/// # Errors
///
/// - `EINVAL` (and a warning) if the driver's structure is smaller than a device.
/// - `ENOMEM`.
/// - `ENOSPC` if no index is free.
/// - Any errno of making the inode, or of the driver's `init`.
#[doc(alias = "_vfio_alloc_device")]
pub(crate) fn allocate(blueprint: &Blueprint) -> Result<RawDevice> {
    let class = CLASS.copy().ok_or(ENODEV)?;
    let mut device = blueprint.allocate()?;
    let index = INDICES.alloc_minor().inspect_err(|_| {
        dev_dbg!(device.bus_device(), "no free VFIO device index\n");
    })?;
    device.set_index(index.value());
    inode::add_inode(&device)?;
    if let Err(failure) = device.driver_init() {
        inode::remove_inode(&device);
        // The driver may have chosen a set before it failed.
        set_table::leave(&device);
        // The caller gets a pointer, so only an errno is seen as a failure.
        return Err(failure.to_error());
    }
    index.into_raw();
    Ok(device.into_counted::<Life>(class))
}

/// What is done at the end of a device's life.
struct Life;

impl Lifecycle for Life {
    /// Frees the device with its last reference. Sleeps; takes the lock of the device's set and
    /// that of the table of sets, one after the other.
    ///
    /// Corresponds to `vfio_device_release()`; contract 1.4.
    fn release(device: &Device) {
        set_table::leave(device);
        drop(Id::from_raw(&INDICES, device.index()));
        device.driver_release();
        inode::remove_inode(device);
        // SAFETY: `Lifecycle::release` is called when the last reference is gone, and its caller
        // does not use the device afterwards.
        drop(unsafe { Allocated::reclaim(device) });
    }
}

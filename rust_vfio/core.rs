// SPDX-License-Identifier: GPL-2.0

//! The life of a VFIO device, from allocation to the last reference.
//!
//! A driver allocates a device, registers it, unregisters it and drops its reference. Between
//! registration and unregistration user space can open it. Unregistration waits for every user to
//! let go, and asks the driver to ask them.
//!
//! The device is a C structure that the driver embeds; this module owns its index, its inode, its
//! place in a device set and its registration count. The count is atomic; the set has a lock of
//! its own (`views/set_table.rs`).
//!
//! Corresponds to the first half of `drivers/vfio/vfio_main.c`; contract sections 1.3 to 1.7.

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

/// The indices of devices. They are also the minors of the nodes that name a device directly.
static INDICES: Ida = Ida::uninit();

/// The class `vfio-dev`, which [`CoreState`] owns.
static CLASS: SetOnce<ClassHandle> = SetOnce::new();

/// CoreState have their nodes in `/dev/vfio/devices`.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
struct DeviceNode;

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
impl NodePath for DeviceNode {
    const FORMAT: &'static CStr = c"vfio/devices/%s";
}

/// What the device layer needs as long as the module is loaded. Fields are dropped in this order.
pub(crate) struct CoreState {
    _indices: IdaLife,
    _class: Class,
    _sets: set_table::Sets,
}

impl CoreState {
    /// Sets the device layer up. Called once.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EEXIST` if there is such a class already.
    pub(crate) fn init(loading: &ModuleInit) -> Result<Self> {
        #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
        let class = Class::with_nodes::<DeviceNode>(c"vfio-dev")?;
        #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
        let class = Class::new(c"vfio-dev")?;
        CLASS.populate(class.handle());
        Ok(Self {
            _sets: set_table::Sets::init(loading),
            _class: class,
            // SAFETY: Nobody else uses the module yet, and the result goes when no device is left.
            _indices: unsafe { INDICES.init() },
        })
    }
}

/// Makes a device as its driver wants it.
///
/// The caller owns one reference to the result, in the sense of `put_device()`. Contract 1.3.
///
/// # Errors
///
/// `EINVAL` (and a warning) if the driver's structure is smaller than a device, `ENOMEM`, `ENOSPC`
/// without a free index, what the driver's `init` returned.
pub(crate) fn allocate(blueprint: &Blueprint) -> Result<RawDevice> {
    let class = CLASS.copy().ok_or(ENODEV)?;
    let mut device = blueprint.allocate()?;
    let index = INDICES.alloc_minor().inspect_err(|_| {
        dev_dbg!(device.bus_device(), "no free VFIO device index\n");
    })?;
    device.set_index(index.value());
    inode::add_inode(&device)?;
    if let Err(e) = device.driver_init() {
        inode::remove_inode(&device);
        // The driver may have chosen a set before it failed.
        set_table::leave(&device);
        return Err(e);
    }
    index.into_raw();
    Ok(device.into_counted::<Life>(class))
}

/// The end of a device's life. Contract 1.4.
struct Life;

impl Lifecycle for Life {
    fn release(device: &Device) {
        set_table::leave(device);
        drop(Id::from_raw(&INDICES, device.index()));
        device.driver_release();
        inode::remove_inode(device);
        // SAFETY: The last reference is gone, and this function's caller forgets the device.
        drop(unsafe { Allocated::reclaim(device) });
    }
}

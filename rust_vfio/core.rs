// SPDX-License-Identifier: GPL-2.0

//! The life of a VFIO device, from allocation to the last reference.
//!
//! A driver allocates a device, registers it, unregisters it and drops its reference. Between
//! registration and unregistration user space can open it. Unregistration waits for every user to
//! let go, and asks the driver to ask them.
//!
//! The device is a C structure that the driver embeds; this module owns its index, its inode, its
//! place in a device set and its registration count. The count is atomic; the set has a lock of
//! its own (`core/device_set.rs`).
//!
//! Corresponds to the first half of `drivers/vfio/vfio_main.c`; contract sections 1.3 to 1.7.
//! Unlike there, a failure to make the default device set fails the registration.

use kernel::{
    prelude::*,
    sync::SetOnce,
    time::msecs_to_jiffies,
    types::ScopeGuard, //
};

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::device_cdev;
use crate::{
    ffi::{
        chardev::{
            Class,
            ClassHandle, //
        },
        device::{
            Allocated,
            Blueprint,
            Device,
            IommuCap,
            Lifecycle,
            RawDevice, //
        },
        group_kind::GroupKind,
        ida::{
            Id,
            Ida,
            IdaLife, //
        },
        pseudo_fs,
        task::{
            self,
            Comm, //
        },
    },
    group, noiommu,
};

pub(crate) mod bind_request;
pub(crate) mod debugfs;
pub(crate) mod device_set;
pub(crate) mod dma;
pub(crate) mod features;
pub(crate) mod info_caps;
pub(crate) mod irqs;
pub(crate) mod kvm;
pub(crate) mod region_info;
pub(crate) mod requests;
pub(crate) mod session;

/// The indices of devices. They are also the minors of the nodes that name a device directly.
static INDICES: Ida = Ida::uninit();

/// The class `vfio-dev`, which [`Devices`] owns.
static CLASS: SetOnce<ClassHandle> = SetOnce::new();

/// How long a task that unregisters a device waits before it asks again.
const REQUEST_INTERVAL_MS: u32 = 10_000;

/// What the device layer needs as long as the module is loaded. Fields are dropped in this order.
pub(crate) struct Devices {
    _debugfs: debugfs::Root,
    _indices: IdaLife,
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    _nodes: device_cdev::Nodes,
    _class: Class,
    _sets: device_set::Sets,
}

impl Devices {
    /// Sets the device layer up.
    ///
    /// # Safety
    ///
    /// Called once, before anything else of this file, and the result is dropped when no device is
    /// left.
    pub(crate) unsafe fn init() -> Result<Self> {
        #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
        let class = Class::with_nodes::<device_cdev::DeviceNode>(c"vfio-dev")?;
        #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
        let class = Class::new(c"vfio-dev")?;
        CLASS.populate(class.handle());
        Ok(Self {
            // SAFETY: By the contract of this function.
            _sets: unsafe { device_set::Sets::init() },
            _class: class,
            #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
            _nodes: device_cdev::Nodes::init()?,
            // SAFETY: As above.
            _indices: unsafe { INDICES.init() },
            _debugfs: debugfs::create_root(),
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
    pseudo_fs::add_inode(&device)?;
    if let Err(e) = device.driver_init() {
        pseudo_fs::remove_inode(&device);
        // The driver may have chosen a set before it failed.
        device_set::leave(&device);
        return Err(e);
    }
    index.into_raw();
    Ok(device.into_counted::<Life>(class))
}

/// The end of a device's life. Contract 1.4.
struct Life;

impl Lifecycle for Life {
    fn release(device: &Device) {
        device_set::leave(device);
        drop(Id::from_raw(&INDICES, device.index()));
        device.driver_release();
        pseudo_fs::remove_inode(device);
        // SAFETY: The last reference is gone, and this function's caller forgets the device.
        drop(unsafe { Allocated::reclaim(device) });
    }
}

/// Makes a device available to user space. Contract 1.5.
///
/// On failure the device keeps its name and its set; the driver still owns its reference.
///
/// # Errors
///
/// `EINVAL` if the driver lacks an operation, if the device is in no IOMMU group, is registered
/// already or is not cache coherent; `ENOMEM`; what sysfs returned.
pub(crate) fn register(device: &Device, kind: GroupKind) -> Result {
    if kernel::warn_on!(cfg!(CONFIG_IOMMUFD) && !device.supports_iommufd()) {
        return Err(EINVAL);
    }
    device_set::join_default(device)?;

    // Drivers see the flag; with iommufd it lets a device without IOMMU be bound.
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    if kind == GroupKind::Iommu && noiommu::is_enabled() && !device.has_iommu() {
        device.mark_noiommu();
    }
    device.set_name(if device.is_marked_noiommu() {
        c"noiommu-vfio"
    } else {
        c"vfio"
    })?;

    group::join(device, kind)?;
    let membership = ScopeGuard::new(|| group::leave(device));

    let noiommu = noiommu::is_device(device);
    if cfg!(CONFIG_IOMMUFD_NOIOMMU) && noiommu {
        noiommu::taint(device);
    }
    // A user could otherwise read stale memory through a device that snoops no cache.
    if kind == GroupKind::Iommu && !noiommu && !device.iommu_capable(IommuCap::CacheCoherency) {
        return Err(EINVAL);
    }

    // SAFETY: The next step publishes the device.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    unsafe {
        device_cdev::add_node(device)
    };
    device.publish()?;
    membership.dismiss();
    // Until here nobody can take a count, so a file cannot be opened in between.
    device.start_registration();
    group::link(device);
    debugfs::add_device(device);
    Ok(())
}

/// Takes a device away from user space, and waits for as long as somebody uses it. Contract 1.7.
///
/// Sleeps, perhaps for ever. The caller holds the lock of the bus device, so the driver's
/// `request` must not want it.
pub(crate) fn unregister(device: &Device) {
    group::unlink(device);
    // A reader of these files uses memory that goes with the device.
    debugfs::remove_device(device);
    device.unpublish();
    // SAFETY: The count that `register` started belongs to the driver, which keeps a reference.
    unsafe { device.put_registration() };
    wait_for_users(device);
    group::leave(device);
}

/// Waits until no count of the registration is left, and asks the driver every ten seconds to make
/// its user let go. A signal makes the waits uninterruptible and is reported once.
fn wait_for_users(device: &Device) {
    let interval = msecs_to_jiffies(REQUEST_INTERVAL_MS);
    let mut interrupted = false;
    let mut count = 0;
    let mut unused = device.is_unused();
    while !unused {
        device.driver_request(count);
        count = count.wrapping_add(1);
        unused = if interrupted {
            device.wait_unused(interval)
        } else {
            device
                .wait_unused_interruptible(interval)
                .unwrap_or_else(|_| {
                    interrupted = true;
                    dev_warn!(
                        device.bus_device(),
                        "{}:{} is blocked until the device is no longer in use\n",
                        Comm::current(),
                        task::current_pid(),
                    );
                    false
                })
        };
    }
}

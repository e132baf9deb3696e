// SPDX-License-Identifier: GPL-2.0

//! Devices become available to user space, and are taken away from it again.
//!
//! Registration puts the device into a group and gives it a node of its own; from then on user
//! space can open it. Unregistration waits for every user to let go, and asks the driver to ask
//! them.
//!
//! Corresponds to `__vfio_register_dev()` and `vfio_unregister_group_dev()`; contract sections 1.5
//! and 1.7.
//!
//! Deviation: a failure to make the default device set fails the registration.

use kernel::{
    prelude::*,
    time::msecs_to_jiffies,
    types::ScopeGuard, //
};

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::device_cdev;
use crate::{
    debugfs,
    group,
    kernel::task::{
        self,
        Comm, //
    },
    noiommu,
    views::{
        device::{
            Device,
            IommuCap, //
        },
        group_type::GroupType,
        set_table, //
    }, //
};

/// How long a task that unregisters a device waits before it asks again.
const REQUEST_INTERVAL_MS: u32 = 10_000;

/// Makes a device available to user space. Contract 1.5.
///
/// On failure the device keeps its name and its set; the driver still owns its reference.
///
/// # Errors
///
/// `EINVAL` if the driver lacks an operation, if the device is in no IOMMU group, is registered
/// already or is not cache coherent; `ENOMEM`; what sysfs returned.
pub(crate) fn register(device: &Device, kind: GroupType) -> Result {
    if kernel::warn_on!(cfg!(CONFIG_IOMMUFD) && !device.supports_iommufd()) {
        return Err(EINVAL);
    }
    set_table::join_default(device)?;

    // Drivers see the flag; with iommufd it lets a device without IOMMU be bound.
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    if kind == GroupType::Iommu && noiommu::is_enabled() && !device.has_iommu() {
        device.mark_noiommu();
    }
    device.set_name(if device.is_marked_noiommu() {
        c"noiommu-vfio"
    } else {
        c"vfio"
    })?;

    group::join(device, kind)?;
    let membership = ScopeGuard::new(|| {
        // SAFETY: The device is not registered, so nobody else looks for its group.
        unsafe { group::leave(device) }
    });

    let noiommu = group::is_noiommu(device);
    if cfg!(CONFIG_IOMMUFD_NOIOMMU) && noiommu {
        noiommu::taint(device);
    }
    // A user could otherwise read stale memory through a device that snoops no cache.
    if kind == GroupType::Iommu && !noiommu && !device.iommu_capable(IommuCap::CacheCoherency) {
        return Err(EINVAL);
    }

    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    device.publish(device_cdev::cdev_of(device))?;
    #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
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
    // SAFETY: The device is no longer registered, and no file of it is left.
    unsafe { group::leave(device) };
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

// SPDX-License-Identifier: GPL-2.0

//! Registration of devices, which makes them available to user space, and unregistration.
//!
//! Registration puts the device into a group and makes its cdev; from then on user space can open
//! it. Unregistration waits until no file of the device is open, and asks the driver every ten
//! seconds to make its users close them.
//!
//! The count of a device's registration is atomic. The locks are those of the functions that are
//! called; none is held from one step to the next.
//!
//! Corresponds to `__vfio_register_dev()` and `vfio_unregister_group_dev()` in
//! `drivers/vfio/vfio_main.c`; contract 1.5 and 1.7.
//!
//! Deviation: if the default device set cannot be made, registration fails with `ENOMEM`. C goes on
//! with a device that is in no set.

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
        Comm,
        TaskName, //
    },
    noiommu,
    views::{
        device::Device,
        group_type::GroupType,
        set_table, //
    }, //
};

/// The time between two requests to the driver, in milliseconds.
const REQUEST_INTERVAL_MS: u32 = 10_000;

/// Makes a device available to user space. Sleeps. Contract 1.5.
///
/// On failure the device keeps its name and its set; the driver still owns its reference.
///
/// # Errors
///
/// - `EINVAL` (and a warning) if the kernel has iommufd, and the driver lacks one of
///   `bind_iommufd`, `unbind_iommufd`, `attach_ioas` and `detach_ioas`.
/// - `ENOMEM`.
/// - `EINVAL` if the device is not emulated and in no IOMMU group, and the parameter
///   `enable_unsafe_noiommu_mode` is off.
/// - `EINVAL` (and a warning) if its group has a device with the same bus device.
/// - `ENOSPC` if no minor number is left for a new group.
/// - Any errno of making an IOMMU group, or the device node of a new group.
/// - `EINVAL` if the IOMMU does not make the device's DMA cache-coherent.
/// - Any errno of making the cdev.
#[doc(alias = "__vfio_register_dev")]
pub(crate) fn register(device: &Device, kind: GroupType) -> Result {
    if kernel::warn_on!(cfg!(CONFIG_IOMMUFD) && !device.supports_iommufd()) {
        return Err(EINVAL);
    }
    set_table::join_default(device)?;

    // The flag allows iommufd to bind a device without IOMMU. Drivers read it, too.
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
        // SAFETY: The guard is dismissed before the count of the registration starts. Without it no
        // file of the device can be opened, and nobody else asks for its group.
        unsafe { group::leave(device) }
    });

    let noiommu = group::is_noiommu(device);
    if cfg!(CONFIG_IOMMUFD_NOIOMMU) && noiommu {
        noiommu::taint(device);
    }
    // A user could otherwise read stale memory through a device that snoops no cache.
    if kind == GroupType::Iommu && !noiommu && !device.is_coherent() {
        return Err(EINVAL);
    }

    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    device.publish(device_cdev::cdev_of(device))?;
    #[cfg(not(CONFIG_VFIO_DEVICE_CDEV))]
    device.publish()?;
    membership.dismiss();
    // The cdev exists by now, but it cannot be opened before the count starts here.
    device.start_registration();
    group::link(device);
    debugfs::add_device(device);
    Ok(())
}

/// Takes a device away from user space, and waits until no file of it is open. Contract 1.7.
///
/// Sleeps, perhaps for ever. The caller holds the lock of the bus device, so the driver's
/// `request` must not take it.
#[doc(alias = "vfio_unregister_group_dev")]
pub(crate) fn unregister(device: &Device) {
    group::unlink(device);
    // Readers of these files use memory that `unpublish` frees.
    debugfs::remove_device(device);
    device.unpublish();
    // SAFETY: `register` started the count with the one that is given back here, once for each
    // registration. The driver keeps a reference to the device until this function returns.
    unsafe { device.put_registration() };
    wait_for_users(device);
    // SAFETY: `wait_for_users` returned because the count has dropped to 0. So the device is no
    // longer registered, and no file of it is left, each of which has one.
    unsafe { group::leave(device) };
}

/// Tells administrators for whom the device waits. Called when the user is asked for the second
/// time: after [`REQUEST_INTERVAL_MS`], or a signal.
fn report_user(device: &Device) {
    if let Some(user) = group::user_of(device) {
        dev_notice!(
            device.bus_device(),
            "vfio: {} waits until {} closes the device\n",
            TaskName::current(),
            user
        );
    }
}

/// Waits until no count of the registration is left, and calls the driver's `request` every ten
/// seconds. After a signal it warns once and waits uninterruptibly. Holds no lock.
fn wait_for_users(device: &Device) {
    let interval = msecs_to_jiffies(REQUEST_INTERVAL_MS);
    let mut interrupted = false;
    let mut count = 0;
    let mut unused = device.is_unused();
    while !unused {
        device.driver_request(count);
        if count == 1 {
            report_user(device);
        }
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

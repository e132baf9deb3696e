// SPDX-License-Identifier: GPL-2.0

//! The character device (cdev) of a device: the `struct cdev` in `struct vfio_device`.
//!
//! The minor is the index of the device. A device without a device number is in sysfs only. The
//! cdev is written when the device is registered, by the task that does so; `cdev_opened` is
//! protected by the lock of the device's set.
//!
//! Corresponds to `vfio_init_device_cdev()` in `drivers/vfio/device_cdev.c`, and to
//! `vfio_device_add()` and `vfio_device_del()` in `drivers/vfio/vfio.h`; contract section 3.5.
//!
//! C header: `include/linux/cdev.h`.

use core::mem::offset_of;

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    bindings,
    kernel::{
        chardev::RegionHandle,
        fops::{
            FileOps,
            FopsTable,
            Inode, //
        }, //
    },
    views::device::{
        Device,
        OpenState, //
    }, //
};

impl Device {
    /// Adds the device to sysfs. With `cdev`, the region of its device number and the operations of
    /// its files, it also gets a cdev and a device node. Called once for each registration, after
    /// [`Device::set_name`]. Sleeps.
    ///
    /// The open method of the table finds the device with [`Device::of_cdev`].
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EEXIST` if there is a device of this name, or any other errno of sysfs.
    #[doc(alias = "vfio_device_add")]
    pub(crate) fn publish<T: FileOps>(
        &self,
        cdev: Option<(RegionHandle, &'static FopsTable<T>)>,
    ) -> Result {
        // SAFETY: The device is being registered, so `Allocated::into_counted` has initialised it,
        // and the caller has named it. Nobody else uses these members yet. `cdev_device_add()` does
        // not use the cdev of a device without a number.
        to_result(unsafe {
            let object = &raw mut (*self.as_raw()).cdev;
            if let Some((region, fops)) = cdev {
                (*self.own_device()).devt = region.devt(self.index());
                bindings::cdev_init(object, fops.as_ptr());
                (*object).owner = kernel::module::this_module::<crate::LocalModule>().as_ptr();
            }
            bindings::cdev_device_add(object, self.own_device())
        })
    }

    /// Removes the device from sysfs, and its cdev and device node; undoes [`Device::publish`].
    /// Open files stay open. Sleeps.
    #[doc(alias = "vfio_device_del")]
    pub(crate) fn unpublish(&self) {
        // SAFETY: The only caller unregisters a device, which was published when it was registered.
        unsafe { bindings::cdev_device_del(&raw mut (*self.as_raw()).cdev, self.own_device()) };
    }

    /// Returns the device whose cdev is being opened.
    ///
    /// # Safety
    ///
    /// The inode must be that of a cdev that [`Device::publish`] added.
    pub(crate) unsafe fn of_cdev(inode: &Inode) -> &Device {
        let cdev = inode.cdev();
        let offset = offset_of!(bindings::vfio_device, cdev);
        // SAFETY: By the safety requirements of this function the cdev is a member of a device. The
        // VFS holds a reference to the cdev, and so to the device, during the call of open, which
        // `inode` does not outlive.
        unsafe { Device::from_raw(cdev.byte_sub(offset).cast()) }
    }
}

impl OpenState<'_> {
    /// Sets whether a file of the cdev has the device open. Drivers read it under the lock of the
    /// set, with `vfio_device_cdev_opened()`.
    pub(crate) fn set_cdev_opened(&mut self, opened: bool) {
        // SAFETY: `self` holds the lock of the set. It protects this bit and the other bits of the
        // byte that change while the device is registered.
        unsafe {
            bindings::vfio_device::set_cdev_opened_raw(self.device().as_raw(), opened.into())
        };
    }
}

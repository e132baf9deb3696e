// SPDX-License-Identifier: GPL-2.0

//! The node of a device: the `struct cdev` in `struct vfio_device`.
//!
//! The node's number is the device's index. A device without a number is in `/sys` only.
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
    /// Makes the device visible in sysfs. With `cdev`, which says where its device number comes
    /// from and what its files do, it also gets a device node in `/dev`.
    ///
    /// Called once for each registration. The files of the table find the device by
    /// [`Device::of_cdev`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EEXIST` if there is such a device already; any errno of sysfs.
    #[doc(alias = "vfio_device_add")]
    pub(crate) fn publish<T: FileOps>(
        &self,
        cdev: Option<(RegionHandle, &'static FopsTable<T>)>,
    ) -> Result {
        // SAFETY: The device is being registered, so it is initialised and named, and nobody else
        // uses these members yet. Without a number the character device is not used.
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

    /// Takes the device and its node away. Files that are open stay open.
    pub(crate) fn unpublish(&self) {
        // SAFETY: The device was published.
        unsafe { bindings::cdev_device_del(&raw mut (*self.as_raw()).cdev, self.own_device()) };
    }

    /// The device whose node is being opened.
    ///
    /// # Safety
    ///
    /// The inode must stand for a node that [`Device::publish`] made.
    pub(crate) unsafe fn of_cdev(inode: &Inode) -> &Device {
        let cdev = inode.cdev();
        let offset = offset_of!(bindings::vfio_device, cdev);
        // SAFETY: By the safety requirements of this function the cdev is a member of a device,
        // which the character device's core keeps during the open call, and `inode` does not
        // outlive that.
        unsafe { Device::from_raw(cdev.byte_sub(offset).cast()) }
    }
}

impl OpenState<'_> {
    /// Notes whether a file of the device's node has the device open. Drivers read it under the
    /// lock of the set.
    pub(crate) fn set_cdev_opened(&mut self, opened: bool) {
        // SAFETY: The lock is held, which also protects the other bits of the byte that change.
        unsafe {
            bindings::vfio_device::set_cdev_opened_raw(self.device().as_raw(), opened.into())
        };
    }
}

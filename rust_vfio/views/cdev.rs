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
    /// Gives the device a node in `region`, which appears when the device is published.
    ///
    /// # Safety
    ///
    /// The device must not be published. The files of `fops` find it by [`Device::of_cdev`].
    pub(crate) unsafe fn init_cdev<T: FileOps>(
        &self,
        region: RegionHandle,
        fops: &'static FopsTable<T>,
    ) {
        let devt = region.devt(self.index());
        // SAFETY: By the contract of this function nobody uses either member yet.
        unsafe {
            (*self.own_device()).devt = devt;
            let cdev = &raw mut (*self.as_raw()).cdev;
            bindings::cdev_init(cdev, fops.as_ptr());
            (*cdev).owner = kernel::module::this_module::<crate::LocalModule>().as_ptr();
        }
    }

    /// Makes the device visible in `/sys`, and its node in `/dev` if it has one.
    pub(crate) fn publish(&self) -> Result {
        // SAFETY: The device is initialised and named; without a number the node is not used.
        to_result(unsafe {
            bindings::cdev_device_add(&raw mut (*self.as_raw()).cdev, self.own_device())
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
    /// The inode must stand for a node that [`Device::init_cdev`] made.
    pub(crate) unsafe fn of_cdev(inode: &Inode) -> &Device {
        let cdev = inode.cdev();
        let offset = offset_of!(bindings::vfio_device, cdev);
        // SAFETY: By the contract of this function the cdev is a member of a device, which the
        // character device's core keeps during the open call, and `inode` does not outlive that.
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

// SPDX-License-Identifier: GPL-2.0

//! The callbacks of a device's driver (`struct vfio_device_ops`).
//!
//! There is one method per callback, which says what happens if the driver has none. Which locks
//! the core holds during each call is in contract section 2.3. All callbacks may sleep. Those for
//! iommufd are in `views/driver_iommufd.rs`.
//!
//! What a callback returns is passed on as it is, even if it is no errno ([`Failure`]).
//!
//! Contract section 4.10.

use kernel::prelude::*;

use crate::{
    bindings,
    kernel::{
        fops::Vma,
        module::ModuleRef,
        pm_runtime::Powered,
        returned::Failure,
        uaccess::{
            UserAddr,
            UserString, //
        }, //
    },
    uapi::structs::RegionInfo,
    views::{
        device::Device,
        info_cap::CapBuffer, //
    }, //
};

impl Device {
    /// Returns the table of callbacks, which is part of the driver.
    pub(super) fn ops(&self) -> &bindings::vfio_device_ops {
        // SAFETY: `ops` is set when the device is allocated and never changes. The table is valid
        // as long as the device, by the safety requirements of `Blueprint::new`.
        unsafe { &*(*self.as_raw()).ops }
    }

    /// Calls `init`, if there is one, at the end of the allocation of the device.
    ///
    /// # Errors
    ///
    /// Any failure of the driver's `init`.
    pub(crate) fn driver_init(&self) -> Result<(), Failure> {
        match self.ops().init {
            // SAFETY: The device is valid, being a reference. It is new, and nobody else sees it.
            Some(init) => Failure::check(unsafe { init(self.as_raw()) }),
            None => Ok(()),
        }
    }

    /// Calls `release`, if there is one, before the device is freed.
    pub(crate) fn driver_release(&self) {
        if let Some(release) = self.ops().release {
            // SAFETY: The device is valid, being a reference. The only caller frees it afterwards.
            unsafe { release(self.as_raw()) };
        }
    }

    /// Returns whether the driver has all callbacks that iommufd needs.
    pub(crate) fn supports_iommufd(&self) -> bool {
        let ops = self.ops();
        ops.bind_iommufd.is_some()
            && ops.unbind_iommufd.is_some()
            && ops.attach_ioas.is_some()
            && ops.detach_ioas.is_some()
    }

    /// Calls `open_device`, if there is one, at the first open. The lock of the device's set is
    /// held.
    ///
    /// # Errors
    ///
    /// Any failure of the driver's `open_device`.
    pub(crate) fn driver_open(&self) -> Result<(), Failure> {
        match self.ops().open_device {
            // SAFETY: The device is valid, being a reference. The only caller holds the lock of its
            // set, and does this for the first of its files.
            Some(open) => Failure::check(unsafe { open(self.as_raw()) }),
            None => Ok(()),
        }
    }

    /// Calls `close_device`, if there is one, at the last close. The lock of the device's set is
    /// held.
    pub(crate) fn driver_close(&self) {
        if let Some(close) = self.ops().close_device {
            // SAFETY: The device is valid, being a reference. The callers hold the lock of its set,
            // and `driver_open` has succeeded.
            unsafe { close(self.as_raw()) };
        }
    }

    /// Calls `read` for `len` bytes at position `pos`, which the driver advances. Returns the
    /// number of bytes that were copied to `buf`.
    ///
    /// # Errors
    ///
    /// - `EINVAL` without a callback.
    /// - Any failure of the driver's `read`.
    pub(crate) fn driver_read(
        &self,
        buf: UserAddr,
        len: usize,
        pos: &mut i64,
    ) -> Result<isize, Failure> {
        let read = self.ops().read.ok_or(EINVAL)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this. The driver
        // checks the user address, and `pos` is valid during the call.
        Failure::check_value(unsafe { read(self.as_raw(), buf.as_mut_ptr(), len, pos) })
    }

    /// Calls `write` for `len` bytes at position `pos`, which the driver advances. Returns the
    /// number of bytes that were copied from `buf`.
    ///
    /// # Errors
    ///
    /// - `EINVAL` without a callback.
    /// - Any failure of the driver's `write`.
    pub(crate) fn driver_write(
        &self,
        buf: UserAddr,
        len: usize,
        pos: &mut i64,
    ) -> Result<isize, Failure> {
        let write = self.ops().write.ok_or(EINVAL)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this. The driver
        // checks the user address, and `pos` is valid during the call.
        Failure::check_value(unsafe { write(self.as_raw(), buf.as_mut_ptr(), len, pos) })
    }

    /// Calls `ioctl` and returns its result, cut to an `int`.
    ///
    /// # Errors
    ///
    /// - `EINVAL` without a callback.
    /// - Any failure of the driver's `ioctl`.
    #[inline]
    pub(crate) fn driver_ioctl(&self, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        let ioctl = self.ops().ioctl.ok_or(EINVAL)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this. The driver
        // checks the argument.
        Failure::check_int_value(unsafe { ioctl(self.as_raw(), cmd, arg.get()) })
    }

    /// Calls `mmap` for an area that is being set up. `mmap_lock` is held for writing.
    ///
    /// # Errors
    ///
    /// - `EINVAL` without a callback.
    /// - Any failure of the driver's `mmap`.
    pub(crate) fn driver_mmap(&self, vma: &Vma) -> Result<(), Failure> {
        let mmap = self.ops().mmap.ok_or(EINVAL)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this. A `Vma` is
        // an area that is being set up, whose `mmap_lock` is held.
        Failure::check(unsafe { mmap(self.as_raw(), vma.as_raw()) })
    }

    /// Returns whether the driver has `get_region_info_caps`, and so answers GET_REGION_INFO.
    pub(crate) fn driver_has_region_info(&self) -> bool {
        self.ops().get_region_info_caps.is_some()
    }

    /// Calls `get_region_info_caps`. The driver fills `info` and may append to `caps`.
    ///
    /// # Errors
    ///
    /// - `EINVAL` without a callback.
    /// - Any failure of the driver's `get_region_info_caps`.
    pub(crate) fn driver_region_info(
        &self,
        info: &mut RegionInfo,
        caps: &mut CapBuffer,
    ) -> Result<(), Failure> {
        let get = self.ops().get_region_info_caps.ok_or(EINVAL)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this. Both
        // structures are valid during the call.
        Failure::check(unsafe { get(self.as_raw(), info, caps.as_raw()) })
    }

    /// Calls `request`, if there is one: asks the driver to make user space close the device.
    /// `count` is the number of requests so far, from 0 on.
    pub(crate) fn driver_request(&self, count: u32) {
        if let Some(request) = self.ops().request {
            // SAFETY: The device is valid, being a reference. The only caller is unregistering it.
            unsafe { request(self.as_raw(), count) };
        }
    }

    /// Calls `match`: returns whether `name`, which user space passed, is the name of this device.
    /// Returns none without a callback; the core then compares names. The mutex of the
    /// group's list of devices is held.
    ///
    /// # Errors
    ///
    /// Any failure of the driver's `match`.
    pub(crate) fn driver_match(&self, name: &UserString) -> Option<Result<bool, Failure>> {
        let matches = self.ops().match_?;
        // SAFETY: The device is valid, being a reference. The string is NUL-terminated, and the
        // driver may write to it, since it is a copy that belongs to this request.
        let ret = unsafe { matches(self.as_raw(), name.as_mut_ptr()) };
        // CAST: An `isize` has at least the bits of a `c_int` in a kernel.
        Some(Failure::check_value(ret as isize).map(|answer| answer > 0))
    }

    /// Returns whether the driver has `dma_unmap`, without which it may not pin pages.
    pub(crate) fn driver_has_dma_unmap(&self) -> bool {
        self.ops().dma_unmap.is_some()
    }

    /// Calls `device_feature` with the flags of the request and the `len` bytes of user memory at
    /// `data`. Returns the result of the driver, which may be a file descriptor.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` without a callback.
    /// - Any failure of the driver's `device_feature`.
    pub(crate) fn driver_feature(
        &self,
        flags: u32,
        data: UserAddr,
        len: usize,
    ) -> Result<isize, Failure> {
        let feature = self.ops().device_feature.ok_or(ENOTTY)?;
        // SAFETY: The device is valid, being a reference, and an open file calls this. The driver
        // checks the user address.
        let ret = unsafe { feature(self.as_raw(), flags, data.as_mut_ptr().cast(), len) };
        // CAST: An `isize` has at least the bits of a `c_int` in a kernel.
        Failure::check_value(ret as isize)
    }

    /// Returns whether the name of the device on the bus is `name`.
    pub(crate) fn is_named(&self, name: &UserString) -> bool {
        // SAFETY: The device on the bus outlives the VFIO device (see `bus_device`), so its name is
        // a valid string. `name` is a NUL-terminated copy.
        unsafe {
            bindings::strcmp(bindings::dev_name(self.bus_device_raw()), name.as_mut_ptr()) == 0
        }
    }

    /// Resumes the device on the bus, and keeps it powered until the result is dropped. Does
    /// nothing if its driver has no power management. Sleeps.
    ///
    /// # Errors
    ///
    /// `EIO` if the device cannot be resumed; the errno of its driver is logged.
    #[doc(alias = "vfio_device_pm_runtime_get")]
    #[inline]
    pub(crate) fn keep_powered(&self) -> Result<Option<Powered<'_>>> {
        // SAFETY: The device on the bus outlives the VFIO device (see `bus_device`), and stays
        // bound to its driver while the VFIO device is registered.
        let has_pm = unsafe {
            let driver = (*self.bus_device_raw()).driver;
            !driver.is_null() && !(*driver).pm.is_null()
        };
        match has_pm {
            true => Powered::get(self.bus_device()).map(Some),
            false => Ok(None),
        }
    }

    /// Takes a reference to the module of the driver of the device on the bus.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is being unloaded.
    pub(crate) fn pin_bus_driver(&self) -> Result<ModuleRef> {
        // SAFETY: The device on the bus stays bound to its driver while the VFIO device is
        // registered, and the module of the driver is valid as long as the driver.
        let module = unsafe { ModuleRef::get((*(*self.bus_device_raw()).driver).owner) };
        module.ok_or(ENODEV)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The callbacks of a device's driver (`struct vfio_device_ops`).
//!
//! One method per callback. It says what happens when the driver has none; what the core holds
//! when it calls is in contract section 2.3.

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    bindings,
    kernel::{
        fops::Vma,
        module::ModuleRef,
        pm_runtime::Powered,
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

/// A negative value is an errno, anything else a result.
fn value(ret: isize) -> Result<isize> {
    if ret < 0 {
        // Every driver's errno fits; a value that does not is not an errno at all.
        return Err(Error::from_errno(i32::try_from(ret).unwrap_or(0)));
    }
    Ok(ret)
}

impl Device {
    /// The table. It belongs to the driver, which outlives the device.
    pub(super) fn ops(&self) -> &bindings::vfio_device_ops {
        // SAFETY: `ops` is set when the device is allocated and never changes.
        unsafe { &*(*self.as_raw()).ops }
    }

    /// `init`; nothing to do without one.
    pub(crate) fn driver_init(&self) -> Result {
        match self.ops().init {
            // SAFETY: The object is new and nobody else sees it.
            Some(init) => to_result(unsafe { init(self.as_raw()) }),
            None => Ok(()),
        }
    }

    /// `release`; nothing to do without one.
    pub(crate) fn driver_release(&self) {
        if let Some(release) = self.ops().release {
            // SAFETY: The last reference is gone and the object is about to be freed.
            unsafe { release(self.as_raw()) };
        }
    }

    /// Whether the driver can be used with iommufd.
    pub(crate) fn supports_iommufd(&self) -> bool {
        let ops = self.ops();
        ops.bind_iommufd.is_some()
            && ops.unbind_iommufd.is_some()
            && ops.attach_ioas.is_some()
            && ops.detach_ioas.is_some()
    }

    /// `open_device`; nothing to do without one.
    pub(crate) fn driver_open(&self) -> Result {
        match self.ops().open_device {
            // SAFETY: The device is registered and the lock of its set is held.
            Some(open) => to_result(unsafe { open(self.as_raw()) }),
            None => Ok(()),
        }
    }

    /// `close_device`; nothing to do without one.
    pub(crate) fn driver_close(&self) {
        if let Some(close) = self.ops().close_device {
            // SAFETY: The device is open and the lock of its set is held.
            unsafe { close(self.as_raw()) };
        }
    }

    /// `read`; `EINVAL` without one.
    pub(crate) fn driver_read(&self, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize> {
        let read = self.ops().read.ok_or(EINVAL)?;
        // SAFETY: The device is open; the driver checks the user address.
        value(unsafe { read(self.as_raw(), buf.as_mut_ptr(), len, pos) })
    }

    /// `write`; `EINVAL` without one.
    pub(crate) fn driver_write(&self, buf: UserAddr, len: usize, pos: &mut i64) -> Result<isize> {
        let write = self.ops().write.ok_or(EINVAL)?;
        // SAFETY: The device is open; the driver checks the user address.
        value(unsafe { write(self.as_raw(), buf.as_mut_ptr(), len, pos) })
    }

    /// `ioctl`; `EINVAL` without one.
    #[inline]
    pub(crate) fn driver_ioctl(&self, cmd: u32, arg: UserAddr) -> Result<isize> {
        let ioctl = self.ops().ioctl.ok_or(EINVAL)?;
        // SAFETY: The device is open; the driver checks the argument.
        value(unsafe { ioctl(self.as_raw(), cmd, arg.get()) })
    }

    /// `mmap`; `EINVAL` without one.
    pub(crate) fn driver_mmap(&self, vma: &Vma) -> Result {
        let mmap = self.ops().mmap.ok_or(EINVAL)?;
        // SAFETY: The device is open, the area is being set up and its `mmap_lock` held.
        to_result(unsafe { mmap(self.as_raw(), vma.as_raw()) })
    }

    /// Whether the driver answers GET_REGION_INFO.
    pub(crate) fn driver_has_region_info(&self) -> bool {
        self.ops().get_region_info_caps.is_some()
    }

    /// `get_region_info_caps`; `EINVAL` without one. The driver fills `info` and may append to
    /// `caps`.
    pub(crate) fn driver_region_info(&self, info: &mut RegionInfo, caps: &mut CapBuffer) -> Result {
        let get = self.ops().get_region_info_caps.ok_or(EINVAL)?;
        // SAFETY: The device is open; both structures are valid for the call.
        to_result(unsafe { get(self.as_raw(), info, caps.as_raw()) })
    }

    /// `request`: asks the driver to get its user to let go, for the `count`-th time from 0.
    pub(crate) fn driver_request(&self, count: u32) {
        if let Some(request) = self.ops().request {
            // SAFETY: The device is valid: it is being unregistered by this task.
            unsafe { request(self.as_raw(), count) };
        }
    }

    /// `match`: whether the name that user space gave is this device's.
    ///
    /// `None` if the driver leaves it to the core to compare names.
    pub(crate) fn driver_match(&self, name: &UserString) -> Option<Result<bool>> {
        let matches = self.ops().match_?;
        // SAFETY: The device is in its group's list, whose lock is held. The driver may write to
        // the string, which is this call's own copy.
        Some(value(unsafe { matches(self.as_raw(), name.as_mut_ptr()) } as isize).map(|n| n > 0))
    }

    /// Whether the driver wants to hear of unmapped IOVAs, which a driver that pins must.
    pub(crate) fn driver_has_dma_unmap(&self) -> bool {
        self.ops().dma_unmap.is_some()
    }

    /// `device_feature`; `ENOTTY` without one. The result is passed on as it is: a driver may
    /// return a file descriptor.
    pub(crate) fn driver_feature(&self, flags: u32, data: UserAddr, len: usize) -> Result<isize> {
        let feature = self.ops().device_feature.ok_or(ENOTTY)?;
        // SAFETY: The device is open; the driver checks the user address.
        value(unsafe { feature(self.as_raw(), flags, data.as_mut_ptr().cast(), len) } as isize)
    }

    /// Whether the name of the device of the bus is `name`.
    pub(crate) fn is_named(&self, name: &UserString) -> bool {
        // SAFETY: Both are NUL-terminated strings.
        unsafe {
            bindings::strcmp(bindings::dev_name(self.bus_device_raw()), name.as_mut_ptr()) == 0
        }
    }

    /// Keeps the device of the bus powered until the result is dropped, if its driver takes part in
    /// power management.
    ///
    /// # Errors
    ///
    /// `EIO` if the device does not wake up; the log has the reason.
    #[doc(alias = "vfio_device_pm_runtime_get")]
    #[inline]
    pub(crate) fn keep_powered(&self) -> Result<Option<Powered<'_>>> {
        // SAFETY: The device of the bus is valid, and bound to a driver while it is open.
        let has_pm = unsafe {
            let driver = (*self.bus_device_raw()).driver;
            !driver.is_null() && !(*driver).pm.is_null()
        };
        match has_pm {
            true => Powered::get(self.bus_device()).map(Some),
            false => Ok(None),
        }
    }

    /// The module of the bus driver; dropping the result lets it go.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is on its way out.
    pub(crate) fn pin_bus_driver(&self) -> Result<ModuleRef> {
        // SAFETY: The device of the bus is bound to a driver while the VFIO device is registered.
        let module = unsafe { ModuleRef::get((*(*self.bus_device_raw()).driver).owner) };
        module.ok_or(ENODEV)
    }
}

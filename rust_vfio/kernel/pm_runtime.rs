// SPDX-License-Identifier: GPL-2.0

//! Devices that are kept powered while they are used.
//!
//! In the kernel crate: a module `kernel::device::pm` with a guard like this one.
//!
//! C header: `include/linux/pm_runtime.h`.

use kernel::{
    device,
    prelude::*, //
};

#[cfg(CONFIG_PM)]
use crate::{
    bindings,
    kernel::device::as_raw, //
};

/// A device kept powered. Dropping this lets the device sleep again.
pub(crate) struct Powered<'a>(&'a device::Device);

impl<'a> Powered<'a> {
    /// Wakes the device, which must be bound to a driver. Sleeps.
    ///
    /// # Errors
    ///
    /// `EIO` if the device does not wake up; the log has the reason.
    #[doc(alias = "pm_runtime_resume_and_get")]
    pub(crate) fn get(dev: &'a device::Device) -> Result<Self> {
        // The function behind the C macro is called directly: every ioctl passes here.
        #[cfg(CONFIG_PM)]
        {
            let flags = bindings::RPM_GET_PUT as i32;
            // SAFETY: The device is valid by its type invariants.
            let ret = unsafe { bindings::__pm_runtime_resume(as_raw(dev), flags) };
            if ret < 0 {
                // SAFETY: As above; the count was raised by the call that failed.
                unsafe {
                    bindings::vfio_rs_pm_runtime_put_noidle(as_raw(dev));
                    bindings::vfio_rs_log_resume_failed(as_raw(dev), ret);
                }
                return Err(EIO);
            }
        }
        Ok(Self(dev))
    }
}

impl Drop for Powered<'_> {
    fn drop(&mut self) {
        #[cfg(CONFIG_PM)]
        {
            let flags = (bindings::RPM_GET_PUT | bindings::RPM_ASYNC) as i32;
            // SAFETY: The device was woken by `get`.
            unsafe { bindings::__pm_runtime_idle(as_raw(self.0), flags) };
        }
        #[cfg(not(CONFIG_PM))]
        let _ = self.0;
    }
}

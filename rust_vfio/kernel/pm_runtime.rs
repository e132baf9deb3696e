// SPDX-License-Identifier: GPL-2.0

//! Runtime power management: a guard that keeps a device powered while it is used. The counter of
//! uses is in the C device, which has a lock for it.
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

/// A use of a powered device. Dropping it allows the device to be suspended again.
pub(crate) struct Powered<'a>(&'a device::Device);

impl<'a> Powered<'a> {
    /// Resumes the device if it is suspended, and counts a use of it. Sleeps.
    ///
    /// # Errors
    ///
    /// `EIO` if the device cannot be resumed. The errno of the driver is logged, at level info and
    /// rate limited.
    #[doc(alias = "pm_runtime_resume_and_get")]
    pub(crate) fn get(dev: &'a device::Device) -> Result<Self> {
        // The function behind the C inline function is called directly: every ioctl passes here.
        #[cfg(CONFIG_PM)]
        {
            let flags = bindings::RPM_GET_PUT as i32;
            // SAFETY: By the type invariants of `Device` the C object is valid.
            let ret = unsafe { bindings::__pm_runtime_resume(as_raw(dev), flags) };
            if ret < 0 {
                // SAFETY: The device is valid as above. The call that failed has counted a use,
                // which is dropped here.
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
            // SAFETY: By the type invariants of `Device` the C object is valid. `get` counted the
            // use that is dropped here.
            unsafe { bindings::__pm_runtime_idle(as_raw(self.0), flags) };
        }
        #[cfg(not(CONFIG_PM))]
        let _ = self.0;
    }
}

// SPDX-License-Identifier: GPL-2.0

//! What the core asks of the calling task and tells the world: capabilities, taint, and the log
//! lines that only C can rate-limit.

use kernel::prelude::*;

use super::{
    bindings,
    device::Device, //
};

/// Whether the calling task may do raw I/O (`CAP_SYS_RAWIO`), which devices without IOMMU need.
pub(crate) fn capable_rawio() -> bool {
    // SAFETY: A function without requirements.
    unsafe { bindings::capable(bindings::CAP_SYS_RAWIO as i32) }
}

/// Marks the kernel as one whose memory a user may have been able to overwrite.
pub(crate) fn taint_user() {
    // SAFETY: A function without requirements.
    unsafe { bindings::add_taint(bindings::TAINT_USER, bindings::lockdep_ok_LOCKDEP_STILL_OK) };
}

/// The name of the calling task, as in `/proc/<pid>/comm`.
pub(crate) struct Comm([u8; bindings::TASK_COMM_LEN as usize]);

impl Comm {
    /// The name of the caller.
    pub(crate) fn current() -> Self {
        let mut comm = [0; bindings::TASK_COMM_LEN as usize];
        let task = kernel::task::Task::current_raw();
        // SAFETY: The calling task is valid, and the buffer as long as the function is told.
        unsafe { bindings::vfio_rs_task_comm(task, comm.as_mut_ptr()) };
        Self(comm)
    }
}

impl kernel::fmt::Display for Comm {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        let name = self.0.split(|b| *b == 0).next().unwrap_or(&[]);
        kernel::fmt::Display::fmt(kernel::str::BStr::from_bytes(name), f)
    }
}

/// The process ID of the calling task, in the initial namespace.
pub(crate) fn current_pid() -> i32 {
    kernel::current!().pid()
}

/// A device kept powered; dropping it lets the device sleep again.
pub(crate) struct Awake<'a>(Option<&'a Device>);

impl<'a> Awake<'a> {
    /// Wakes the device if its bus driver takes part in power management.
    ///
    /// # Errors
    ///
    /// `EIO` if the device does not wake up; the log has the reason.
    pub(crate) fn get(device: &'a Device) -> Result<Self> {
        if !device.bus_driver_has_pm() {
            return Ok(Self(None));
        }
        // The functions behind `pm_runtime_resume_and_get()` and `pm_runtime_put()` are called
        // directly: every ioctl passes here.
        #[cfg(CONFIG_PM)]
        {
            let flags = bindings::RPM_GET_PUT as i32;
            // SAFETY: The device of the bus is valid.
            let ret = unsafe { bindings::__pm_runtime_resume(device.bus_device_raw(), flags) };
            if ret < 0 {
                // SAFETY: As above.
                unsafe { bindings::vfio_rs_resume_failed(device.bus_device_raw(), ret) };
                return Err(EIO);
            }
        }
        Ok(Self(Some(device)))
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        if let Some(device) = self.0 {
            #[cfg(CONFIG_PM)]
            {
                let flags = (bindings::RPM_GET_PUT | bindings::RPM_ASYNC) as i32;
                // SAFETY: The device was woken by `get`.
                unsafe { bindings::__pm_runtime_idle(device.bus_device_raw(), flags) };
            }
            #[cfg(not(CONFIG_PM))]
            let _ = device;
        }
    }
}

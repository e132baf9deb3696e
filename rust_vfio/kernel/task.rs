// SPDX-License-Identifier: GPL-2.0

//! Capabilities, name and process ID of the calling task, and the taint of the kernel.
//!
//! In the kernel crate: `kernel::task::Task` would get `comm()`; `kernel::cred` would get
//! `capable()`; `kernel::panic` would get `add_taint()`.
//!
//! C headers: `include/linux/sched.h`, `include/linux/capability.h`, `include/linux/panic.h`.

use crate::bindings;

/// Returns whether the calling task has the capability `CAP_SYS_RAWIO`.
#[doc(alias = "capable")]
pub(crate) fn capable_rawio() -> bool {
    // SAFETY: There are no safety requirements.
    unsafe { bindings::capable(bindings::CAP_SYS_RAWIO as i32) }
}

/// Taints the kernel with `TAINT_USER`: user space may have been able to overwrite kernel memory.
/// Lockdep stays on.
#[doc(alias = "add_taint")]
pub(crate) fn taint_user() {
    // SAFETY: There are no safety requirements.
    unsafe { bindings::add_taint(bindings::TAINT_USER, bindings::lockdep_ok_LOCKDEP_STILL_OK) };
}

/// The name of a task, as in `/proc/<pid>/comm`.
pub(crate) struct Comm([u8; bindings::TASK_COMM_LEN as usize]);

impl Comm {
    /// Returns the name of the calling task.
    pub(crate) fn current() -> Self {
        let mut comm = [0; bindings::TASK_COMM_LEN as usize];
        let task = kernel::task::Task::current_raw();
        // SAFETY: The calling task is valid, and the buffer has the length that the prototype of
        // the function says.
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

/// Returns the process ID of the calling task in the initial PID namespace.
pub(crate) fn current_pid() -> i32 {
    kernel::current!().pid()
}

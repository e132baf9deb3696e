// SPDX-License-Identifier: GPL-2.0

//! Capabilities, name and process ID of the calling task, and the taint of the kernel.
//!
//! In the kernel crate: `kernel::task::Task` would get `comm()`; `kernel::cred` would get
//! `capable()`; `kernel::panic` would get `add_taint()`.
//!
//! C headers: `include/linux/sched.h`, `include/linux/capability.h`, `include/linux/panic.h`.

use kernel::task::Task;

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
#[derive(Clone, Copy)]
pub(crate) struct Comm([u8; Self::LEN]);

impl Comm {
    const LEN: usize = bindings::TASK_COMM_LEN as usize;

    /// Returns the name of the calling task.
    pub(crate) fn current() -> Self {
        Self::of(kernel::current!())
    }

    /// Returns the name of `task`. If it is changed meanwhile, the result can have parts of both
    /// names.
    pub(crate) fn of(task: &Task) -> Self {
        /// All bytes of a name, at any address. Reading a number takes fewer steps than reading as
        /// many bytes, which is measurable where a file is opened.
        #[repr(C, packed)]
        struct Whole(u128);

        // SAFETY: `task` is valid by the type invariants of `Task`.
        let comm = unsafe { &raw const (*task.as_ptr()).comm }.cast::<Whole>();
        // SAFETY: The array has `TASK_COMM_LEN` bytes, as `Whole` has, which needs no alignment.
        // Others can write to it at the same time, so it is read like memory that is shared.
        let Whole(comm) = unsafe { comm.read_volatile() };
        Self(comm.to_ne_bytes())
    }
}

impl core::fmt::Display for Comm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = self.0.split(|b| *b == 0).next().unwrap_or(&[]);
        match core::str::from_utf8(name) {
            // As C prints it.
            Ok(name) if !name.chars().any(char::is_control) => f.write_str(name),
            // Nobody may begin a new line by the name of a task. Rust's formatting cannot print
            // other bytes than text, so they are escaped as well.
            _ => kernel::fmt::Display::fmt(kernel::str::BStr::from_bytes(name), f),
        }
    }
}

impl kernel::fmt::Display for Comm {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// The name and the process ID of a task that did something, which may be gone.
#[derive(Clone, Copy)]
pub(crate) struct TaskName {
    comm: Comm,
    pid: i32,
}

impl TaskName {
    /// Returns those of the calling task.
    pub(crate) fn current() -> Self {
        Self::of(kernel::current!())
    }

    /// Returns those of `task`.
    pub(crate) fn of(task: &Task) -> Self {
        Self {
            comm: Comm::of(task),
            pid: task.pid(),
        }
    }
}

/// Prints `name:pid`.
impl core::fmt::Display for TaskName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.comm, self.pid)
    }
}

impl kernel::fmt::Display for TaskName {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// Returns the process ID of the calling task in the initial PID namespace.
pub(crate) fn current_pid() -> i32 {
    kernel::current!().pid()
}

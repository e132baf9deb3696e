// SPDX-License-Identifier: GPL-2.0

//! Directories and files in debugfs.
//!
//! Directories are plain dentries, which C code may put files of its own under. Creating them never
//! fails in a way that matters: files below a directory that is missing are not created either.
//!
//! In the kernel crate: `kernel::debugfs` owns its directories, and cannot create files in one
//! that a C structure holds.
//!
//! C header: `include/linux/debugfs.h`.

use core::ptr::null_mut;

use kernel::{
    device,
    prelude::*,
    str::CStr, //
};

use crate::{
    bindings,
    kernel::device::as_raw, //
};

/// A directory, or what `debugfs_create_dir()` returned in place of one.
#[derive(Clone, Copy)]
pub(crate) struct Dir(*mut bindings::dentry);

// SAFETY: debugfs has locks of its own.
unsafe impl Send for Dir {}
// SAFETY: As above.
unsafe impl Sync for Dir {}

impl Dir {
    /// Creates a directory at the top of debugfs.
    fn at_top(name: &'static CStr) -> Self {
        // SAFETY: The name is a NUL-terminated string; no parent means the top.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), null_mut()) })
    }

    /// Creates a directory in this one.
    pub(crate) fn subdir(self, name: &'static CStr) -> Self {
        // SAFETY: The name is a NUL-terminated string, and the parent a directory or an error.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), self.0) })
    }

    /// Creates a directory in this one, under the name of a device.
    pub(crate) fn subdir_of_device(self, dev: &device::Device) -> Self {
        // SAFETY: The device is valid and has a name, and the parent is a directory or an error.
        Self(unsafe { bindings::debugfs_create_dir(bindings::dev_name(as_raw(dev)), self.0) })
    }

    /// Creates a file in this directory that everybody can read. `show` writes its contents; it
    /// finds `owner` in the private data of the sequence file.
    ///
    /// # Safety
    ///
    /// `owner` must be a valid device, and the file be removed before it is taken out of sysfs.
    pub(crate) unsafe fn devm_seqfile(
        self,
        name: &'static CStr,
        owner: *mut bindings::device,
        show: unsafe extern "C" fn(*mut bindings::seq_file, *mut c_void) -> c_int,
    ) {
        // SAFETY: By the safety requirements; what C allocates for the file goes with the owner.
        unsafe {
            bindings::debugfs_create_devm_seqfile(owner, name.as_char_ptr(), self.0, Some(show))
        };
    }

    /// Wraps what a C structure holds as a directory.
    ///
    /// # Safety
    ///
    /// `dir` must be null or come from [`Dir::into_raw`], and must not have been removed.
    pub(crate) unsafe fn from_raw(dir: *mut bindings::dentry) -> Self {
        Self(dir)
    }

    /// Returns the C object, for a C structure.
    pub(crate) fn into_raw(self) -> *mut bindings::dentry {
        self.0
    }

    /// Removes the directory and everything in it, and waits for readers.
    ///
    /// # Safety
    ///
    /// Nobody may use the directory afterwards.
    pub(crate) unsafe fn remove(self) {
        // SAFETY: By the contract of this function; an error or null is fine.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}

/// A directory at the top of debugfs. Dropping this removes it and everything in it.
pub(crate) struct TopDir(Dir);

impl TopDir {
    /// Creates the directory.
    pub(crate) fn new(name: &'static CStr) -> Self {
        Self(Dir::at_top(name))
    }

    /// Returns the directory.
    ///
    /// # Safety
    ///
    /// The result must not be used when `self` is gone.
    pub(crate) unsafe fn handle(&self) -> Dir {
        self.0
    }
}

impl Drop for TopDir {
    fn drop(&mut self) {
        // SAFETY: Whoever has a copy of the directory does not use it any more.
        unsafe { self.0.remove() };
    }
}

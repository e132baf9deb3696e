// SPDX-License-Identifier: GPL-2.0

//! Directories and files in debugfs.
//!
//! `vfio_device.debug_root` is a dentry that C drivers put files of their own under, so directories
//! are plain dentries here too. Creating them never fails in a way that matters: files below a
//! directory that is missing are not created either.
//!
//! C header: `include/linux/debugfs.h`.

use core::{
    mem::offset_of,
    ptr::null_mut, //
};

use kernel::{
    error::from_result,
    prelude::*,
    seq_file::SeqFile,
    str::CStr, //
};

use super::{
    bindings,
    device::Device, //
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
    pub(crate) fn at_top(name: &'static CStr) -> Self {
        // SAFETY: The name is a NUL-terminated string; no parent means the top.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), null_mut()) })
    }

    /// Creates a directory in this one.
    pub(crate) fn subdir(self, name: &'static CStr) -> Self {
        // SAFETY: The name is a NUL-terminated string, and the parent a directory or an error.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), self.0) })
    }

    /// Creates a file in this directory that shows something about the device to everybody.
    ///
    /// The file must be removed before the own device of `device` is taken out of sysfs.
    pub(crate) fn file<S: Show>(self, name: &'static CStr, device: &Device) {
        let own = device.own_device();
        // SAFETY: The device is valid until after the file is removed. What C allocates for the
        // file goes with the own device.
        unsafe {
            bindings::debugfs_create_devm_seqfile(own, name.as_char_ptr(), self.0, Some(show::<S>))
        };
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

impl Device {
    /// Creates the device's directory in `parent`, under the name of the device of the bus.
    /// Called while the device is registered; nobody else writes the member.
    pub(crate) fn create_debug_dir(&self, parent: Dir) -> Dir {
        // SAFETY: The device of the bus is valid and has a name, and the parent is a directory or
        // an error.
        let dir = unsafe {
            let name = bindings::dev_name(self.bus_device_raw());
            bindings::debugfs_create_dir(name, parent.0)
        };
        // SAFETY: The device is being registered.
        unsafe { (*self.as_raw()).debug_root = dir };
        Dir(dir)
    }

    /// Removes the device's directory. Called while the device is unregistered; drivers use it
    /// before that only.
    pub(crate) fn remove_debug_dir(&self) {
        // SAFETY: The device is being unregistered.
        unsafe {
            Dir((*self.as_raw()).debug_root).remove();
            (*self.as_raw()).debug_root = null_mut();
        }
    }
}

/// What a file shows.
pub(crate) trait Show: 'static {
    /// Writes the file's contents.
    ///
    /// # Errors
    ///
    /// Reading the file fails with the error.
    fn show(device: &Device, m: &SeqFile) -> Result;
}

/// # Safety
///
/// Called when a file that [`Dir::file`] created is read.
unsafe extern "C" fn show<S: Show>(m: *mut bindings::seq_file, _data: *mut c_void) -> c_int {
    // SAFETY: The private data is the own device that was given when the file was created.
    let own = unsafe { (*m).private };
    let device = own.wrapping_byte_sub(offset_of!(bindings::vfio_device, device));
    // SAFETY: `own` is part of a device, which is valid until the file is removed, and removal
    // waits for this call. Nobody else uses the sequence file during a read.
    let (device, m) = unsafe { (Device::from_raw(device.cast()), SeqFile::from_raw(m)) };
    from_result(|| S::show(device, m).map(|()| 0))
}

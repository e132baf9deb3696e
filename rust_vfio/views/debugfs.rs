// SPDX-License-Identifier: GPL-2.0

//! The directory of a device in debugfs (`vfio_device.debug_root`), and files that show something
//! about the device. C drivers put files of their own there.

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

use crate::{
    bindings,
    kernel::debugfs::Dir,
    views::device::Device, //
};

impl Dir {
    /// Creates a file in this directory that shows something about the device to everybody.
    ///
    /// The file must be removed before the own device of `device` is taken out of sysfs.
    pub(crate) fn file<S: Show>(self, name: &'static CStr, device: &Device) {
        let own = device.own_device();
        // SAFETY: The device is valid until after the file is removed.
        unsafe { self.devm_seqfile(name, own, show::<S>) };
    }
}

impl Device {
    /// Creates the device's directory in `parent`, under the name of the device of the bus.
    /// Called while the device is registered; nobody else writes the member.
    pub(crate) fn create_debug_dir(&self, parent: Dir) -> Dir {
        let dir = parent.subdir_of_device(self.bus_device());
        // SAFETY: The device is being registered.
        unsafe { (*self.as_raw()).debug_root = dir.into_raw() };
        dir
    }

    /// Removes the device's directory. Called while the device is unregistered; drivers use it
    /// before that only.
    pub(crate) fn remove_debug_dir(&self) {
        // SAFETY: The device is being unregistered; the member came from `create_debug_dir`.
        unsafe {
            Dir::from_raw((*self.as_raw()).debug_root).remove();
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

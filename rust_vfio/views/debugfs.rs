// SPDX-License-Identifier: GPL-2.0

//! The directory of a device in debugfs (`vfio_device.debug_root`), and the files in it that show
//! something about the device. C drivers create files of their own there.
//!
//! The member is set when the device is registered and cleared when it is unregistered, by the task
//! that does so. Corresponds to parts of `drivers/vfio/debugfs.c`; contract section 8.4.

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
    /// Creates a file in this directory, with mode 0444, that shows `S` of the device.
    ///
    /// The caller must remove the file before it removes `device` from sysfs.
    pub(crate) fn file<S: Show>(self, name: &'static CStr, device: &Device) {
        let own = device.own_device();
        // SAFETY: The device is valid, being a reference. The caller removes the file before it
        // removes the device from sysfs, after which the device can be freed. `show` expects a
        // device's own device as private data, which `own` is.
        unsafe { self.devm_seqfile(name, own, show::<S>) };
    }
}

impl Device {
    /// Creates the device's directory in `parent`, with the name of the device on the bus. Called
    /// when the device is registered. Sleeps.
    #[doc(alias = "vfio_device_debugfs_init")]
    pub(crate) fn create_debug_dir(&self, parent: Dir) -> Dir {
        let dir = parent.subdir_of_device(self.bus_device());
        // SAFETY: The device is valid, being a reference, and only the task that registers or
        // unregisters the device writes the member.
        unsafe { (*self.as_raw()).debug_root = dir.into_raw() };
        dir
    }

    /// Removes the device's directory and all files in it. Called when the device is unregistered;
    /// drivers do not use the directory any more. Sleeps.
    #[doc(alias = "vfio_device_debugfs_exit")]
    pub(crate) fn remove_debug_dir(&self) {
        // SAFETY: Only the task that registers or unregisters the device writes the member, so it
        // is null or what `create_debug_dir` stored. It is cleared, so it is not used again.
        unsafe {
            Dir::from_raw((*self.as_raw()).debug_root).remove();
            (*self.as_raw()).debug_root = null_mut();
        }
    }
}

/// The contents of a file.
pub(crate) trait Show: 'static {
    /// Writes the contents to `m`.
    ///
    /// # Errors
    ///
    /// Reading the file fails with the error.
    fn show(device: &Device, m: &SeqFile) -> Result;
}

/// Writes the contents of a file.
///
/// # Safety
///
/// Must be called for a file that [`Dir::file`] created with this `S`, when it is read.
unsafe extern "C" fn show<S: Show>(m: *mut bindings::seq_file, _data: *mut c_void) -> c_int {
    // SAFETY: The sequence file is valid by the safety requirements of this function. Its private
    // data is the `struct device` in a VFIO device that `Dir::file` passed.
    let own = unsafe { (*m).private };
    let device = own.wrapping_byte_sub(offset_of!(bindings::vfio_device, device));
    // SAFETY: `own` is part of a device, which is valid until the file is removed, and its removal
    // waits for this call. debugfs lets nobody else use the sequence file during a read.
    let (device, m) = unsafe { (Device::from_raw(device.cast()), SeqFile::from_raw(m)) };
    from_result(|| S::show(device, m).map(|()| 0))
}

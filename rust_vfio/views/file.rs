// SPDX-License-Identifier: GPL-2.0

//! The files of open devices. All files of a device have the address space of the inode of the
//! device (`views/inode.rs`) as their `f_mapping`.
//!
//! Corresponds to `vfio_device_open_file()` in `drivers/vfio/group.c` and to the assignment of
//! `f_mapping` in `drivers/vfio/device_cdev.c`; contract section 3.3.

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    fs::File,
    prelude::*,
    sync::aref::ARef,
    types::ForeignOwnable, //
};

use crate::{
    bindings,
    kernel::fops::{
        FileOps,
        FopsTable, //
    },
    views::device::{
        Device,
        Registered, //
    }, //
};

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::kernel::fops::OpeningFile;

/// Creates the file of `device`, which is open: a file of the anonymous inode `[vfio-device]`, with
/// the address space of the device. It is open for reading and writing, also at explicit positions
/// (pread() and pwrite()). Sleeps.
///
/// # Errors
///
/// `device` is released then, as if the file had been created and closed.
///
/// - `ENFILE` if the system has too many open files.
/// - `ENOMEM`.
#[doc(alias = "vfio_device_open_file")]
pub(crate) fn device_file<T: FileOps<Ptr = Registered>>(
    fops: &'static FopsTable<T>,
    device: Registered,
) -> Result<ARef<File>> {
    let private = device.into_foreign();
    // SAFETY: The table is static, and its callbacks expect a `Registered` in `private_data`, which
    // `private` is.
    let file = match from_err_ptr(unsafe {
        let name = c"[vfio-device]".as_char_ptr();
        bindings::vfio_rs_anon_inode_getfile_pread(name, fops.as_ptr(), private)
    }) {
        Ok(file) => file,
        Err(e) => {
            // SAFETY: No file was created, so this function still owns the count.
            T::release(unsafe { Registered::from_foreign(private) });
            return Err(e);
        }
    };
    // SAFETY: `private` came from `into_foreign`, and belongs to the new file. Nobody else has
    // that, so it is not released.
    let device = unsafe { Registered::borrow(private) };
    // SAFETY: The file is new, and nobody else has seen it. It keeps the device registered.
    unsafe { set_mapping(file, device) };
    // SAFETY: `anon_inode_getfile_fmode()` returned a reference, which the result owns.
    Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file).cast::<File>()) })
}

/// Sets the address space of the file to that of the device, so that a driver can remove all
/// mappings of the device at once.
///
/// # Safety
///
/// `file` must be valid, nobody else may have seen it, and `device` must not be freed before it.
unsafe fn set_mapping(file: *mut bindings::file, device: &Device) {
    // SAFETY: By the safety requirements of this function nobody else uses the file. The inode of
    // the device is freed with the device, and so after the file.
    unsafe { (*file).f_mapping = (*(*device.as_raw()).inode).i_mapping };
}

/// Sets the address space of a file that is being opened to that of `device`, which the file will
/// own.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) fn share_mapping(file: &OpeningFile<'_>, device: &Registered) {
    // SAFETY: The inode is freed with the device, which the file keeps registered, and so after the
    // file.
    unsafe { file.set_mapping((*(*device.as_raw()).inode).i_mapping) };
}

// SPDX-License-Identifier: GPL-2.0

//! The files of open devices: anonymous inodes that share the address space of the device.

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
    views::device::Device, //
};
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::{
    kernel::fops::OpeningFile,
    views::device::Registered, //
};

/// Creates the file of an open device, which `device` finds in what the file owns: an anonymous
/// inode `[vfio-device]` with the device's address space, open for reading and writing at explicit
/// positions only.
///
/// # Errors
///
/// `ENOMEM`, `ENFILE`. `this` is released then, as if the file had been made and closed.
pub(crate) fn device_file<T: FileOps<Ptr = KBox<T>>>(
    fops: &'static FopsTable<T>,
    this: KBox<T>,
    device: fn(&T) -> &Device,
) -> Result<ARef<File>> {
    let private = this.into_foreign();
    // SAFETY: The table belongs to `T`, whose callbacks find a `KBox<T>` in `private_data`.
    let file =
        match from_err_ptr(unsafe { bindings::vfio_rs_device_getfile(fops.as_ptr(), private) }) {
            Ok(file) => file,
            Err(e) => {
                // SAFETY: No file was made, so this is still the only owner.
                T::release(unsafe { KBox::from_foreign(private) });
                return Err(e);
            }
        };
    // SAFETY: `private` is a `KBox<T>`, which the new file owns and nobody has taken back.
    let device = device(unsafe { KBox::<T>::borrow(private) });
    // SAFETY: The file is new and not yet visible.
    unsafe { set_mapping(file, device) };
    // SAFETY: `anon_inode_getfile_fmode()` returned a reference.
    Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file).cast::<File>()) })
}

/// Lets all files of a device share one address space, so that its driver can take back every
/// mapping of the device's memory at once.
///
/// # Safety
///
/// `file` must be valid and seen by nobody else yet. It must keep the device.
unsafe fn set_mapping(file: *mut bindings::file, device: &Device) {
    // SAFETY: By the safety requirements; the device's inode outlives its files.
    unsafe { (*file).f_mapping = (*(*device.as_raw()).inode).i_mapping };
}

/// Gives a file that is being opened, and owns `device`, the address space of the device.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) fn share_mapping(file: &OpeningFile<'_>, device: &Registered) {
    // SAFETY: The device's inode outlives its registration, and so its files.
    unsafe { file.set_mapping((*(*device.as_raw()).inode).i_mapping) };
}

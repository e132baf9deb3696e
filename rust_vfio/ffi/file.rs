// SPDX-License-Identifier: GPL-2.0

//! Files: those that an ioctl names by number, and the anonymous ones of devices.

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    fs::File,
    prelude::*,
    sync::aref::ARef,
    types::ForeignOwnable, //
};

use super::{
    bindings,
    device::Device,
    fops::{
        FileOps,
        FopsTable, //
    },
};

/// The file behind a descriptor of the calling process.
///
/// # Errors
///
/// `EBADF` if there is none.
pub(crate) fn fget(fd: i32) -> Result<ARef<File>> {
    let fd = u32::try_from(fd).map_err(|_| EBADF)?;
    // SAFETY: Any number may be asked for.
    let file = NonNull::new(unsafe { bindings::fget(fd) }).ok_or(EBADF)?;
    // SAFETY: The reference is new; it is not used for reads, writes or seeks, so it does not
    // matter whether somebody else relies on the file position lock.
    Ok(unsafe { ARef::from_raw(file.cast::<File>()) })
}

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
    // SAFETY: By the contract of this function; the device's inode outlives its files.
    unsafe { (*file).f_mapping = (*(*device.as_raw()).inode).i_mapping };
}

/// Gives a file that is being opened the address space of the device.
///
/// # Safety
///
/// To be called while a node is being opened, with the file that is being opened, which must keep
/// the device if opening it succeeds.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) unsafe fn share_mapping(file: &File, device: &Device) {
    // SAFETY: By the contract of this function nobody else sees the file.
    unsafe { set_mapping(file.as_ptr(), device) };
}

/// A file that is known to be open, without a reference to it.
///
/// # Invariants
///
/// The owner of this value clears it in the file's release callback.
#[derive(Clone, Copy)]
pub(crate) struct OpenFile(NonNull<File>);

// SAFETY: A file may be referenced from any thread.
unsafe impl Send for OpenFile {}

impl OpenFile {
    /// Remembers `file`. The caller clears the value in the file's release callback.
    pub(crate) fn new(file: &File) -> Self {
        Self(NonNull::from(file))
    }

    /// Takes a reference.
    ///
    /// # Safety
    ///
    /// The file's release callback must not have started, and be kept from finishing by a lock
    /// that the caller holds.
    pub(crate) unsafe fn get(self) -> ARef<File> {
        // SAFETY: By the contract of this function the file is valid.
        unsafe { self.0.as_ref() }.into()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Files that an ioctl names by number, and files that are known to be open.
//!
//! In the kernel crate: `kernel::fs::File::fget()` exists, for files whose position lock is known;
//! it would have to admit all files that are only looked at. `OpenFile` is a use of
//! `get_file_active()`.
//!
//! C header: `include/linux/file.h`.

use core::ptr::NonNull;

use kernel::{
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

use crate::bindings;

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

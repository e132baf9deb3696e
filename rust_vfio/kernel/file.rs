// SPDX-License-Identifier: GPL-2.0

//! Open files that are named by a descriptor, and weak pointers to open files.
//!
//! In the kernel crate: `kernel::fs::LocalFile::fget()` returns a file whose position may not be
//! locked, and can only be sent to another thread after an `unsafe` conversion. A type for files
//! whose position is not used would replace [`fget`]. A wrapper of `get_file_active()` would
//! replace [`OpenFile`].
//!
//! C header: `include/linux/file.h`.

use core::ptr::NonNull;

use kernel::{
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

use crate::bindings;

/// Returns the file behind the descriptor `fd` of the calling process.
///
/// # Errors
///
/// `EBADF` if there is no such descriptor.
pub(crate) fn fget(fd: i32) -> Result<ARef<File>> {
    let fd = u32::try_from(fd).map_err(|_| EBADF)?;
    // SAFETY: There are no safety requirements: a number that is no descriptor gives null.
    let file = NonNull::new(unsafe { bindings::fget(fd) }).ok_or(EBADF)?;
    // SAFETY: `fget()` returned a reference, which the result owns. Nothing in this project reads,
    // writes or seeks through a `File`, so that no code relies on the lock of the file position.
    Ok(unsafe { ARef::from_raw(file.cast::<File>()) })
}

/// A pointer to an open file, without a reference to it.
///
/// # Invariants
///
/// The owner of this value drops it in the file's release callback at the latest.
#[derive(Clone, Copy)]
pub(crate) struct OpenFile(NonNull<File>);

// SAFETY: A file may be referenced from any thread.
unsafe impl Send for OpenFile {}

impl OpenFile {
    /// Creates a pointer to `file`. The caller must drop it in the file's release callback at the
    /// latest.
    pub(crate) fn new(file: &File) -> Self {
        Self(NonNull::from(file))
    }

    /// Takes a reference to the file.
    ///
    /// # Safety
    ///
    /// The file must have a reference, so that its release callback has not started, and the caller
    /// must hold a lock without which that callback cannot finish.
    pub(crate) unsafe fn get(self) -> ARef<File> {
        // SAFETY: By the safety requirements of this function the file is valid.
        unsafe { self.0.as_ref() }.into()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Directories and files in debugfs.
//!
//! Directories are plain dentries, below which C code may create files of its own. Errors are not
//! reported: in place of a directory that cannot be created there is an error pointer, and
//! creating something in it does nothing. debugfs has locks of its own.
//!
//! In the kernel crate: `kernel::debugfs::Dir` owns its directory. It would get a borrowed form for
//! a directory that a C structure holds, and `debugfs_create_devm_seqfile()`.
//!
//! C header: `include/linux/debugfs.h`.

use core::{
    marker::PhantomData,
    ptr::null_mut, //
};

use kernel::{
    device,
    error::from_result,
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    str::CStr, //
};

use crate::{
    bindings,
    kernel::device::as_raw, //
};

/// A directory, or the error pointer that `debugfs_create_dir()` returned in place of one.
#[derive(Clone, Copy)]
pub(crate) struct Dir(*mut bindings::dentry);

// SAFETY: The functions of debugfs may be called by any thread; they take the locks they need.
unsafe impl Send for Dir {}
// SAFETY: As above.
unsafe impl Sync for Dir {}

impl Dir {
    /// Creates a directory in the root of debugfs.
    fn at_top(name: &'static CStr) -> Self {
        // SAFETY: The name is a NUL-terminated string; a null parent means the root of debugfs.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), null_mut()) })
    }

    /// Creates the directory `name` in this one. Sleeps.
    pub(crate) fn subdir(self, name: &'static CStr) -> Self {
        // SAFETY: The name is a NUL-terminated string. The parent is a directory or an error
        // pointer, both of which the function accepts.
        Self(unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), self.0) })
    }

    /// Creates a directory in this one that is named like the device `dev`. Sleeps.
    pub(crate) fn subdir_of_device(self, dev: &device::Device) -> Self {
        // SAFETY: The device is valid, being a reference, so its name is. The parent is a directory
        // or an error pointer, both of which the function accepts.
        Self(unsafe { bindings::debugfs_create_dir(bindings::dev_name(as_raw(dev)), self.0) })
    }

    /// Creates the file `name` in this directory, with mode 0444. `show` writes its contents when
    /// it is read; the private data of the sequence file is `owner`. Sleeps.
    ///
    /// # Safety
    ///
    /// `owner` must be a valid device, and the file must be removed before `owner` is removed from
    /// sysfs: that frees memory which the file uses. `show` must be callable with a sequence file
    /// whose private data is `owner`.
    #[doc(alias = "debugfs_create_devm_seqfile")]
    pub(crate) unsafe fn devm_seqfile(
        self,
        name: &'static CStr,
        owner: *mut bindings::device,
        show: unsafe extern "C" fn(*mut bindings::seq_file, *mut c_void) -> c_int,
    ) {
        // SAFETY: By the safety requirements of this function `owner` is valid, and the file is
        // gone before the managed memory of `owner` that the function allocates for it.
        unsafe {
            bindings::debugfs_create_devm_seqfile(owner, name.as_char_ptr(), self.0, Some(show))
        };
    }

    /// Creates the file `name` in this directory, with mode 0400, that shows `C`. Sleeps.
    pub(crate) fn list<C: Contents>(self, name: &'static CStr) {
        // SAFETY: The name is a NUL-terminated string. The parent is a directory or an error
        // pointer, both of which the function accepts. The operations are a constant of this
        // module, which removes its files before it is unloaded.
        unsafe {
            bindings::debugfs_create_file_full(
                name.as_char_ptr(),
                0o400,
                self.0,
                null_mut(),
                core::ptr::null(),
                &raw const *const { &ListFops::<C>::FOPS },
            )
        };
    }

    /// Wraps a dentry that a C structure holds.
    ///
    /// # Safety
    ///
    /// `dir` must be null or come from [`Dir::into_raw`], and the directory must not have been
    /// removed.
    pub(crate) unsafe fn from_raw(dir: *mut bindings::dentry) -> Self {
        Self(dir)
    }

    /// Returns the C object, to be stored in a C structure.
    pub(crate) fn into_raw(self) -> *mut bindings::dentry {
        self.0
    }

    /// Removes the directory and everything in it, and waits for reads that are under way. Sleeps.
    ///
    /// # Safety
    ///
    /// Nobody may use the directory, or another copy of this value, afterwards.
    #[doc(alias = "debugfs_remove")]
    pub(crate) unsafe fn remove(self) {
        // SAFETY: The dentry was not removed before, since by the safety requirements of this
        // function nothing is used after its removal. The function accepts null and error pointers.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}

/// The contents of a file that belongs to no device.
pub(crate) trait Contents: 'static {
    /// Writes the contents to `m`.
    ///
    /// # Errors
    ///
    /// Reading the file fails with the error.
    fn show(m: &SeqFile) -> Result;
}

/// The operations of a file with these contents.
struct ListFops<C>(PhantomData<C>);

impl<C: Contents> ListFops<C> {
    const FOPS: bindings::file_operations = bindings::file_operations {
        owner: this_module::<crate::LocalModule>().as_ptr(),
        open: Some(Self::open),
        read: Some(bindings::seq_read),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        ..pin_init::zeroed()
    };

    /// Opens the file.
    ///
    /// # Safety
    ///
    /// Must be called by the VFS with a file that is being opened.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the safety requirements of this function.
        unsafe { bindings::single_open(file, Some(Self::show), null_mut()) }
    }

    /// Writes the contents.
    ///
    /// # Safety
    ///
    /// Must be called with a sequence file that nobody else uses during the call.
    unsafe extern "C" fn show(m: *mut bindings::seq_file, _data: *mut c_void) -> c_int {
        // SAFETY: By the safety requirements of this function.
        from_result(|| C::show(unsafe { SeqFile::from_raw(m) }).map(|()| 0))
    }
}

/// A directory in the root of debugfs. Dropping this removes it and everything in it.
pub(crate) struct TopDir(Dir);

impl TopDir {
    /// Creates the directory `name`. Sleeps.
    pub(crate) fn new(name: &'static CStr) -> Self {
        Self(Dir::at_top(name))
    }

    /// Borrows the directory.
    ///
    /// # Safety
    ///
    /// The caller must not use the result after `self` is dropped.
    pub(crate) unsafe fn handle(&self) -> Dir {
        self.0
    }
}

impl Drop for TopDir {
    fn drop(&mut self) {
        // SAFETY: By the safety requirements of `handle` no copy is used any more.
        unsafe { self.0.remove() };
    }
}

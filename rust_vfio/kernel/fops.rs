// SPDX-License-Identifier: GPL-2.0

//! File operations as a Rust trait.
//!
//! A type that implements [`FileOps`] gets its `struct file_operations` from [`FopsTable::new`].
//! The callbacks turn raw pointers into references, call one method and turn its result into a
//! number: a value, an errno, or what a driver returned in place of one ([`Failure`]).
//! `private_data` of the file holds a pointer that owns the object behind the file (`Arc`, `KBox`,
//! `ARef`), from open to release. The VFS takes no lock that the methods could rely on.
//!
//! In the kernel crate: `kernel::miscdevice::MiscDevice` is such a trait for misc devices. It would
//! become a trait `kernel::fs::FileOperations` for all files, with `read()`, `write()` and a table
//! that can be compared with that of a file.
//!
//! C header: `include/linux/fs.h`.

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr, //
};

use kernel::{
    error::VTABLE_DEFAULT_ERROR,
    fs::File,
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    types::ForeignOwnable, //
};

use crate::{
    bindings,
    kernel::{
        returned::Failure,
        uaccess::UserAddr, //
    }, //
};

/// The inode of a character device that is being opened.
///
/// # Invariants
///
/// The inode is valid, and its `i_cdev` set, as long as this value exists.
pub(crate) struct Inode(*mut bindings::inode);

impl Inode {
    /// Returns the character device of the inode.
    pub(crate) fn cdev(&self) -> *mut bindings::cdev {
        // SAFETY: By the type invariants the inode is valid and the member set.
        unsafe { bindings::vfio_rs_inode_cdev(self.0) }
    }
}

/// A file that is being opened.
///
/// # Invariants
///
/// Only the task that opens the file uses it.
pub(crate) struct OpeningFile<'a>(&'a File);

impl OpeningFile<'_> {
    /// Sets the `f_mapping` of the file: the address space that its mappings belong to, in place of
    /// that of its inode.
    ///
    /// # Safety
    ///
    /// `mapping` must stay valid as long as the file exists.
    pub(crate) unsafe fn set_mapping(&self, mapping: *mut bindings::address_space) {
        // SAFETY: The file is valid, being a reference, and by the type invariants nobody else uses
        // it.
        unsafe { (*self.0.as_ptr()).f_mapping = mapping };
    }
}

impl Deref for OpeningFile<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        self.0
    }
}

/// A memory area that mmap() is setting up. `mmap_lock` of the calling task is held for writing.
pub(crate) struct Vma(*mut bindings::vm_area_struct);

impl Vma {
    /// Returns the C object, for the `mmap` callback of a driver.
    pub(crate) fn as_raw(&self) -> *mut bindings::vm_area_struct {
        self.0
    }
}

/// The operations of a type of files.
///
/// All methods but `release` are optional. Without a method the kernel's default applies. All may
/// sleep.
#[vtable]
pub(crate) trait FileOps: Sized + 'static {
    /// The pointer that `private_data` of a file owns.
    type Ptr: ForeignOwnable + Send + Sync;

    /// Opens a character device. Nobody else sees `file` yet. Files that are created without being
    /// opened need no such method.
    ///
    /// # Errors
    ///
    /// open() fails with the error.
    fn open(_inode: &Inode, _file: &OpeningFile<'_>) -> Result<Self::Ptr> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Releases what the file owned, after the last reference to the file is dropped.
    fn release(this: Self::Ptr);

    /// Handles ioctl(). The argument of a 32-bit caller is converted as a pointer
    /// (`compat_ptr_ioctl()`); structures are not translated.
    ///
    /// # Errors
    ///
    /// ioctl() returns the number of the failure.
    fn ioctl(
        _this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _cmd: u32,
        _arg: UserAddr,
    ) -> Result<isize, Failure> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Handles read() and pread() of `len` bytes into `buf` at position `pos`, which the method
    /// advances. Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// The system call returns the number of the failure.
    fn read(
        _this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _buf: UserAddr,
        _len: usize,
        _pos: &mut i64,
    ) -> Result<isize, Failure> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Handles write() and pwrite() of `len` bytes from `buf` at position `pos`, which the method
    /// advances. Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// The system call returns the number of the failure.
    fn write(
        _this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _buf: UserAddr,
        _len: usize,
        _pos: &mut i64,
    ) -> Result<isize, Failure> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Handles mmap(). Called with `mmap_lock` of the calling task held for writing.
    ///
    /// # Errors
    ///
    /// mmap() returns the number of the failure, and nothing is mapped.
    fn mmap(_this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>, _vma: Vma) -> Result<(), Failure> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Prints into `/proc/<pid>/fdinfo/<fd>`.
    fn show_fdinfo(_this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>, _m: &SeqFile) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The table of file operations of `T`. It is a static, and its address identifies the type of a
/// file.
#[repr(transparent)]
pub(crate) struct FopsTable<T>(bindings::file_operations, PhantomData<fn() -> T>);

// SAFETY: The table is never written after it was created, and owns no `T`.
unsafe impl<T> Sync for FopsTable<T> {}

impl<T: FileOps> FopsTable<T> {
    /// Creates the table.
    pub(crate) const fn new() -> Self {
        let table = bindings::file_operations {
            owner: this_module::<crate::LocalModule>().as_ptr(),
            open: if T::HAS_OPEN {
                Some(FopsCallbacks::<T>::open)
            } else {
                None
            },
            release: Some(FopsCallbacks::<T>::release),
            unlocked_ioctl: if T::HAS_IOCTL {
                Some(FopsCallbacks::<T>::ioctl)
            } else {
                None
            },
            compat_ioctl: if T::HAS_IOCTL {
                bindings::compat_ptr_ioctl
            } else {
                None
            },
            read: if T::HAS_READ {
                Some(FopsCallbacks::<T>::read)
            } else {
                None
            },
            write: if T::HAS_WRITE {
                Some(FopsCallbacks::<T>::write)
            } else {
                None
            },
            mmap: if T::HAS_MMAP {
                Some(FopsCallbacks::<T>::mmap)
            } else {
                None
            },
            show_fdinfo: if T::HAS_SHOW_FDINFO {
                Some(FopsCallbacks::<T>::show_fdinfo)
            } else {
                None
            },
            ..pin_init::zeroed()
        };
        Self(table, PhantomData)
    }

    /// Returns the C object.
    pub(crate) fn as_ptr(&'static self) -> *const bindings::file_operations {
        &raw const self.0
    }

    /// Returns the object behind `file`, or none if the file does not have this table.
    pub(crate) fn borrow<'a>(
        &'static self,
        file: &'a File,
    ) -> Option<<T::Ptr as ForeignOwnable>::Borrowed<'a>> {
        // SAFETY: `f_op` is not written any more when anybody can hold a reference to the file.
        let f_op = unsafe { (*file.as_ptr()).f_op };
        if !ptr::eq(f_op, self.as_ptr()) {
            return None;
        }
        // SAFETY: A file has this table only if it was opened through it or created with a
        // `T::Ptr`, so `private_data` came from `into_foreign`. It stays there until `release`,
        // which runs after the last reference is dropped.
        Some(unsafe { T::Ptr::borrow((*file.as_ptr()).private_data) })
    }
}

/// The C callbacks that call the methods of [`FileOps`].
struct FopsCallbacks<T>(PhantomData<T>);

impl<T: FileOps> FopsCallbacks<T> {
    /// Opens a file.
    ///
    /// # Safety
    ///
    /// Must be called by the VFS, with a valid inode whose `i_cdev` is set and a file that is being
    /// opened.
    unsafe extern "C" fn open(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> kernel::ffi::c_int {
        // SAFETY: By the safety requirements of this function the file is valid during the call,
        // and no other thread uses it, so nobody holds the lock of its position.
        let opened = unsafe { File::from_raw_file(file) };
        // INVARIANT: By the safety requirements of this function, for both.
        match T::open(&Inode(inode), &OpeningFile(opened)) {
            Ok(this) => {
                // SAFETY: No other thread uses the file, and `private_data` is for the use of open.
                unsafe { (*file).private_data = this.into_foreign() };
                0
            }
            Err(e) => e.to_errno(),
        }
    }

    /// Releases what a file owns.
    ///
    /// # Safety
    ///
    /// Must be called by the VFS, once, for a file of `T` to which the last reference was dropped.
    unsafe extern "C" fn release(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> kernel::ffi::c_int {
        // SAFETY: `private_data` of a file of `T` came from `into_foreign`. By the safety
        // requirements of this function there is no reference to the file, so nobody borrows from
        // it.
        T::release(unsafe { T::Ptr::from_foreign((*file).private_data) });
        0
    }

    /// Borrows the object behind a file.
    ///
    /// # Safety
    ///
    /// `file` must be a file of `T` to which the VFS holds a reference during `'a`.
    unsafe fn private<'a>(file: *mut bindings::file) -> <T::Ptr as ForeignOwnable>::Borrowed<'a> {
        // SAFETY: `private_data` of a file of `T` came from `into_foreign` and is taken back in
        // `release`, which does not run while the VFS holds a reference.
        unsafe { T::Ptr::borrow((*file).private_data) }
    }

    /// Handles ioctl().
    ///
    /// # Safety
    ///
    /// Must be called by the VFS for an open file of `T`.
    unsafe extern "C" fn ioctl(
        file: *mut bindings::file,
        cmd: kernel::ffi::c_uint,
        arg: kernel::ffi::c_ulong,
    ) -> kernel::ffi::c_long {
        // SAFETY: By the safety requirements of this function.
        match T::ioctl(unsafe { Self::private(file) }, cmd, UserAddr::new(arg)) {
            Ok(value) => value,
            Err(failure) => failure.get(),
        }
    }

    /// Handles read() and pread().
    ///
    /// # Safety
    ///
    /// Must be called by the VFS for an open file of `T`. `pos` must be valid, and used by nobody
    /// else, during the call.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        buf: *mut kernel::ffi::c_char,
        len: usize,
        pos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By the safety requirements of this function.
        let (this, pos) = unsafe { (Self::private(file), &mut *pos) };
        match T::read(this, UserAddr::new(buf.addr()), len, pos) {
            Ok(value) => value,
            Err(failure) => failure.get(),
        }
    }

    /// Handles write() and pwrite().
    ///
    /// # Safety
    ///
    /// Must be called by the VFS for an open file of `T`. `pos` must be valid, and used by nobody
    /// else, during the call.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        buf: *const kernel::ffi::c_char,
        len: usize,
        pos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By the safety requirements of this function.
        let (this, pos) = unsafe { (Self::private(file), &mut *pos) };
        match T::write(this, UserAddr::new(buf.addr()), len, pos) {
            Ok(value) => value,
            Err(failure) => failure.get(),
        }
    }

    /// Handles mmap().
    ///
    /// # Safety
    ///
    /// Must be called by the VFS for an open file of `T` and an area that is being set up.
    unsafe extern "C" fn mmap(
        file: *mut bindings::file,
        vma: *mut bindings::vm_area_struct,
    ) -> kernel::ffi::c_int {
        // SAFETY: By the safety requirements of this function.
        match T::mmap(unsafe { Self::private(file) }, Vma(vma)) {
            Ok(()) => 0,
            Err(failure) => failure.get_int(),
        }
    }

    /// Prints the lines of a file in fdinfo.
    ///
    /// # Safety
    ///
    /// Must be called by procfs for an open file of `T`, with a sequence file that nobody else uses
    /// during the call.
    unsafe extern "C" fn show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: By the safety requirements of this function.
        let (this, m) = unsafe { (Self::private(file), SeqFile::from_raw(m)) };
        T::show_fdinfo(this, m);
    }
}

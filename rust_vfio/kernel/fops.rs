// SPDX-License-Identifier: GPL-2.0

//! File operations as a Rust trait.
//!
//! A type that implements [`FileOps`] gets its `struct file_operations` from [`FopsTable::new`].
//! The callbacks only turn raw pointers into references, call one method and turn its result into
//! an errno. `private_data` holds the type's pointer (`Arc`, `KBox`, `ARef`) for as long as the
//! file exists.

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
    kernel::uaccess::UserAddr, //
};

/// An inode whose character device is being opened.
pub(crate) struct Inode(*mut bindings::inode);

impl Inode {
    /// The character device that the inode stands for.
    pub(crate) fn cdev(&self) -> *mut bindings::cdev {
        // SAFETY: The inode is valid for the whole open call, and the character device's core has
        // set this member before it called open.
        unsafe { bindings::vfio_rs_inode_cdev(self.0) }
    }
}

/// A file that is being opened: nobody else sees it yet.
pub(crate) struct OpeningFile<'a>(&'a File);

impl OpeningFile<'_> {
    /// Gives the file an address space to map, in place of that of its inode.
    ///
    /// # Safety
    ///
    /// `mapping` must be valid for as long as the file may exist.
    pub(crate) unsafe fn set_mapping(&self, mapping: *mut bindings::address_space) {
        // SAFETY: Nobody else sees the file.
        unsafe { (*self.0.as_ptr()).f_mapping = mapping };
    }
}

impl Deref for OpeningFile<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        self.0
    }
}

/// A memory area that is being set up by mmap(). The caller's `mmap_lock` is held for writing.
pub(crate) struct Vma(*mut bindings::vm_area_struct);

impl Vma {
    /// The raw area, for a driver's `mmap` callback.
    pub(crate) fn as_raw(&self) -> *mut bindings::vm_area_struct {
        self.0
    }
}

/// What a file of this type does.
///
/// Everything but `release` is optional; a method that is left out has the kernel's default.
#[vtable]
pub(crate) trait FileOps: Sized + 'static {
    /// What `private_data` owns.
    type Ptr: ForeignOwnable + Send + Sync;

    /// A character device is opened. Nobody else sees `file` yet. Types whose files are created ready-made have no `open`.
    fn open(_inode: &Inode, _file: &OpeningFile<'_>) -> Result<Self::Ptr> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The last reference to the file is gone.
    fn release(this: Self::Ptr);

    /// ioctl(), from 64-bit and 32-bit callers alike: the argument is passed on as a pointer and
    /// no structure is translated.
    fn ioctl(
        _this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _cmd: u32,
        _arg: UserAddr,
    ) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// read() and pread() of `len` bytes to `buf`; the method moves `pos`.
    fn read(
        _this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _buf: UserAddr,
        _len: usize,
        _pos: &mut i64,
    ) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// write() and pwrite() of `len` bytes from `buf`; the method moves `pos`.
    fn write(
        _this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        _buf: UserAddr,
        _len: usize,
        _pos: &mut i64,
    ) -> Result<isize> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// mmap(). Entered with the caller's `mmap_lock` held for writing.
    fn mmap(_this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>, _vma: Vma) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Prints into `/proc/<pid>/fdinfo/<fd>`.
    fn show_fdinfo(_this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>, _m: &SeqFile) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The table of file operations of `T`. It is a static: its address tells the types of files
/// apart.
#[repr(transparent)]
pub(crate) struct FopsTable<T>(bindings::file_operations, PhantomData<fn() -> T>);

// SAFETY: The table is never written, and owns no `T`.
unsafe impl<T> Sync for FopsTable<T> {}

impl<T: FileOps> FopsTable<T> {
    /// The table.
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

    /// The C table.
    pub(crate) fn as_ptr(&'static self) -> *const bindings::file_operations {
        &raw const self.0
    }

    /// What `file` owns, if it was opened or created with this table.
    pub(crate) fn borrow<'a>(
        &'static self,
        file: &'a File,
    ) -> Option<<T::Ptr as ForeignOwnable>::Borrowed<'a>> {
        // SAFETY: `f_op` is set once, before anybody can hold a reference to the file.
        let f_op = unsafe { (*file.as_ptr()).f_op };
        if !ptr::eq(f_op, self.as_ptr()) {
            return None;
        }
        // SAFETY: All files of this table are `T`'s, so `private_data` is a `T::Ptr` from
        // `into_foreign`; it stays until the last reference to the file is gone.
        Some(unsafe { T::Ptr::borrow((*file.as_ptr()).private_data) })
    }
}

/// The C side of [`FileOps`].
struct FopsCallbacks<T>(PhantomData<T>);

impl<T: FileOps> FopsCallbacks<T> {
    /// # Safety
    ///
    /// Called by the VFS for a file that is being opened.
    unsafe extern "C" fn open(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> kernel::ffi::c_int {
        // SAFETY: The VFS owns the file during the call and no other thread can see it.
        let opened = unsafe { File::from_raw_file(file) };
        match T::open(&Inode(inode), &OpeningFile(opened)) {
            Ok(this) => {
                // SAFETY: As above; `private_data` belongs to the implementation of open.
                unsafe { (*file).private_data = this.into_foreign() };
                0
            }
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS once, for a file whose `private_data` came from `into_foreign`.
    unsafe extern "C" fn release(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> kernel::ffi::c_int {
        // SAFETY: The last reference is gone, so nothing borrows from `private_data` any more.
        T::release(unsafe { T::Ptr::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// `file` is a file of `T` that the VFS holds a reference to during the call.
    unsafe fn private<'a>(file: *mut bindings::file) -> <T::Ptr as ForeignOwnable>::Borrowed<'a> {
        // SAFETY: `private_data` came from `into_foreign` and is given back in `release` only,
        // which cannot run while the VFS holds a reference.
        unsafe { T::Ptr::borrow((*file).private_data) }
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of `T`.
    unsafe extern "C" fn ioctl(
        file: *mut bindings::file,
        cmd: kernel::ffi::c_uint,
        arg: kernel::ffi::c_ulong,
    ) -> kernel::ffi::c_long {
        // SAFETY: By the contract of this callback.
        match T::ioctl(unsafe { Self::private(file) }, cmd, UserAddr::new(arg)) {
            Ok(value) => value,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of `T`; `pos` is valid for the call.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        buf: *mut kernel::ffi::c_char,
        len: usize,
        pos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By the contract of this callback.
        let (this, pos) = unsafe { (Self::private(file), &mut *pos) };
        match T::read(this, UserAddr::new(buf.addr()), len, pos) {
            Ok(value) => value,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of `T`; `pos` is valid for the call.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        buf: *const kernel::ffi::c_char,
        len: usize,
        pos: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By the contract of this callback.
        let (this, pos) = unsafe { (Self::private(file), &mut *pos) };
        match T::write(this, UserAddr::new(buf.addr()), len, pos) {
            Ok(value) => value,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of `T` and an area that is being set up.
    unsafe extern "C" fn mmap(
        file: *mut bindings::file,
        vma: *mut bindings::vm_area_struct,
    ) -> kernel::ffi::c_int {
        // SAFETY: By the contract of this callback.
        match T::mmap(unsafe { Self::private(file) }, Vma(vma)) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by procfs for an open file of `T`.
    unsafe extern "C" fn show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: By the contract of this callback; procfs owns `m` during the call.
        let (this, m) = unsafe { (Self::private(file), SeqFile::from_raw(m)) };
        T::show_fdinfo(this, m);
    }
}

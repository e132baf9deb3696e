// SPDX-License-Identifier: GPL-2.0

//! Structures that cross the border to user space.
//!
//! Every VFIO structure starts with `argsz`, the number of bytes the caller set aside. A kernel
//! reads only as much as the oldest layout had, and checks the rest against `argsz` itself, so
//! the primitives here copy *prefixes*: what was not copied is zero.

use core::{
    mem::{
        size_of,
        MaybeUninit, //
    },
    slice, //
};

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use kernel::error::to_result;
use kernel::prelude::*;

use crate::bindings;

/// A structure of the user ABI.
///
/// # Safety
///
/// The type must be valid for every bit pattern and have no padding that is not a named field:
/// values are filled from and copied to user memory byte by byte.
pub(crate) unsafe trait UapiStruct: Sized {}

// SAFETY: Integers have neither invalid bit patterns nor padding.
unsafe impl UapiStruct for u8 {}
// SAFETY: As above.
unsafe impl UapiStruct for i32 {}
// SAFETY: As above.
unsafe impl UapiStruct for u32 {}
// SAFETY: As above.
unsafe impl UapiStruct for u64 {}

/// An address in the memory of the calling process: what an ioctl was given as its argument.
#[derive(Clone, Copy)]
pub(crate) struct UserAddr(usize);

impl UserAddr {
    /// The address `addr`, which need not be valid: using it then fails with `EFAULT`.
    pub(crate) const fn new(addr: usize) -> Self {
        Self(addr)
    }

    /// The address `bytes` further on.
    pub(crate) const fn offset(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The plain value, for drivers that get the argument as it is.
    pub(crate) const fn get(self) -> usize {
        self.0
    }

    /// The address as the C API wants it.
    pub(crate) const fn as_mut_ptr(self) -> *mut kernel::ffi::c_char {
        core::ptr::without_provenance_mut(self.0)
    }

    /// Reads `len` bytes to `to`. The kernel's `UserSlice` does the same with more steps, which
    /// count in requests that do little else.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be read.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writing so many bytes.
    pub(crate) unsafe fn copy_to(self, to: *mut u8, len: usize) -> Result {
        let from = core::ptr::without_provenance(self.0);
        // SAFETY: By the contract of this function; the function checks the user address.
        match unsafe { bindings::copy_from_user(to.cast(), from, len) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }

    /// Reads a whole `T`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be read.
    pub(crate) fn read<T: UapiStruct>(self) -> Result<T> {
        self.read_prefix(size_of::<T>())
    }

    /// Reads the first `len` bytes of a `T`, at most all of it; the rest is zero.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be read.
    #[inline]
    pub(crate) fn read_prefix<T: UapiStruct>(self, len: usize) -> Result<T> {
        let len = len.min(size_of::<T>());
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: `value` is `size_of::<T>()` bytes long and `len` is not more than that.
        unsafe { self.copy_to(value.as_mut_ptr().cast(), len) }?;
        // SAFETY: Every byte is initialised, and a `UapiStruct` is valid for every bit pattern.
        Ok(unsafe { value.assume_init() })
    }

    /// Reads a `T` that may have grown since the caller was built, or since this was: what the
    /// caller lacks of it is zero, and what the caller has behind it must be zero.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be read, `E2BIG` if one behind the `T` is not zero.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    #[doc(alias = "copy_struct_from_user")]
    pub(crate) fn read_extensible<T: UapiStruct>(self, len: usize) -> Result<T> {
        let behind = len.saturating_sub(size_of::<T>());
        if behind > 0 {
            let behind_addr = self.offset(size_of::<T>()).as_mut_ptr();
            // SAFETY: The function checks the addresses.
            match unsafe { bindings::check_zeroed_user(behind_addr.cast(), behind) } {
                0 => return Err(E2BIG),
                ret => to_result(ret)?,
            }
        }
        self.read_prefix(len)
    }

    /// Writes a whole `T`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be written.
    pub(crate) fn write<T: UapiStruct>(self, value: &T) -> Result {
        self.write_prefix(value, size_of::<T>())
    }

    /// Writes the first `len` bytes of `value`, at most all of it.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be written.
    pub(crate) fn write_prefix<T: UapiStruct>(self, value: &T, len: usize) -> Result {
        let len = len.min(size_of::<T>());
        // SAFETY: `value` is `size_of::<T>()` initialised bytes (a `UapiStruct` has no padding
        // that is not a field) and `len` is not more than that.
        let bytes = unsafe { slice::from_raw_parts((&raw const *value).cast::<u8>(), len) };
        self.write_bytes(bytes)
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be written.
    pub(crate) fn write_bytes(self, bytes: &[u8]) -> Result {
        let to = core::ptr::without_provenance_mut(self.0);
        // SAFETY: The bytes are valid for reading; the function checks the user address.
        match unsafe { bindings::copy_to_user(to, bytes.as_ptr().cast(), bytes.len()) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }
}

/// A string that user space passed to an ioctl. Dropping it frees the copy.
pub(crate) struct UserString(*mut kernel::ffi::c_char);

impl UserString {
    /// Copies a string of less than a page.
    ///
    /// # Errors
    ///
    /// `EFAULT`, `EINVAL` if the string is too long, `ENOMEM`.
    pub(crate) fn read(addr: UserAddr) -> Result<Self> {
        // SAFETY: The function checks the address.
        let copy =
            unsafe { bindings::strndup_user(addr.as_mut_ptr(), kernel::page::PAGE_SIZE as isize) };
        Ok(Self(kernel::error::from_err_ptr(copy)?))
    }

    /// Returns the NUL-terminated copy.
    pub(crate) fn as_mut_ptr(&self) -> *mut kernel::ffi::c_char {
        self.0
    }
}

impl Drop for UserString {
    fn drop(&mut self) {
        // SAFETY: The copy was allocated by `strndup_user`.
        unsafe { bindings::kfree(self.0.cast()) };
    }
}

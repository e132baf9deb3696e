// SPDX-License-Identifier: GPL-2.0

//! Copies between the kernel and the memory of the calling process: structures, their prefixes,
//! strings.
//!
//! The structures of an ioctl grow from one kernel version to the next, and callers say how many
//! bytes they have. So a *prefix* of a structure can be read or written; the part of a value that
//! was not read is zero.
//!
//! In the kernel crate: `kernel::uaccess` reads and writes whole values. Its readers and writers
//! would get prefixes, `copy_struct_from_user()` and `strndup_user()`.
//!
//! C header: `include/linux/uaccess.h`.

use core::{
    cell::UnsafeCell,
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

/// A type that can be copied from and to user memory byte by byte.
///
/// # Safety
///
/// The type must be valid for every bit pattern, and must have no padding.
pub(crate) unsafe trait UapiStruct: Sized {}

// SAFETY: Integers have neither invalid bit patterns nor padding; the same holds below.
unsafe impl UapiStruct for u8 {}
// SAFETY: As above.
unsafe impl UapiStruct for i32 {}
// SAFETY: As above.
unsafe impl UapiStruct for u32 {}
// SAFETY: As above.
unsafe impl UapiStruct for u64 {}

/// A virtual address in the memory of the calling process, such as the argument of an ioctl. It
/// need not be valid.
#[derive(Clone, Copy)]
pub(crate) struct UserAddr(usize);

impl UserAddr {
    /// Returns the address `addr`. If it is not valid, using it fails with `EFAULT`.
    pub(crate) const fn new(addr: usize) -> Self {
        Self(addr)
    }

    /// Returns the address `bytes` bytes further on, modulo the size of the address space.
    pub(crate) const fn offset(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Returns the address as a number.
    pub(crate) const fn get(self) -> usize {
        self.0
    }

    /// Returns the address as a pointer, for a C function.
    pub(crate) const fn as_mut_ptr(self) -> *mut kernel::ffi::c_char {
        core::ptr::without_provenance_mut(self.0)
    }

    /// Copies `len` bytes from user memory to `to`. May sleep.
    ///
    /// `kernel::uaccess::UserSlice` does the same in more steps, which are measurable in requests
    /// that do little else.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be read.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writing `len` bytes.
    #[doc(alias = "copy_from_user")]
    pub(crate) unsafe fn copy_to(self, to: *mut u8, len: usize) -> Result {
        let from = core::ptr::without_provenance(self.0);
        // SAFETY: By the safety requirements of this function `to` is valid for writing. The C
        // function checks the user address.
        match unsafe { bindings::copy_from_user(to.cast(), from, len) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }

    /// Reads a whole `T`. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be read.
    pub(crate) fn read<T: UapiStruct>(self) -> Result<T> {
        self.read_prefix(size_of::<T>())
    }

    /// Reads the first `len` bytes of a `T`, or all of it if `len` is larger; the rest is zero. May
    /// sleep.
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

    /// Reads a `T` of which the caller has `len` bytes: fewer if it was built for an older kernel,
    /// more if for a newer one. Missing bytes are zero, and bytes behind the `T` must be zero. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if a byte behind the `T` cannot be read.
    /// - `E2BIG` if a byte behind the `T` is not zero.
    /// - `EFAULT` if a byte of the `T` cannot be read.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    #[doc(alias = "copy_struct_from_user")]
    pub(crate) fn read_extensible<T: UapiStruct>(self, len: usize) -> Result<T> {
        let behind = len.saturating_sub(size_of::<T>());
        if behind > 0 {
            let behind_addr = self.offset(size_of::<T>()).as_mut_ptr();
            // SAFETY: There are no safety requirements: the function checks the user addresses.
            match unsafe { bindings::check_zeroed_user(behind_addr.cast(), behind) } {
                0 => return Err(E2BIG),
                ret => to_result(ret)?,
            }
        }
        self.read_prefix(len)
    }

    /// Writes a whole `T`. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be written.
    pub(crate) fn write<T: UapiStruct>(self, value: &T) -> Result {
        self.write_prefix(value, size_of::<T>())
    }

    /// Writes all `values`, one behind the other. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be written.
    #[allow(dead_code, reason = "only `vfio_iommu_type1.ko` needs it")]
    pub(crate) fn write_all<T: UapiStruct>(self, values: &[T]) -> Result {
        let (first, len) = (values.as_ptr().cast::<u8>(), size_of_val(values));
        // SAFETY: The values are `len` bytes, all of them initialised, since a `UapiStruct` has no
        // padding.
        self.write_bytes(unsafe { slice::from_raw_parts(first, len) })
    }

    /// Writes the first `len` bytes of `value`, or all of it if `len` is larger. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be written.
    pub(crate) fn write_prefix<T: UapiStruct>(self, value: &T, len: usize) -> Result {
        let len = len.min(size_of::<T>());
        // SAFETY: `value` is `size_of::<T>()` bytes long, all of them initialised, since a
        // `UapiStruct` has no padding; and `len` is not more than that.
        let bytes = unsafe { slice::from_raw_parts((&raw const *value).cast::<u8>(), len) };
        self.write_bytes(bytes)
    }

    /// Copies `bytes` to user memory. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be written.
    #[doc(alias = "copy_to_user")]
    pub(crate) fn write_bytes(self, bytes: &[u8]) -> Result {
        let to = core::ptr::without_provenance_mut(self.0);
        // SAFETY: The bytes are valid for reading, being a slice. The C function checks the user
        // address.
        match unsafe { bindings::copy_to_user(to, bytes.as_ptr().cast(), bytes.len()) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }
}

/// A copy of a NUL-terminated string of user space, to which C code may write.
pub(crate) struct UserString(StringCopy);

/// Where the copy of a string is.
enum StringCopy {
    /// Here, because it is short, as names mostly are. It is NUL-terminated.
    Short(UnsafeCell<[u8; SHORT]>),
    /// In memory of its own.
    Long(LongCopy),
}

/// The number of bytes of a short copy, the NUL included.
const SHORT: usize = 64;

/// # Invariants
///
/// The pointer was returned by `strndup_user()`, and this value owns the memory.
struct LongCopy(*mut kernel::ffi::c_char);

impl UserString {
    /// Copies the string at `addr`. May sleep.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if a byte of the string cannot be read.
    /// - `EINVAL` if the string with its NUL is longer than a page.
    /// - `ENOMEM`.
    #[doc(alias = "strndup_user")]
    pub(crate) fn read(addr: UserAddr) -> Result<Self> {
        let mut short = [0; SHORT];
        // SAFETY: The array is valid for writing `SHORT` bytes. The function checks the user
        // address.
        let len = unsafe {
            bindings::strncpy_from_user(
                short.as_mut_ptr().cast(),
                addr.as_mut_ptr(),
                SHORT as isize,
            )
        };
        match usize::try_from(len) {
            Err(_) => Err(EFAULT),
            // The function has found the NUL.
            Ok(len) if len < SHORT => Ok(Self(StringCopy::Short(UnsafeCell::new(short)))),
            Ok(_) => Ok(Self(StringCopy::Long(LongCopy::read(addr)?))),
        }
    }

    /// Returns the NUL-terminated copy, for a C function.
    pub(crate) fn as_mut_ptr(&self) -> *mut kernel::ffi::c_char {
        match &self.0 {
            StringCopy::Short(copy) => copy.get().cast(),
            StringCopy::Long(copy) => copy.0,
        }
    }
}

impl LongCopy {
    fn read(addr: UserAddr) -> Result<Self> {
        // SAFETY: There are no safety requirements: the function checks the user address.
        let copy =
            unsafe { bindings::strndup_user(addr.as_mut_ptr(), kernel::page::PAGE_SIZE as isize) };
        // INVARIANT: Returned by the function, unless it is an error.
        Ok(Self(kernel::error::from_err_ptr(copy)?))
    }
}

impl Drop for LongCopy {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the memory, which came from `kmalloc()`.
        unsafe { bindings::kfree(self.0.cast()) };
    }
}

// SPDX-License-Identifier: GPL-2.0

//! What C callbacks return.
//!
//! A callback should return 0 or a negative errno, but nothing makes it, and C code passes on what
//! it gets: a number that is no errno reaches user space as it is. [`Failure`] does the same here.
//! [`Error`] cannot, as it has room only for the errnos from -4095 to -1; what it is made of
//! otherwise becomes `EINVAL`, with a line in the kernel log each time.
//!
//! There are two rules, depending on what C tests:
//!
//! | C | Here | Failure is |
//! |---|---|---|
//! | `if (ret) return ret;` | [`Failure::check`] | Anything but 0 |
//! | `return ret;` | [`Failure::check_value`] | Anything less than 0; all is passed on anyway |
//!
//! [`Failure::to_error`] is for the few places that cannot pass numbers on: error pointers.
//!
//! In the kernel crate: `kernel::error` would have this type, for all abstractions whose C
//! counterpart passes on what a callback returns.

#![forbid(unsafe_code)]

use core::num::NonZeroIsize;

use kernel::prelude::*;

use crate::bindings;

/// What a C callback returned in place of success, or an errno of our own. It is a negative errno
/// unless the callback is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure(NonZeroIsize);

impl Failure {
    /// Checks what a callback returned that returns 0 if it succeeded.
    ///
    /// # Errors
    ///
    /// Any other number, positive ones included.
    #[inline]
    pub(crate) fn check(ret: c_int) -> Result<(), Self> {
        // CAST: An `isize` has at least the bits of a `c_int` in a kernel.
        match NonZeroIsize::new(ret as isize) {
            Some(ret) => Err(Self(ret)),
            None => Ok(()),
        }
    }

    /// Checks what a callback returned that returns a value if it succeeded: a number of bytes, a
    /// file descriptor, or whatever it has agreed upon with user space.
    ///
    /// # Errors
    ///
    /// Any negative number.
    #[inline]
    pub(crate) fn check_value(ret: isize) -> Result<isize, Self> {
        match NonZeroIsize::new(ret) {
            Some(failure) if ret < 0 => Err(Self(failure)),
            _ => Ok(ret),
        }
    }

    /// Checks what a callback returned like [`Failure::check_value`], but only the bits of an `int`
    /// of it. For callbacks that return a `long` which C stores in an `int`.
    ///
    /// # Errors
    ///
    /// Any number that is negative as an `int`.
    #[inline]
    pub(crate) fn check_int_value(ret: isize) -> Result<isize, Self> {
        // CAST: The upper bits are lost, as they are in C.
        Self::check_value(ret as c_int as isize)
    }

    /// Returns the number, to be passed on.
    #[inline]
    pub(crate) fn get(self) -> isize {
        self.0.get()
    }

    /// Returns the number as an `int`. Nothing of it is lost if it came from [`Failure::check`] or
    /// is an errno.
    #[inline]
    pub(crate) fn get_int(self) -> c_int {
        // CAST: See above.
        self.get() as c_int
    }

    /// Returns the errno, or `EINVAL` if the number is none. For places from which no other numbers
    /// can be passed on, because they would not be taken for a failure.
    pub(crate) fn to_error(self) -> Error {
        const LOWEST: isize = -(bindings::MAX_ERRNO as isize);

        match self.get() {
            LOWEST..=-1 => Error::from_errno(self.get_int()),
            _ => EINVAL,
        }
    }
}

impl<T> From<T> for Failure
where
    Error: From<T>,
{
    #[inline]
    fn from(error: T) -> Self {
        let errno = Error::from(error).to_errno();
        // CAST: As in `check`. The number is not 0, so the alternative is never used.
        Self(NonZeroIsize::new(errno as isize).unwrap_or(NonZeroIsize::MIN))
    }
}

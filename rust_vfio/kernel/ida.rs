// SPDX-License-Identifier: GPL-2.0

//! Small unique numbers: device indices and minors.
//!
//! C header: `include/linux/idr.h`. An IDA has a lock of its own.

use kernel::{
    prelude::*,
    types::Opaque, //
};

use crate::bindings;

/// Minors are numbers of 20 bits.
const MINORMASK: u32 = (1 << 20) - 1;

/// A `struct ida` that lives in a static.
///
/// # Invariants
///
/// Between [`Ida::init`] and the drop of the [`IdaLife`] it returned, the C object is initialised.
pub(crate) struct Ida(Opaque<bindings::ida>);

// SAFETY: The C object has its own lock.
unsafe impl Sync for Ida {}

impl Ida {
    /// An allocator that is not yet usable.
    pub(crate) const fn uninit() -> Self {
        Self(Opaque::uninit())
    }

    /// Makes the allocator usable for as long as the returned value lives.
    ///
    /// # Safety
    ///
    /// Nothing may use the allocator before this call, nor after the returned value is dropped.
    pub(crate) unsafe fn init(&'static self) -> IdaLife {
        // SAFETY: The slot is static and, by the contract of this function, nobody uses it yet.
        unsafe { bindings::vfio_rs_ida_init(self.0.get()) };
        IdaLife(self)
    }

    /// Takes the lowest free number that is a valid minor.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there is none, `ENOMEM`.
    pub(crate) fn alloc_minor(&'static self) -> Result<Id> {
        // SAFETY: The object is initialised by the invariant and the contract of `init`.
        let id =
            unsafe { bindings::ida_alloc_range(self.0.get(), 0, MINORMASK, bindings::GFP_KERNEL) };
        match u32::try_from(id) {
            Ok(value) => Ok(Id { ida: self, value }),
            Err(_) => Err(Error::from_errno(id)),
        }
    }
}

/// A number taken from an [`Ida`]; dropping it gives it back.
pub(crate) struct Id {
    ida: &'static Ida,
    value: u32,
}

impl Id {
    /// The number.
    pub(crate) fn value(&self) -> u32 {
        self.value
    }

    /// Leaves the number taken; [`Id::from_raw`] finds it again.
    pub(crate) fn into_raw(self) -> u32 {
        let value = self.value;
        core::mem::forget(self);
        value
    }

    /// The opposite of [`Id::into_raw`].
    pub(crate) fn from_raw(ida: &'static Ida, value: u32) -> Self {
        Self { ida, value }
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        // SAFETY: The number was taken from this allocator, which outlives all of its numbers.
        unsafe { bindings::ida_free(self.ida.0.get(), self.value) };
    }
}

/// The time in which an [`Ida`] may be used.
pub(crate) struct IdaLife(&'static Ida);

impl Drop for IdaLife {
    fn drop(&mut self) {
        // SAFETY: By the contract of `init` nobody uses the allocator any more.
        unsafe { bindings::ida_destroy(self.0 .0.get()) };
    }
}

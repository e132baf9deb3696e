// SPDX-License-Identifier: GPL-2.0

//! Allocators of small unique numbers (`struct ida`), such as minors. An IDA has a lock of its own.
//!
//! In the kernel crate: `kernel::id_pool` has a bitmap that needs a lock around it and grows by
//! hand. A type `Ida` would be added, which can live in a static.
//!
//! C header: `include/linux/idr.h`.

use kernel::{
    prelude::*,
    types::Opaque, //
};

use crate::bindings;

/// The largest minor: minors have 20 bits (`MINORMASK`).
const MINORMASK: u32 = (1 << 20) - 1;

/// A `struct ida` that lives in a static.
///
/// # Invariants
///
/// The C object is initialised from the call of [`Ida::init`] until the [`IdaLife`] that it
/// returned is dropped.
pub(crate) struct Ida(Opaque<bindings::ida>);

// SAFETY: The functions that are called here take the lock that is part of the C object.
unsafe impl Sync for Ida {}

impl Ida {
    /// Creates an allocator that must not be used before [`Ida::init`].
    pub(crate) const fn uninit() -> Self {
        Self(Opaque::uninit())
    }

    /// Initialises the allocator. It may be used as long as the returned value lives.
    ///
    /// # Safety
    ///
    /// Must be called once. Nobody may use the allocator before this call returns, nor after the
    /// returned value is dropped.
    #[doc(alias = "ida_init")]
    pub(crate) unsafe fn init(&'static self) -> IdaLife {
        // SAFETY: The memory is static, and by the safety requirements of this function nobody uses
        // it yet.
        unsafe { bindings::vfio_rs_ida_init(self.0.get()) };
        IdaLife(self)
    }

    /// Allocates the lowest free number from 0 to 2^20 - 1, inclusive. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `ENOSPC` if no number is free.
    #[doc(alias = "ida_alloc_max")]
    pub(crate) fn alloc_minor(&'static self) -> Result<Id> {
        // SAFETY: By the safety requirements of `init` the allocator is used only while the type
        // invariants say that it is initialised.
        let id =
            unsafe { bindings::ida_alloc_range(self.0.get(), 0, MINORMASK, bindings::GFP_KERNEL) };
        match u32::try_from(id) {
            Ok(value) => Ok(Id { ida: self, value }),
            Err(_) => Err(Error::from_errno(id)),
        }
    }
}

/// A number that was allocated from an [`Ida`]. Dropping it frees the number.
pub(crate) struct Id {
    ida: &'static Ida,
    value: u32,
}

impl Id {
    /// Returns the number.
    pub(crate) fn value(&self) -> u32 {
        self.value
    }

    /// Returns the number without freeing it. [`Id::from_raw`] takes it back.
    pub(crate) fn into_raw(self) -> u32 {
        let value = self.value;
        core::mem::forget(self);
        value
    }

    /// Takes back a number that [`Id::into_raw`] returned. The caller must do so only once, and
    /// with the allocator from which the number came.
    pub(crate) fn from_raw(ida: &'static Ida, value: u32) -> Self {
        Self { ida, value }
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        // SAFETY: The number was allocated from this allocator, which outlives all of its numbers
        // by the safety requirements of `Ida::init`.
        unsafe { bindings::ida_free(self.ida.0.get(), self.value) };
    }
}

/// The period in which an [`Ida`] may be used. Dropping this destroys the allocator.
pub(crate) struct IdaLife(&'static Ida);

impl Drop for IdaLife {
    fn drop(&mut self) {
        // SAFETY: By the safety requirements of `Ida::init` nobody uses the allocator any more.
        unsafe { bindings::ida_destroy(self.0 .0.get()) };
    }
}

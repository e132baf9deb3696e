// SPDX-License-Identifier: GPL-2.0

//! Exported symbols of other modules that are looked up by name at run time (`symbol_get()`).
//!
//! A module calls another one in this way if it works without that module as well. There is no
//! lock; the reference that a lookup takes keeps the module that exports the symbol loaded.
//!
//! In the kernel crate: `kernel::module` would get a counted `Symbol`.
//!
//! C header: `include/linux/module.h`.

use core::ptr::NonNull;

use kernel::{
    ffi::c_void,
    prelude::*,
    str::CStr, //
};

use crate::bindings;

/// A reference to an exported symbol. The module that exports it cannot be unloaded until this is
/// dropped.
///
/// # Invariants
///
/// `address` is the address of the symbol `name`, and this value owns one reference to it.
pub(crate) struct Symbol {
    address: NonNull<c_void>,
    name: &'static CStr,
}

impl Symbol {
    /// Looks up the symbol `name` and takes a reference to it. Returns none if no loaded module
    /// exports the symbol as GPL-only. Does not sleep.
    #[doc(alias = "symbol_get")]
    pub(crate) fn get(name: &'static CStr) -> Option<Self> {
        // SAFETY: `name` is a NUL-terminated string, being a `CStr`.
        let address = NonNull::new(unsafe { bindings::__symbol_get(name.as_char_ptr()) })?;
        // INVARIANT: The function returned the address and took a reference.
        Some(Self { address, name })
    }

    /// Returns the address of the symbol. It is valid as long as `self`.
    pub(crate) fn address(&self) -> NonNull<c_void> {
        self.address
    }

    /// Keeps the reference until [`Symbol::put_kept`] drops it.
    pub(crate) fn keep(self) {
        core::mem::forget(self);
    }

    /// Drops a reference to the symbol `name` that [`Symbol::keep`] kept.
    ///
    /// # Safety
    ///
    /// Must be called once for each [`Symbol::keep`] of that symbol, and the caller must not use
    /// the address of the symbol afterwards unless it has another reference.
    #[doc(alias = "symbol_put")]
    pub(crate) unsafe fn put_kept(name: &'static CStr) {
        // SAFETY: By the safety requirements of this function there is a reference, which goes
        // here.
        unsafe { bindings::__symbol_put(name.as_char_ptr()) };
    }
}

impl Drop for Symbol {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns one reference.
        unsafe { bindings::__symbol_put(self.name.as_char_ptr()) };
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Functions of other modules that are found by name at run time (`symbol_get()`).
//!
//! That is how one module calls another that need not be loaded.

use core::ptr::NonNull;

use kernel::{
    ffi::c_void,
    prelude::*,
    str::CStr, //
};

use crate::bindings;

/// A symbol that was found. Its module cannot be unloaded before this is dropped.
pub(crate) struct Symbol {
    address: NonNull<c_void>,
    name: &'static CStr,
}

impl Symbol {
    /// Finds the symbol `name`, which must be exported to GPL modules. Does not sleep.
    pub(crate) fn get(name: &'static CStr) -> Option<Self> {
        // SAFETY: The name is a NUL-terminated string.
        let address = NonNull::new(unsafe { bindings::__symbol_get(name.as_char_ptr()) })?;
        Some(Self { address, name })
    }

    /// Where the symbol is.
    pub(crate) fn address(&self) -> NonNull<c_void> {
        self.address
    }

    /// Keeps the use of the symbol, until [`Symbol::put_kept`].
    pub(crate) fn keep(self) {
        core::mem::forget(self);
    }

    /// Ends a use of the symbol `name` that was kept.
    ///
    /// # Safety
    ///
    /// Once for each [`Symbol::keep`].
    pub(crate) unsafe fn put_kept(name: &'static CStr) {
        // SAFETY: By the contract of this function.
        unsafe { bindings::__symbol_put(name.as_char_ptr()) };
    }
}

impl Drop for Symbol {
    fn drop(&mut self) {
        // SAFETY: This value stands for one use of the symbol.
        unsafe { bindings::__symbol_put(self.name.as_char_ptr()) };
    }
}

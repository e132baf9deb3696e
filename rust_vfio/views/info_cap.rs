// SPDX-License-Identifier: GPL-2.0

//! The buffer in which an ioctl collects capabilities (`struct vfio_info_cap`).
//!
//! C code uses the same structure: drivers append to ours, and backends in C have their own and
//! free the memory with `kfree()`. So this is the C structure; only its memory is managed here.
//! There is no lock: a buffer belongs to one ioctl. How the capabilities are chained is in
//! `core/info_caps.rs`.
//!
//! C header: `include/linux/vfio.h`.

use core::{
    mem,
    ptr,
    slice, //
};

use kernel::prelude::*;

use crate::bindings;

/// A growing buffer of bytes in the shape of a `struct vfio_info_cap`.
///
/// # Invariants
///
/// `buf` is null and `size` 0, or `buf` is memory of `kmalloc()` whose first `size` bytes are
/// initialised.
#[repr(transparent)]
pub(crate) struct CapBuffer(bindings::vfio_info_cap);

impl CapBuffer {
    const EMPTY: bindings::vfio_info_cap = bindings::vfio_info_cap {
        buf: ptr::null_mut(),
        size: 0,
    };

    /// Creates an empty buffer.
    pub(crate) const fn new() -> Self {
        // INVARIANT: `buf` is null and `size` is 0.
        Self(Self::EMPTY)
    }

    /// Borrows a buffer that C code owns.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a structure for which the invariants of this type hold, and which nobody
    /// else uses during `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::vfio_info_cap) -> &'a mut Self {
        // CAST: The type is transparent.
        // SAFETY: By the safety requirements of this function.
        unsafe { &mut *ptr.cast() }
    }

    /// Returns the C structure, for the callback of a driver. The driver may append to it with
    /// `vfio_info_cap_add()`, which keeps the invariants.
    pub(super) fn as_raw(&mut self) -> *mut bindings::vfio_info_cap {
        &raw mut self.0
    }

    /// Returns the number of bytes in the buffer.
    pub(crate) fn len(&self) -> usize {
        self.0.size
    }

    /// Returns the contents of the buffer.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.0.buf.is_null() {
            return &[];
        }
        // SAFETY: By the type invariants `size` bytes at `buf` are initialised. They do not change
        // while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.0.buf.cast(), self.0.size) }
    }

    /// Returns the contents of the buffer, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        if self.0.buf.is_null() {
            return &mut [];
        }
        // SAFETY: By the type invariants `size` bytes at `buf` are initialised, and `self` is
        // borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.0.buf.cast(), self.0.size) }
    }

    /// Appends `additional` bytes that are zero. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. The buffer is empty then, so that C code need not free it.
    pub(crate) fn grow(&mut self, additional: usize) -> Result {
        let mut bytes = self.take();
        let len = bytes.len().checked_add(additional).ok_or(ENOMEM)?;
        bytes.resize(len, 0, GFP_KERNEL)?;
        let (buf, size, _) = bytes.into_raw_parts();
        // INVARIANT: The memory of a `KVec` comes from `kmalloc()`, and all `size` bytes are
        // initialised.
        self.0 = bindings::vfio_info_cap {
            buf: buf.cast(),
            size,
        };
        Ok(())
    }

    /// Frees the contents of the buffer, which is empty then.
    pub(crate) fn clear(&mut self) {
        drop(self.take());
    }

    /// Returns the contents of the buffer, which is empty then.
    fn take(&mut self) -> KVec<u8> {
        let bindings::vfio_info_cap { buf, size } = mem::replace(&mut self.0, Self::EMPTY);
        if buf.is_null() {
            return KVec::new();
        }
        // SAFETY: By the type invariants: `size` bytes are allocated and initialised. There may be
        // more bytes than that, but a smaller capacity is never wrong.
        unsafe { KVec::from_raw_parts(buf.cast(), size, size) }
    }
}

impl Drop for CapBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

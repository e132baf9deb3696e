// SPDX-License-Identifier: GPL-2.0

//! The buffer in which an ioctl collects capabilities (`struct vfio_info_cap`).
//!
//! C code owns such structures too: drivers append to ours, and backends in C bring their own and
//! free them with `kfree()`. So it stays the C structure, and only its memory is managed here.
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

    /// An empty buffer.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The first of the two cases.
        Self(Self::EMPTY)
    }

    /// A view of a buffer that C code owns.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a buffer as in the invariants of this type that nobody else uses during
    /// `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::vfio_info_cap) -> &'a mut Self {
        // CAST: The type is transparent.
        // SAFETY: By the safety requirements of this function.
        unsafe { &mut *ptr.cast() }
    }

    /// The C structure, for a driver callback. C code appends with `vfio_info_cap_add()`, which
    /// keeps the invariants.
    pub(super) fn as_raw(&mut self) -> *mut bindings::vfio_info_cap {
        &raw mut self.0
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.size
    }

    /// What has been collected.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.0.buf.is_null() {
            return &[];
        }
        // SAFETY: By the type invariants.
        unsafe { slice::from_raw_parts(self.0.buf.cast(), self.0.size) }
    }

    /// What has been collected, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        if self.0.buf.is_null() {
            return &mut [];
        }
        // SAFETY: By the type invariants; the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.0.buf.cast(), self.0.size) }
    }

    /// Appends `additional` zero bytes. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. The buffer is then empty, so that C code need not free it.
    pub(crate) fn grow(&mut self, additional: usize) -> Result {
        let mut bytes = self.take();
        let len = bytes.len().checked_add(additional).ok_or(ENOMEM)?;
        bytes.resize(len, 0, GFP_KERNEL)?;
        let (buf, size, _) = bytes.into_raw_parts();
        // INVARIANT: A vector's memory is that of `kmalloc()`, and all of `size` was set.
        self.0 = bindings::vfio_info_cap {
            buf: buf.cast(),
            size,
        };
        Ok(())
    }

    /// Frees what has been collected.
    pub(crate) fn clear(&mut self) {
        drop(self.take());
    }

    /// Moves the memory out. INVARIANT: Leaves the first of the two cases behind.
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

// SPDX-License-Identifier: GPL-2.0

//! The arrays and buffers that drivers of emulated devices pass to `vfio_pin_pages()` and
//! `vfio_dma_rw()`.

use core::{
    mem::MaybeUninit,
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};

use kernel::prelude::*;

use crate::{
    bindings,
    kernel::{
        pages::PageRef,
        uaccess::UserAddr, //
    }, //
};

/// The array of a driver that receives a pointer to the page structure of each pinned page. It may
/// be uninitialised.
pub(crate) struct PageSlots<'a>(&'a mut [MaybeUninit<*mut bindings::page>]);

impl PageSlots<'_> {
    /// Returns the array of `count` pointers at `pages`.
    ///
    /// # Safety
    ///
    /// `pages` must be valid for writing `count` pointers, and nobody else may access them for the
    /// lifetime of the result.
    pub(crate) unsafe fn from_raw(pages: NonNull<*mut bindings::page>, count: usize) -> Self {
        // SAFETY: By the safety requirements of this function. The elements are `MaybeUninit`, so
        // they need not be initialised.
        Self(unsafe { slice::from_raw_parts_mut(pages.as_ptr().cast(), count) })
    }

    /// Returns the number of elements.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Stores `page` in element `index`, if there is one.
    pub(crate) fn set(&mut self, index: usize, page: PageRef) {
        if let Some(slot) = self.0.get_mut(index) {
            slot.write(page.as_ptr());
        }
    }

    /// Stores null pointers in the first `count` elements.
    pub(crate) fn clear(&mut self, count: usize) {
        for slot in self.0.iter_mut().take(count) {
            slot.write(ptr::null_mut());
        }
    }
}

/// The buffer of a driver, with the direction of the copy.
pub(crate) enum DmaBuffer<'a> {
    /// The buffer is copied to user memory.
    ToUser(&'a [u8]),
    /// User memory is copied to the buffer, which may be uninitialised.
    FromUser(&'a mut [MaybeUninit<u8>]),
}

impl DmaBuffer<'_> {
    /// Returns the buffer of `len` bytes at `data`, which is copied to user memory if `write`, and
    /// from there otherwise.
    ///
    /// # Safety
    ///
    /// For the lifetime of the result: if `write` is set, `data` must be valid for reading `len`
    /// initialised bytes, and nobody may write to them. Otherwise it must be valid for writing
    /// `len` bytes, and nobody else may access them.
    pub(crate) unsafe fn from_raw(data: NonNull<u8>, len: usize, write: bool) -> Self {
        if write {
            // SAFETY: By the safety requirements of this function, as `write` is set.
            Self::ToUser(unsafe { slice::from_raw_parts(data.as_ptr(), len) })
        } else {
            // SAFETY: By the safety requirements of this function, as `write` is not set.
            Self::FromUser(unsafe { slice::from_raw_parts_mut(data.as_ptr().cast(), len) })
        }
    }

    /// Returns the size in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::ToUser(bytes) => bytes.len(),
            Self::FromUser(room) => room.len(),
        }
    }

    /// Returns whether user memory is written.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::ToUser(_))
    }

    /// Copies `len` bytes, from byte `offset` of the buffer on, to or from the address `addr` in
    /// the address space of the calling task. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the bytes are not in the buffer, or not all of the user memory is accessible.
    pub(crate) fn copy(&mut self, offset: usize, len: usize, addr: UserAddr) -> Result {
        let end = offset.checked_add(len).ok_or(EFAULT)?;
        match self {
            Self::ToUser(bytes) => addr.write_bytes(bytes.get(offset..end).ok_or(EFAULT)?),
            Self::FromUser(room) => {
                let room = room.get_mut(offset..end).ok_or(EFAULT)?;
                // SAFETY: `room` is a slice, so it is valid for writing `room.len()` bytes.
                unsafe { addr.copy_to(room.as_mut_ptr().cast(), room.len()) }
            }
        }
    }
}

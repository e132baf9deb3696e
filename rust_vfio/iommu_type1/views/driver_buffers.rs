// SPDX-License-Identifier: GPL-2.0

//! The arrays and buffers that drivers of emulated devices pass to `vfio_pin_pages()` and
//! `vfio_dma_rw()`.

use core::{
    mem::{
        self,
        MaybeUninit, //
    },
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

    /// Returns whether there is no byte to copy.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether user memory is written.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::ToUser(_))
    }

    /// Removes the front up to and including byte `last`, or everything if there is no such byte,
    /// and returns it.
    pub(crate) fn take_front(&mut self, last: u64) -> Self {
        let len = usize::try_from(last).map_or(usize::MAX, |last| last.saturating_add(1));
        match self {
            Self::ToUser(bytes) => {
                let (front, rest) = bytes.split_at(len.min(bytes.len()));
                *bytes = rest;
                Self::ToUser(front)
            }
            Self::FromUser(room) => {
                let all = mem::take(room);
                let (front, rest) = all.split_at_mut(len.min(all.len()));
                *room = rest;
                Self::FromUser(front)
            }
        }
    }

    /// Copies all of it to or from the address `addr` in the address space of the calling task. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of the user memory is accessible.
    pub(crate) fn copy(self, addr: UserAddr) -> Result {
        match self {
            Self::ToUser(bytes) => addr.write_bytes(bytes),
            // SAFETY: `room` is a slice, so it is valid for writing `room.len()` bytes.
            Self::FromUser(room) => unsafe { addr.copy_to(room.as_mut_ptr().cast(), room.len()) },
        }
    }
}

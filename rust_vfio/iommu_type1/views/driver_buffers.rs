// SPDX-License-Identifier: GPL-2.0

//! What drivers of emulated devices pass when they pin or copy memory of the user.

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

/// A driver's array that takes one page structure for each pinned page. It may be uninitialised.
pub(crate) struct PageSlots<'a>(&'a mut [MaybeUninit<*mut bindings::page>]);

impl PageSlots<'_> {
    /// The array of `count` pointers at `pages`.
    ///
    /// # Safety
    ///
    /// There must be room for so many, which nobody else uses for the lifetime of the result.
    pub(crate) unsafe fn from_raw(pages: NonNull<*mut bindings::page>, count: usize) -> Self {
        // SAFETY: By the contract of this function; nothing is said about the contents.
        Self(unsafe { slice::from_raw_parts_mut(pages.as_ptr().cast(), count) })
    }

    /// How many pages there is room for.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes `page` as that with number `index`.
    pub(crate) fn set(&mut self, index: usize, page: PageRef) {
        if let Some(slot) = self.0.get_mut(index) {
            slot.write(page.as_ptr());
        }
    }

    /// Takes the first `count` pages back: the driver sees null pointers.
    pub(crate) fn clear(&mut self, count: usize) {
        for slot in self.0.iter_mut().take(count) {
            slot.write(ptr::null_mut());
        }
    }
}

/// A driver's buffer, and in which direction it is copied.
pub(crate) enum DmaBuffer<'a> {
    /// To the memory of the user.
    ToUser(&'a [u8]),
    /// From the memory of the user. The buffer may be uninitialised.
    FromUser(&'a mut [MaybeUninit<u8>]),
}

impl DmaBuffer<'_> {
    /// The `len` bytes at `data`, which go to the user if `write`.
    ///
    /// # Safety
    ///
    /// They must be valid for reading (`write`) or writing, and nobody else may use them for the
    /// lifetime of the result, except for reading if `write`.
    pub(crate) unsafe fn from_raw(data: NonNull<u8>, len: usize, write: bool) -> Self {
        if write {
            // SAFETY: By the contract of this function.
            Self::ToUser(unsafe { slice::from_raw_parts(data.as_ptr(), len) })
        } else {
            // SAFETY: By the contract of this function.
            Self::FromUser(unsafe { slice::from_raw_parts_mut(data.as_ptr().cast(), len) })
        }
    }

    /// The size in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::ToUser(bytes) => bytes.len(),
            Self::FromUser(room) => room.len(),
        }
    }

    /// Whether the user's memory is written.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::ToUser(_))
    }

    /// Copies the `len` bytes from byte `offset` on, to or from the calling task's `addr`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the user's memory is not there, or may not be written.
    pub(crate) fn copy(&mut self, offset: usize, len: usize, addr: UserAddr) -> Result {
        let end = offset.checked_add(len).ok_or(EFAULT)?;
        match self {
            Self::ToUser(bytes) => addr.write_bytes(bytes.get(offset..end).ok_or(EFAULT)?),
            Self::FromUser(room) => {
                let room = room.get_mut(offset..end).ok_or(EFAULT)?;
                // SAFETY: The room is as long as its length says.
                unsafe { addr.copy_to(room.as_mut_ptr().cast(), room.len()) }
            }
        }
    }
}

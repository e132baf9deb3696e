// SPDX-License-Identifier: GPL-2.0

//! Pages of RAM that are a region of a device.

use kernel::{
    bitmap::BitmapVec,
    mm::virt::{
        flags,
        VmaNew, //
    },
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier::{
            smp_mb,
            Full, //
        },
        Arc, //
    },
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

use crate::driver::logic::pieces::{
    pieces,
    Piece, //
};

/// Pages of RAM, which user space can read, write and map. A clone is the same pages.
///
/// Nothing orders the accesses of user space and of the driver, as with any memory of a device.
#[derive(Clone)]
pub struct Pages(Arc<Inner>);

struct Inner {
    pages: KVec<Page>,
    /// Which of them have changed, for [`Saver`](crate::migration::Saver).
    changed: BitmapVec,
    /// Whether user space has mapped some so that it can write. What it writes is not in `changed`.
    is_shared: Atomic<bool>,
}

impl Pages {
    /// Allocates pages for `size` bytes, all zero. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub fn new(size: usize) -> Result<Self> {
        let count = size.div_ceil(PAGE_SIZE);
        let mut pages = KVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            pages.push(
                Page::alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO)?,
                GFP_KERNEL,
            )?;
        }
        let inner = Inner {
            pages,
            changed: BitmapVec::new(count, GFP_KERNEL_ACCOUNT)?,
            is_shared: Atomic::new(false),
        };
        Ok(Self(Arc::new(inner, GFP_KERNEL_ACCOUNT)?))
    }

    /// Returns the size in bytes, a multiple of the page size.
    pub fn len(&self) -> usize {
        self.0.pages.len() * PAGE_SIZE
    }

    /// Returns whether there is no page.
    pub fn is_empty(&self) -> bool {
        self.0.pages.is_empty()
    }

    /// Calls `f` for the pieces of `len` bytes from `offset` on, with their pages.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if there are not so many bytes.
    /// - Any error of `f`.
    fn for_each(
        &self,
        offset: usize,
        len: usize,
        mut f: impl FnMut(&Page, Piece) -> Result,
    ) -> Result {
        for piece in pieces(offset, len, PAGE_SIZE).ok_or(EINVAL)? {
            f(self.0.pages.get(piece.page).ok_or(EINVAL)?, piece)?;
        }
        Ok(())
    }

    /// Does the same, for pieces that `f` changes.
    fn for_each_changed(
        &self,
        offset: usize,
        len: usize,
        mut f: impl FnMut(&Page, Piece) -> Result,
    ) -> Result {
        self.for_each(offset, len, |page, piece| {
            let number = piece.page;
            let result = f(page, piece);
            // Whoever takes the mark then sees the bytes.
            smp_mb(Full);
            // Also after an error, because a part may be copied.
            self.0.changed.set_bit_atomic(number);
            result
        })
    }

    /// Marks all pages as changed.
    pub(crate) fn mark_all(&self) {
        for number in 0..self.0.pages.len() {
            self.0.changed.set_bit_atomic(number);
        }
    }

    /// Returns whether user space can have changed pages that are not marked.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.is_shared.load(Relaxed)
    }

    /// Returns the number of a page that has changed, which counts as unchanged from now on.
    pub(crate) fn take_changed(&self) -> Option<usize> {
        let number = self.0.changed.next_bit(0)?;
        self.0.changed.clear_bit_atomic(number);
        // What was there before the mark is seen, and what comes later is marked again.
        smp_mb(Full);
        Some(number)
    }

    /// Returns how many pages have changed.
    pub(crate) fn changed(&self) -> usize {
        let next = |after: &usize| self.0.changed.next_bit(*after + 1);
        core::iter::successors(self.0.changed.next_bit(0), next).count()
    }

    /// Fills all pages with zeros.
    pub fn clear(&self) {
        // Fails only behind the end.
        let _ = self.for_each_changed(0, self.len(), |page, piece| {
            // SAFETY: For other threads see `copy_to`.
            unsafe { page.fill_zero_raw(piece.within, piece.part.len()) }
        });
    }

    /// Copies the bytes from `offset` on to `data`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are not so many.
    pub fn copy_to(&self, offset: usize, data: &mut [u8]) -> Result {
        self.for_each(offset, data.len(), |page, piece| {
            let data = data.get_mut(piece.part).ok_or(EINVAL)?;
            // SAFETY: The slice is valid for writing. Another thread may write to the page at the
            // same time, which gives bytes that were there at different times.
            unsafe { page.read_raw(data.as_mut_ptr(), piece.within, data.len()) }
        })
    }

    /// Copies `data` to the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are not so many.
    pub fn copy_from(&self, offset: usize, data: &[u8]) -> Result {
        self.for_each_changed(offset, data.len(), |page, piece| {
            let data = data.get(piece.part).ok_or(EINVAL)?;
            // SAFETY: The slice is valid for reading. For other threads see `copy_to`.
            unsafe { page.write_raw(data.as_ptr(), piece.within, data.len()) }
        })
    }

    /// Copies `len` bytes from `offset` on to user space, and returns the number.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if there are not so many.
    /// - `EFAULT` if the memory of user space is not accessible.
    pub(crate) fn read(
        &self,
        offset: usize,
        len: usize,
        user: &mut UserSliceWriter,
    ) -> Result<usize> {
        let mut bounce = KVec::from_elem(0u8, len.min(PAGE_SIZE), GFP_KERNEL)?;
        self.for_each(offset, len, |page, piece| {
            let bounce = bounce.get_mut(..piece.part.len()).ok_or(EINVAL)?;
            // SAFETY: The slice is valid for writing. For other threads see `copy_to`.
            unsafe { page.read_raw(bounce.as_mut_ptr(), piece.within, bounce.len())? };
            user.write_slice(bounce)
        })?;
        Ok(len)
    }

    /// Copies `len` bytes from user space to those from `offset` on, and returns the number.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if there are not so many.
    /// - `EFAULT` if the memory of user space is not accessible.
    pub(crate) fn write(
        &self,
        offset: usize,
        len: usize,
        user: &mut UserSliceReader,
    ) -> Result<usize> {
        self.for_each_changed(offset, len, |page, piece| {
            // SAFETY: For other threads see `copy_to`.
            unsafe { page.copy_from_user_slice_raw(user, piece.within, piece.part.len()) }
        })?;
        Ok(len)
    }

    /// Maps the pages from `offset` on, a multiple of the page size, in a new area of user memory.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if there are not so many.
    /// - `ENOMEM` if there is no memory for page tables.
    pub(crate) fn map(&self, offset: usize, vma: &VmaNew) -> Result {
        let len = vma.end() - vma.start();
        if vma.flags() & flags::MAYWRITE != 0 {
            self.0.is_shared.store(true, Relaxed);
        }
        // The pages stay while they are mapped, also when the device is gone.
        let area = vma.set_mixedmap();
        vma.set_dontexpand();
        self.for_each(offset, len, |page, piece| {
            area.vm_insert_page(vma.start() + piece.part.start, page)
        })
    }
}

/// Returns the offset into the device's file at which an area of user memory begins, in bytes.
pub(crate) fn file_offset(vma: &VmaNew) -> u64 {
    // SAFETY: The area is new, so its lock is held and nobody changes it.
    let pages = unsafe { (*vma.as_ptr()).vm_pgoff };
    // Beyond the top there is no region.
    (pages as u64).saturating_mul(PAGE_SIZE as u64)
}

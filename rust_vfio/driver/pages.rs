// SPDX-License-Identifier: GPL-2.0

//! Pages of RAM that are a region of a device.

use kernel::{
    mm::virt::VmaNew,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

/// Pages of RAM, which user space can read, write and map.
///
/// Nothing orders the accesses of user space and of the driver, as with any memory of a device.
pub struct Pages(KVec<Page>);

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
        Ok(Self(pages))
    }

    /// Returns the size in bytes, a multiple of the page size.
    pub fn len(&self) -> usize {
        self.0.len() * PAGE_SIZE
    }

    /// Returns whether there is no page.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `f` for the part of each page that belongs to the `len` bytes from `offset` on: with
    /// the page, the offset into it, and the bytes of the range that are in front of and in it.
    fn for_each(
        &self,
        offset: usize,
        len: usize,
        mut f: impl FnMut(&Page, usize, core::ops::Range<usize>) -> Result,
    ) -> Result {
        let mut done = 0;
        while done < len {
            let at = offset.checked_add(done).ok_or(EINVAL)?;
            let page = self.0.get(at / PAGE_SIZE).ok_or(EINVAL)?;
            let within = at % PAGE_SIZE;
            let end = len.min(done + (PAGE_SIZE - within));
            f(page, within, done..end)?;
            done = end;
        }
        Ok(())
    }

    /// Copies the bytes from `offset` on to `data`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are not so many.
    pub fn copy_to(&self, offset: usize, data: &mut [u8]) -> Result {
        self.for_each(offset, data.len(), |page, within, part| {
            let data = data.get_mut(part).ok_or(EINVAL)?;
            // SAFETY: The slice is valid for writing. Another thread may write to the page at the
            // same time, which gives bytes that were there at different times.
            unsafe { page.read_raw(data.as_mut_ptr(), within, data.len()) }
        })
    }

    /// Copies `data` to the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are not so many.
    pub fn copy_from(&self, offset: usize, data: &[u8]) -> Result {
        self.for_each(offset, data.len(), |page, within, part| {
            let data = data.get(part).ok_or(EINVAL)?;
            // SAFETY: The slice is valid for reading. For other threads see `copy_to`.
            unsafe { page.write_raw(data.as_ptr(), within, data.len()) }
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
        self.for_each(offset, len, |page, within, part| {
            let bounce = bounce.get_mut(..part.len()).ok_or(EINVAL)?;
            // SAFETY: The slice is valid for writing. For other threads see `copy_to`.
            unsafe { page.read_raw(bounce.as_mut_ptr(), within, bounce.len())? };
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
        self.for_each(offset, len, |page, within, part| {
            // SAFETY: For other threads see `copy_to`.
            unsafe { page.copy_from_user_slice_raw(user, within, part.len()) }
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
        // The pages stay while they are mapped, also when the device is gone.
        let area = vma.set_mixedmap();
        vma.set_dontexpand();
        self.for_each(offset, len, |page, _, part| {
            area.vm_insert_page(vma.start() + part.start, page)
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

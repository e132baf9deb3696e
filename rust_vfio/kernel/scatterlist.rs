// SPDX-License-Identifier: GPL-2.0

//! Lists of pieces of memory that an IOMMU maps together (`struct scatterlist`).
//!
//! In the kernel crate: `kernel::scatterlist` has tables for DMA, which are allocated with a fixed
//! list of pages. It would need lists that are filled piece by piece and used again, and
//! `iommu_map_sg()` would take them.
//!
//! C header: `include/linux/scatterlist.h`.

use core::mem;

use kernel::prelude::*;

use crate::bindings;

/// An entry of a list. It contains no pointer that is used through it.
#[repr(transparent)]
struct Piece(bindings::scatterlist);

// SAFETY: An entry is plain data: a page structure, an offset and a length. Page structures are not
// bound to a thread.
unsafe impl Send for Piece {}

/// A list of pieces of memory, each of consecutive page frames. It has room for
/// [`ScatterList::CAPACITY`] pieces, and is used again and again.
///
/// # Invariants
///
/// `entries` is empty, or consists of [`ScatterList::CAPACITY`] entries that `sg_init_table()` has
/// initialized; the first `used` of these were set by `sg_set_page()` since.
pub(crate) struct ScatterList {
    entries: KVec<Piece>,
    used: usize,
    /// The bytes of all pieces.
    bytes: usize,
}

impl ScatterList {
    /// The number of entries that fit into a page.
    pub(crate) const CAPACITY: usize = kernel::page::PAGE_SIZE / mem::size_of::<Piece>();

    /// Creates an empty list. Memory is allocated when a piece is first added.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no entry.
        Self {
            entries: KVec::new(),
            used: 0,
            bytes: 0,
        }
    }

    /// Returns the number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Returns the number of bytes of all pieces together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Removes all pieces. The memory of the list is kept.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.bytes = 0;
    }

    /// Appends `pages` pages from the frame `pfn` on.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` if the list is full, the piece has 4 GiB or more, or all pieces together have
    ///   more bytes than a word can count.
    /// - `ENOMEM` if there is no memory for the list.
    ///
    /// # Safety
    ///
    /// The frame must have a page structure, as long as the list is used with it.
    #[doc(alias = "sg_set_page")]
    #[inline]
    pub(crate) unsafe fn push(&mut self, pfn: usize, pages: usize) -> Result {
        if self.entries.is_empty() {
            self.allocate()?;
        }
        let length = pages.checked_mul(kernel::page::PAGE_SIZE).ok_or(ENOSPC)?;
        let length = u32::try_from(length).map_err(|_| ENOSPC)?;
        // CAST: An `u32` fits into a `usize`.
        let bytes = self.bytes.checked_add(length as usize).ok_or(ENOSPC)?;
        let entry = self.entries.get_mut(self.used).ok_or(ENOSPC)?;
        // SAFETY: The entry is initialized by the type invariants. The frame has a page structure
        // by the safety requirements of this function.
        unsafe { bindings::vfio_rs_sg_set_pfn(&mut entry.0, pfn, length) };
        // INVARIANT: The entry was set.
        self.used += 1;
        self.bytes = bytes;
        Ok(())
    }

    /// Allocates the entries.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    #[cold]
    fn allocate(&mut self) -> Result {
        let mut entries = KVec::with_capacity(Self::CAPACITY, GFP_KERNEL)?;
        for _ in 0..Self::CAPACITY {
            // This does not fail, as room was reserved above.
            entries.push(Piece(pin_init::zeroed()), GFP_KERNEL)?;
        }
        // SAFETY: The array has so many entries. The number is that of a page.
        unsafe {
            bindings::sg_init_table(
                entries.as_mut_ptr().cast::<bindings::scatterlist>(),
                Self::CAPACITY as u32,
            );
        }
        // INVARIANT: The entries were initialized above, and none of them was set.
        self.entries = entries;
        self.clear();
        Ok(())
    }

    /// Returns the first entry. So many as [`ScatterList::len`] says were set.
    pub(super) fn as_ptr(&self) -> *mut bindings::scatterlist {
        self.entries.as_ptr().cast_mut().cast()
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The pages that a device has pinned.

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    page::{
        BorrowedPage,
        PAGE_SIZE, //
    },
    prelude::*, //
};

use crate::{
    bindings,
    driver::{
        logic::{
            pieces::{
                pieces,
                Piece, //
            },
            range::Range, //
        },
        written::WriteLog, //
    }, //
};

/// The accesses for which pages are pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The device reads.
    Read,
    /// The device reads and writes.
    ReadWrite,
}

/// Stands for pages that a driver has pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinKey(u64);

/// Pages that are pinned. Dropping this unpins them, so it exists only where the device is open.
///
/// # Invariants
///
/// The pages are pinned for the device, which is valid.
pub(crate) struct PinnedPages {
    device: NonNull<bindings::vfio_device>,
    iova: u64,
    intent: Intent,
    pages: KVec<NonNull<bindings::page>>,
}

// SAFETY: The pages are used through their own mappings, on any thread, and the device is made for
// several threads.
unsafe impl Send for PinnedPages {}

impl PinnedPages {
    /// Returns their size in bytes.
    fn len(&self) -> usize {
        self.pages.len() * PAGE_SIZE
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
        mut f: impl FnMut(&BorrowedPage<'_>, Piece) -> Result,
    ) -> Result {
        for piece in pieces(offset, len, PAGE_SIZE).ok_or(EINVAL)? {
            let page = self.pages.get(piece.page).ok_or(EINVAL)?;
            // SAFETY: The page is pinned, so it stays valid.
            f(&unsafe { BorrowedPage::from_raw(*page) }, piece)?;
        }
        Ok(())
    }
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        // CAST: As many as `Pins::pin` passed.
        let count = self.pages.len() as i32;
        // SAFETY: By the type invariants. The device is open for the core: a value exists only in
        // the table of an open device, or while the core waits for `dma_unmap`.
        unsafe { bindings::vfio_unpin_pages(self.device.as_ptr(), self.iova, count) };
    }
}

/// An entry of the table.
pub(crate) struct Entry<N> {
    key: PinKey,
    pages: PinnedPages,
    note: N,
}

/// Pages that are pinned, and what the driver has noted with them, for the time of a call.
pub struct Pinned<'a, N> {
    entry: &'a mut Entry<N>,
    log: &'a WriteLog,
}

impl<N> Pinned<'_, N> {
    /// Returns their key.
    pub fn key(&self) -> PinKey {
        self.entry.key
    }

    /// Returns the I/O address of the first byte, a multiple of the page size.
    pub fn iova(&self) -> u64 {
        self.entry.pages.iova
    }

    /// Returns their size in bytes, which is more than zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.entry.pages.len()
    }

    /// Returns the offset of an I/O address, if it is in these pages.
    pub fn offset_of(&self, iova: u64) -> Option<usize> {
        let offset = usize::try_from(iova.checked_sub(self.iova())?).ok()?;
        (offset < self.len()).then_some(offset)
    }

    /// Returns what the driver has noted.
    pub fn note(&mut self) -> &mut N {
        &mut self.entry.note
    }

    /// Copies the bytes from `offset` on to `data`. User space may write to them at the same time.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are not so many.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result {
        let pages = &self.entry.pages;
        pages.for_each(offset, data.len(), |page, piece| {
            let data = data.get_mut(piece.part).ok_or(EINVAL)?;
            // SAFETY: The slice is valid for writing. The memory is shared with user space, so the
            // bytes may be from different times.
            unsafe { page.read_raw(data.as_mut_ptr(), piece.within, data.len()) }
        })
    }

    /// Copies `data` to the bytes from `offset` on, which a [dirty log](crate::dirty::Kept) notes.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if there are not so many.
    /// - `EPERM` if they were pinned for reading.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> Result {
        let pages = &self.entry.pages;
        if pages.intent == Intent::Read {
            return Err(EPERM);
        }
        let result = pages.for_each(offset, data.len(), |page, piece| {
            let data = data.get(piece.part).ok_or(EINVAL)?;
            // SAFETY: The slice is valid for reading. The memory is shared with user space.
            unsafe { page.write_raw(data.as_ptr(), piece.within, data.len()) }
        });
        // Also after an error, because a part may be copied.
        let first = pages.iova.saturating_add(offset as u64);
        self.log.add(first, data.len());
        result
    }
}

impl<N> Entry<N> {
    /// Returns whether some of the bytes are in the range.
    fn overlaps(&self, range: Range) -> bool {
        let own = Range::saturating(self.pages.iova, self.pages.len() as u64);
        own.is_some_and(|own| own.common(range).is_some())
    }

    /// Unpins the pages, and returns what the driver has noted.
    fn unpin(self) -> N {
        self.note
    }
}

/// The most pages that are pinned at once, as in containers.
const MOST_PAGES: usize = PAGE_SIZE / size_of::<usize>();

/// All pages that a device has pinned.
///
/// An entry is unpinned under the lock of the table. So who does not find pages there knows that
/// they are not pinned any more.
pub(crate) struct Pins<N> {
    list: KVVec<Entry<N>>,
    next: u64,
}

impl<N> Pins<N> {
    pub(crate) const fn new() -> Self {
        Self {
            list: KVVec::new(),
            next: 0,
        }
    }

    /// Returns pages that are in the table. What is written to them goes to `log`.
    pub(crate) fn get<'a>(&'a mut self, key: PinKey, log: &'a WriteLog) -> Option<Pinned<'a, N>> {
        let entry = self.list.iter_mut().find(|entry| entry.key == key)?;
        Some(Pinned { entry, log })
    }

    /// Unpins pages, and returns what the driver has noted, for which the lock should not be held.
    pub(crate) fn unpin(&mut self, key: PinKey) -> Option<N> {
        let at = self.list.iter().position(|entry| entry.key == key)?;
        self.list.remove(at).ok().map(Entry::unpin)
    }

    /// Does the same for the first pages that have some of the bytes of a range.
    pub(crate) fn unpin_any(&mut self, range: Range) -> Option<N> {
        let overlaps = |entry: &Entry<N>| entry.overlaps(range);
        let at = self.list.iter().position(overlaps)?;
        self.list.remove(at).ok().map(Entry::unpin)
    }

    /// Calls `f` for all pages that have some of the bytes of a range. What is written to them goes
    /// to `log`.
    pub(crate) fn for_each(
        &mut self,
        range: Range,
        log: &WriteLog,
        mut f: impl FnMut(Pinned<'_, N>),
    ) {
        for entry in self.list.iter_mut() {
            if entry.overlaps(range) {
                f(Pinned { entry, log });
            }
        }
    }

    /// Pins pages, and adds them to the list. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`Access::pin`](crate::Access::pin).
    ///
    /// # Safety
    ///
    /// `device` must be valid and open for the core. The values of this list are dropped while that
    /// is so, or while the core waits for `dma_unmap`.
    pub(crate) unsafe fn pin(
        &mut self,
        device: NonNull<bindings::vfio_device>,
        iova: u64,
        count: usize,
        intent: Intent,
        note: N,
    ) -> Result<PinKey> {
        let prot = match intent {
            Intent::Read => bindings::IOMMU_READ,
            Intent::ReadWrite => bindings::IOMMU_READ | bindings::IOMMU_WRITE,
        };
        if count > MOST_PAGES {
            return Err(E2BIG);
        }
        let mut raw = KVec::from_elem(core::ptr::null_mut(), count, GFP_KERNEL)?;
        let mut pages = KVec::with_capacity(count, GFP_KERNEL)?;
        self.list.reserve(1, GFP_KERNEL)?;
        let count = i32::try_from(count).map_err(|_| E2BIG)?;
        // SAFETY: By the safety requirements the device is open for the core. The array has room
        // for `count` pointers.
        let done = unsafe {
            bindings::vfio_pin_pages(device.as_ptr(), iova, count, prot as i32, raw.as_mut_ptr())
        };
        to_result(done)?;
        if done != count {
            // SAFETY: As above, and so many were pinned.
            unsafe { bindings::vfio_unpin_pages(device.as_ptr(), iova, done) };
            return Err(EFAULT);
        }
        // There is room for all of them.
        for page in raw.into_iter().filter_map(NonNull::new) {
            let _ = pages.push_within_capacity(page);
        }
        let key = PinKey(self.next);
        self.next = self.next.wrapping_add(1);
        let entry = Entry {
            key,
            // INVARIANT: The pages were pinned above.
            pages: PinnedPages {
                device,
                iova,
                intent,
                pages,
            },
            note,
        };
        // There is room for one more.
        self.list.push_within_capacity(entry).map_err(|_| ENOMEM)?;
        Ok(key)
    }
}

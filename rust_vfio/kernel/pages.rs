// SPDX-License-Identifier: GPL-2.0

//! Pinned pages of user memory, and the owners of the pins.
//!
//! A pin keeps a page in its frame as long as devices may access it. Every pin has exactly one
//! owner, which is a value: first a [`PinnedBatch`] (the result of one call of
//! `pin_user_pages_fast()` or `pin_user_pages_remote()`), then [`PinnedFrames`] (consecutive page
//! frames taken from it). Both unpin what they own when they are dropped.
//!
//! In the kernel crate: a module `kernel::mm::gup` with these types, and `pfn()`, `is_reserved()`
//! and `folio()` of `kernel::page::Page`, would replace this file.
//!
//! C headers: `include/linux/mm.h`, `include/linux/page-flags.h`.

use core::{
    mem,
    ops::BitOr,
    ptr::{
        self,
        NonNull, //
    }, //
};

use kernel::{
    mm::{
        MmWithUser,
        MmapReadGuard, //
    },
    prelude::*, //
};

use crate::{
    bindings,
    kernel::gup::{
        gup_flags,
        pin_error,
        pin_present,
        pin_remote,
        Known, //
    }, //
};

/// The address space whose pages are pinned.
#[derive(Clone, Copy)]
pub(crate) enum UserMm<'a> {
    /// The address space of the calling task.
    Current,
    /// The address space of any process, including that of the calling task.
    Remote(&'a MmWithUser),
}

/// An element of the array that is passed to `pin_user_pages_fast()`.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PagePtr(*mut bindings::page);

// SAFETY: Page structures are not bound to a thread, and a pointer gives no access by itself: each
// `unsafe` block that dereferences one says why the page is valid.
unsafe impl Send for PagePtr {}

/// An array for page pointers that is reused from call to call.
pub(crate) struct PageBuffer(KVec<PagePtr>);

impl PageBuffer {
    /// The number of pointers that fit into a page.
    const LARGE: usize = kernel::page::PAGE_SIZE / mem::size_of::<PagePtr>();
    /// The number of pointers of a [`SmallPageBuffer`].
    const SMALL: usize = 16;

    /// Creates a buffer that allocates memory only when it is first used for more than
    /// [`PageBuffer::SMALL`] pages.
    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Returns an array for `pages` pointers. It may be shorter than that, but is never empty: it
    /// is `small` for few pages, or if the allocation of the large one fails.
    fn room<'a>(&'a mut self, pages: usize, small: &'a mut SmallPageBuffer) -> &'a mut [PagePtr] {
        if pages > Self::SMALL {
            if self.0.is_empty() {
                // If this fails the small buffer is used, which only needs more calls.
                let null = PagePtr(ptr::null_mut());
                let _ = self.0.resize(Self::LARGE, null, GFP_KERNEL);
            }
            if !self.0.is_empty() {
                return &mut self.0;
            }
        }
        &mut small.0
    }
}

/// A small array for page pointers, on the stack of the caller.
pub(crate) struct SmallPageBuffer([PagePtr; PageBuffer::SMALL]);

impl SmallPageBuffer {
    /// Creates an array of null pointers.
    pub(crate) const fn new() -> Self {
        Self([PagePtr(ptr::null_mut()); PageBuffer::SMALL])
    }
}

/// Pages that were pinned together, in the order of their user addresses.
///
/// # Invariants
///
/// Each element of `pages` points to a page structure, and this value owns one pin of that page.
pub(crate) struct PinnedBatch<'a> {
    pages: &'a mut [PagePtr],
}

impl<'a> PinnedBatch<'a> {
    /// Pins up to `count` base pages of user memory from the user address `vaddr` on, with
    /// `FOLL_LONGTERM`, and for writing if `write`. Returns at least one page.
    ///
    /// `vaddr` is a multiple of the page size. A caller that pins a range by several calls passes
    /// the same `known` to all of them.
    /// Takes `mmap_lock` for reading, and may sleep.
    ///
    /// # Errors
    ///
    /// - `ENODEV` for [`UserMm::Current`] of a task that has no user memory.
    /// - `EINTR` if the calling task was killed.
    /// - `EFAULT` if the first page cannot be pinned: nothing is mapped there, the user may not
    ///   write to it, or it has no page structure (`VM_PFNMAP`).
    /// - `EOPNOTSUPP` if it may not be pinned for long, such as a page of a DAX file.
    /// - `EBUSY` if it is coherent memory of a device and cannot be migrated to RAM.
    /// - `ENOMEM` if the page has to be faulted in and there is no memory for it.
    pub(crate) fn pin(
        memory: UserMm<'_>,
        vaddr: usize,
        count: usize,
        write: bool,
        known: &mut Known,
        large: &'a mut PageBuffer,
        small: &'a mut SmallPageBuffer,
    ) -> Result<Self> {
        let room = large.room(count, small);
        let count = count.min(room.len());
        let flags = gup_flags(write);
        // CAST: `PagePtr` is a transparent wrapper.
        let pages = room.as_mut_ptr().cast::<*mut bindings::page>();
        let ret = match memory {
            UserMm::Current => {
                let current = kernel::current!();
                let mm = current.mm().ok_or(ENODEV)?;
                // SAFETY: `count` was limited to the length of `room`, so `pages` has room for
                // `count` pointers.
                match unsafe { pin_present(mm, vaddr, count, flags, pages, known) } {
                    // SAFETY: As above.
                    0 => unsafe {
                        pin_remote(mm, &mm.mmap_read_lock(), vaddr, count, flags, pages)
                    },
                    pinned => pinned as isize,
                }
            }
            // SAFETY: `count` was limited to the length of `room`.
            UserMm::Remote(mm) => unsafe {
                pin_remote(mm, &mm.mmap_read_lock(), vaddr, count, flags, pages)
            },
        };
        match usize::try_from(ret) {
            Ok(0) => Err(EFAULT),
            Ok(pinned) => {
                // INVARIANT: The function pinned the first `pinned` pages and stored pointers to
                // their page structures; nobody else knows of these pins.
                let pages = room.get_mut(..pinned).ok_or(EFAULT)?;
                Ok(Self { pages })
            }
            Err(_) => Err(pin_error(ret)),
        }
    }

    /// Takes over the pins of the pages with the frame numbers `frames`, up to `count` of them.
    /// Takes fewer if there is no room for more in the buffers.
    ///
    /// # Safety
    ///
    /// Each frame that `frames` returns must be pinned, and that pin must come from
    /// [`PinnedFrames::into_raw`] or [`PinnedBatch::keep`] and must not be taken over twice.
    pub(crate) unsafe fn from_frames(
        frames: impl Iterator<Item = usize>,
        count: usize,
        large: &'a mut PageBuffer,
        small: &'a mut SmallPageBuffer,
    ) -> Self {
        let room = large.room(count, small);
        let mut taken = 0;
        for (place, frame) in room.iter_mut().zip(frames.take(count)) {
            // SAFETY: The frame is pinned by the safety requirements of this function, so it has a
            // page structure.
            *place = PagePtr(unsafe { bindings::vfio_rs_pfn_to_page(frame) });
            taken += 1;
        }
        // INVARIANT: The first `taken` elements were set to page structures above, and their pins
        // belong to the result by the safety requirements of this function.
        let pages = room.get_mut(..taken).unwrap_or_default();
        Self { pages }
    }

    /// Returns the number of pages.
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Releases the ownership of the last pins of the batch without unpinning: those of the
    /// consecutive frames of which `next` is the one behind.
    pub(crate) fn keep_run_before(&mut self, next: usize) {
        let mut behind = next;
        let is_before = |page: &&PagePtr| {
            // SAFETY: By the type invariants this is a pointer to a page structure.
            let frame = unsafe { bindings::vfio_rs_page_to_pfn(page.0) };
            let expected = mem::replace(&mut behind, frame);
            frame.checked_add(1) == Some(expected)
        };
        let run = self.pages.iter().rev().take_while(is_before).count();
        let rest = self.pages.len().saturating_sub(run);
        let pages = mem::take(&mut self.pages);
        // INVARIANT: These are some of the elements that there were.
        self.pages = pages.get_mut(..rest).unwrap_or_default();
    }

    /// Releases the ownership of the pins without unpinning.
    pub(crate) fn keep(self) {
        mem::forget(self);
    }

    /// Unpins the pages, and marks them dirty if they were `written`. May sleep.
    #[doc(alias = "unpin_user_pages_dirty_lock")]
    pub(crate) fn unpin(self, written: bool) {
        let pages = self.pages.as_mut_ptr().cast();
        // SAFETY: By the type invariants this value owns a pin of each of these pages. It is
        // forgotten below, so they are not unpinned again.
        unsafe { bindings::unpin_user_pages_dirty_lock(pages, self.pages.len(), written) };
        mem::forget(self);
    }

    /// Takes consecutive frames from the front of the batch, at most `limit` of them, or one if
    /// `limit` is 0. Returns `None` if the batch is empty.
    #[inline]
    pub(crate) fn take_frames(&mut self, limit: usize) -> Option<PinnedFrames> {
        let &PagePtr(first) = self.pages.first()?;
        let count = consecutive(self.pages.get(..limit.max(1)).unwrap_or(self.pages));
        let pages = mem::take(&mut self.pages);
        self.pages = pages.get_mut(count..).unwrap_or_default();
        Some(PinnedFrames {
            // SAFETY: By the type invariants `first` points to a page structure.
            pfn: unsafe { bindings::vfio_rs_page_to_pfn(first) },
            // INVARIANT: The frames are consecutive. The first `count` elements left the batch
            // above, so their pins now belong to the result.
            count,
        })
    }
}

impl Drop for PinnedBatch<'_> {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            // The pages are not marked dirty, as no device was given their addresses.
            // SAFETY: By the type invariants this value owns a pin of each of these pages.
            unsafe { bindings::unpin_user_pages(self.pages.as_mut_ptr().cast(), self.pages.len()) };
        }
    }
}

/// Returns the number of page structures at the front of `pages` that describe consecutive frames.
///
/// With these memory models all page structures are one array, in the order of the frames.
#[cfg(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM))]
fn consecutive(pages: &[PagePtr]) -> usize {
    /// So many pointers are compared without a loop.
    const BLOCK: usize = 32;

    // Scattered pages are recognized by the first two of them.
    let &[first, second, ..] = pages else {
        return pages.len();
    };
    if first.0.wrapping_add(1) != second.0 {
        return 1;
    }
    let mut expected = first.0;
    let mut count: usize = 0;
    for block in pages.chunks_exact(BLOCK) {
        let distance = |(index, page): (usize, &PagePtr)| {
            let expected = expected.wrapping_add(index);
            page.0.addr() ^ expected.addr()
        };
        if block.iter().enumerate().map(distance).fold(0, BitOr::bitor) != 0 {
            break;
        }
        expected = expected.wrapping_add(BLOCK);
        count = count.saturating_add(BLOCK);
    }
    for page in pages.get(count..).unwrap_or_default() {
        if page.0 != expected {
            break;
        }
        expected = expected.wrapping_add(1);
        count = count.saturating_add(1);
    }
    count
}

/// Returns the number of page structures at the front of `pages` that describe consecutive frames.
#[cfg(not(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM)))]
fn consecutive(pages: &[PagePtr]) -> usize {
    let mut frames = pages.iter().map(|page| {
        // SAFETY: The pages are those of a `PinnedBatch`, so by its type invariants each of the
        // pointers is that of a page structure.
        unsafe { bindings::vfio_rs_page_to_pfn(page.0) }
    });
    let Some(first) = frames.next() else {
        return 0;
    };
    let expected = first.saturating_add(1)..;
    let same = frames
        .zip(expected)
        .take_while(|(frame, expected)| frame == expected);
    same.count().saturating_add(1)
}

/// Consecutive page frames that are pinned. Dropping them unpins the pages without marking them
/// dirty.
///
/// # Invariants
///
/// This value owns one pin of each of the `count` pages from frame `pfn` on.
pub(crate) struct PinnedFrames {
    pfn: usize,
    count: usize,
}

impl PinnedFrames {
    /// Takes over the pins of `count` pages from frame `pfn` on.
    ///
    /// # Safety
    ///
    /// The pins must come from [`PinnedFrames::into_raw`], and must not be taken over twice. The
    /// frames of one call may be taken over in several parts, and those of consecutive calls
    /// together.
    #[inline]
    pub(crate) unsafe fn from_raw(pfn: usize, count: usize) -> Self {
        // INVARIANT: By the safety requirements of this function nobody else owns these pins.
        Self { pfn, count }
    }

    /// Releases the ownership of the pins without unpinning. Returns the number of the first frame
    /// and the number of frames; the caller must take care of the pins.
    #[inline]
    pub(crate) fn into_raw(self) -> (usize, usize) {
        let raw = (self.pfn, self.count);
        mem::forget(self);
        raw
    }

    /// Pins the base page at the user address `vaddr` of `mm`, whose lock `locked` holds. Returns
    /// `None` if that fails.
    ///
    /// May sleep: the page is faulted in if necessary, as far as that is possible without dropping
    /// the lock.
    #[doc(alias = "pin_user_pages_remote")]
    pub(crate) fn pin_one(
        mm: &MmWithUser,
        locked: &MmapReadGuard<'_>,
        vaddr: usize,
        write: bool,
    ) -> Option<Self> {
        let mut page: *mut bindings::page = ptr::null_mut();
        // SAFETY: `page` is room for one pointer.
        let pinned = unsafe { pin_remote(mm, locked, vaddr, 1, gup_flags(write), &mut page) };
        if pinned != 1 {
            return None;
        }
        Some(Self {
            // SAFETY: The function pinned one page, so it stored a pointer to its page structure.
            pfn: unsafe { bindings::vfio_rs_page_to_pfn(page) },
            // INVARIANT: The page was pinned above, and nobody else knows of the pin.
            count: 1,
        })
    }

    /// Pins the huge page of hugetlbfs from the user address `vaddr` of the calling task on, but at
    /// most `limit` base pages, if it is present. Returns `None` if it is not, cannot be pinned, or
    /// is something else. Need not look at the area. May sleep.
    #[doc(alias = "pin_user_pages_fast")]
    pub(crate) fn pin_present_huge(vaddr: usize, limit: usize, write: bool) -> Option<Self> {
        // A task without user memory has no user addresses.
        kernel::current!().mm()?;
        let mut page: *mut bindings::page = ptr::null_mut();
        let flags = gup_flags(write) | bindings::FOLL_NOFAULT;
        // SAFETY: `page` is room for one pointer, and the calling task has an `mm_struct`.
        if unsafe { bindings::pin_user_pages_fast(vaddr, 1, flags, &mut page) } != 1 {
            return None;
        }
        let mut frames = Self {
            // SAFETY: The function pinned one page, so it stored a pointer to its page structure.
            pfn: unsafe { bindings::vfio_rs_page_to_pfn(page) },
            // INVARIANT: The page was pinned above, and nobody else knows of the pin.
            count: 1,
        };
        // SAFETY: The page is pinned, so its folio is neither freed nor split.
        let (folio, is_hugetlb) = unsafe {
            let folio = bindings::vfio_rs_page_folio(page);
            (folio, bindings::vfio_rs_folio_test_hugetlb(folio))
        };
        if !is_hugetlb {
            return None;
        }
        // SAFETY: This is the folio of the page.
        unsafe { frames.extend_in(folio, limit) };
        Some(frames)
    }

    /// Returns the number of the first frame.
    #[inline]
    pub(crate) fn pfn(&self) -> usize {
        self.pfn
    }

    /// Returns the number of frames.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Returns the page structure of the first frame.
    fn first(&self) -> *mut bindings::page {
        // SAFETY: By the type invariants the page is pinned, so its frame has a page structure.
        unsafe { bindings::vfio_rs_pfn_to_page(self.pfn) }
    }

    /// Returns whether the first page is reserved by the kernel, such as the zero page.
    #[doc(alias = "PageReserved")]
    #[inline]
    pub(crate) fn is_reserved(&self) -> bool {
        // SAFETY: By the type invariants the page is pinned, so its frame has a page structure.
        unsafe { bindings::vfio_rs_pfn_reserved(self.pfn) }
    }

    /// Pins the frames behind these as well, up to `limit` frames in total, as far as the folio of
    /// the first one goes. If that fails nothing has changed.
    pub(crate) fn extend_in_folio(&mut self, limit: usize) {
        // SAFETY: By the type invariants the page is pinned, so its folio is neither freed nor
        // split.
        unsafe { self.extend_in(bindings::vfio_rs_page_folio(self.first()), limit) };
    }

    /// Does what [`PinnedFrames::extend_in_folio`] does.
    ///
    /// # Safety
    ///
    /// `folio` must be the folio of the first frame.
    #[doc(alias = "folio_add_pins")]
    #[inline]
    unsafe fn extend_in(&mut self, folio: *mut bindings::folio, limit: usize) {
        // SAFETY: By the safety requirements of this function the folio is one that is pinned.
        let pages = unsafe { bindings::vfio_rs_folio_nr_pages(folio) };
        // The number is a power of two, and the first frame of a folio a multiple of it.
        let before = self.pfn & pages.saturating_sub(1);
        let count = pages.saturating_sub(before).min(limit);
        let Some(Ok(more)) = count.checked_sub(self.count).map(u32::try_from) else {
            return;
        };
        // SAFETY: By the type invariants the folio has a pin of this value, which is what
        // `folio_add_pins()` requires.
        if more > 0 && unsafe { bindings::folio_add_pins(folio, more) } == 0 {
            // INVARIANT: The pins of all pages of a folio are one counter, to which `more` pins
            // were added; the `count` frames are all in the folio.
            self.count = count;
        }
    }

    /// Unpins the frames, and marks their pages dirty if they were `written`. May sleep.
    #[doc(alias = "unpin_user_page_range_dirty_lock")]
    #[inline]
    pub(crate) fn unpin(self, written: bool) {
        let (pfn, count) = self.into_raw();
        // SAFETY: By the type invariants this value owned a pin of each of these pages, and has
        // released the ownership above.
        unsafe { bindings::vfio_rs_unpin_pfns(pfn, count, written) };
    }
}

impl Drop for PinnedFrames {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a pin of each of these pages.
        unsafe { bindings::vfio_rs_unpin_pfns(self.pfn, self.count, false) };
    }
}

/// A page structure that is handed to drivers.
pub(crate) type PageRef = NonNull<bindings::page>;

/// Returns the page structure of the frame `pfn`, or `None` if it has none.
#[doc(alias = "pfn_to_page")]
pub(crate) fn page_of(pfn: usize) -> Option<PageRef> {
    // SAFETY: There are no safety requirements.
    if !unsafe { bindings::vfio_rs_pfn_valid(pfn) } {
        return None;
    }
    // SAFETY: `pfn_valid()` said above that the frame has a page structure.
    NonNull::new(unsafe { bindings::vfio_rs_pfn_to_page(pfn) })
}

/// Returns whether the frame `pfn` is memory that the kernel manages: it has a page structure that
/// is not reserved.
pub(crate) fn is_memory(pfn: usize) -> bool {
    // SAFETY: `pfn_valid()` has no safety requirements; the others are only called for a frame that
    // has a page structure.
    unsafe { bindings::vfio_rs_pfn_valid(pfn) && !bindings::vfio_rs_pfn_reserved(pfn) }
}

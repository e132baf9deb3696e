// SPDX-License-Identifier: GPL-2.0

//! Pinned pages of user memory, and who owns the pins.
//!
//! A pin keeps a page where it is for as long as devices may reach it. Every pin has exactly one
//! owner, which is a value: a [`PinnedBatch`] (what one call of the memory manager returned), and
//! then [`PinnedFrames`] (consecutive page frames taken from it). Both unpin what they own when
//! they are dropped.
//!
//! In the kernel crate: a module `kernel::mm::gup` with these types; `kernel::page::Page` would
//! get `pfn()`, `is_reserved()` and `folio()`.
//!
//! C header: `include/linux/mm.h`.

use core::{
    mem,
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
    kernel::mm, //
};

/// An address space whose pages are pinned.
#[derive(Clone, Copy)]
pub(crate) enum UserMm<'a> {
    /// That of the caller.
    Current,
    /// That of another process, or possibly the caller's.
    Remote(&'a MmWithUser),
}

/// A pointer to a page, in a buffer.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PagePtr(*mut bindings::page);

// SAFETY: A page can be used by any thread; the pointer alone does nothing.
unsafe impl Send for PagePtr {}

/// A place for page pointers, reused from call to call.
pub(crate) struct PageBuffer(KVec<PagePtr>);

impl PageBuffer {
    /// As many pointers as fit a page.
    const LARGE: usize = kernel::page::PAGE_SIZE / mem::size_of::<PagePtr>();
    /// For few pages, and when there is no memory for more.
    const SMALL: usize = 16;

    /// Returns a buffer that needs memory only when it is first used for many pages.
    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Returns room for up to `pages` pointers, as far as there is memory; `small` otherwise.
    fn room<'a>(&'a mut self, pages: usize, small: &'a mut SmallPageBuffer) -> &'a mut [PagePtr] {
        if pages > Self::SMALL {
            if self.0.is_empty() {
                // Without memory the small buffer does it too, only slower.
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

/// A small place for page pointers, on the stack of a caller.
pub(crate) struct SmallPageBuffer([PagePtr; PageBuffer::SMALL]);

impl SmallPageBuffer {
    /// Returns an empty one.
    pub(crate) const fn new() -> Self {
        Self([PagePtr(ptr::null_mut()); PageBuffer::SMALL])
    }
}

/// Returns the flags for pins that last, for devices that write if `write`.
fn gup_flags(write: bool) -> u32 {
    match write {
        true => bindings::FOLL_LONGTERM | bindings::FOLL_WRITE,
        false => bindings::FOLL_LONGTERM,
    }
}

/// Pages that were pinned together, in the order of their user addresses.
///
/// # Invariants
///
/// Each element of `pages` is a page with a pin that this value owns.
pub(crate) struct PinnedBatch<'a> {
    pages: &'a mut [PagePtr],
}

impl<'a> PinnedBatch<'a> {
    /// Pins up to `count` pages of user memory from `vaddr` on, for a long time and for devices
    /// that write if `write`. Returns at least one.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the caller has no memory.
    /// - `EFAULT` if the first page cannot be pinned: nothing is there, it may not be written, or
    ///   it has no page behind it (memory of a device).
    /// - `EINTR` if the caller was killed.
    /// - `ENOMEM` if the page had to be brought in and there is no memory for it.
    pub(crate) fn pin(
        memory: UserMm<'_>,
        vaddr: usize,
        count: usize,
        write: bool,
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
                // SAFETY: `pages` has room for `count` pointers, and the caller has memory.
                let ret = unsafe {
                    bindings::pin_user_pages_fast(vaddr, i32::try_from(count)?, flags, pages)
                };
                if ret == EFAULT.to_errno() {
                    // This way protection keys of the caller matter. Those of the owner of the
                    // memory do not: it is devices that use it.
                    // SAFETY: `pages` has room for `count` pointers.
                    unsafe { pin_remote(mm, &mm.mmap_read_lock(), vaddr, count, flags, pages) }
                } else {
                    ret as isize
                }
            }
            // SAFETY: `pages` has room for `count` pointers.
            UserMm::Remote(mm) => unsafe {
                pin_remote(mm, &mm.mmap_read_lock(), vaddr, count, flags, pages)
            },
        };
        match usize::try_from(ret) {
            Ok(0) => Err(EFAULT),
            Ok(pinned) => {
                // INVARIANT: The function pinned that many and stored their pointers.
                let pages = room.get_mut(..pinned).ok_or(EFAULT)?;
                Ok(Self { pages })
            }
            Err(_) => Err(pin_error(ret)),
        }
    }

    /// Takes consecutive frames from the front, at most `limit` of them, or one if `limit` is 0.
    /// Returns none if the batch is empty.
    #[inline]
    pub(crate) fn take_frames(&mut self, limit: usize) -> Option<PinnedFrames> {
        let &PagePtr(first) = self.pages.first()?;
        let window = self.pages.get(..limit.max(1)).unwrap_or(self.pages);
        let count = 1 + window
            .windows(2)
            .take_while(|pair| matches!(pair, [a, b] if is_next(*a, *b)))
            .count();
        let pages = mem::take(&mut self.pages);
        self.pages = pages.get_mut(count..).unwrap_or_default();
        Some(PinnedFrames {
            // SAFETY: The page is valid, as it is pinned.
            pfn: unsafe { bindings::vfio_rs_page_to_pfn(first) },
            // INVARIANT: The pins of the first `count` pages now belong to the result.
            count,
        })
    }
}

impl Drop for PinnedBatch<'_> {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            // SAFETY: By the type invariants. No device has seen the pages, so they are not dirty.
            unsafe { bindings::unpin_user_pages(self.pages.as_mut_ptr().cast(), self.pages.len()) };
        }
    }
}

/// Pins `count` pages in any process, which is locked.
///
/// # Safety
///
/// `pages` must have room for `count` pointers.
unsafe fn pin_remote(
    mm: &MmWithUser,
    _locked: &MmapReadGuard<'_>,
    vaddr: usize,
    count: usize,
    flags: u32,
    pages: *mut *mut bindings::page,
) -> isize {
    let unlocked = ptr::null_mut();
    // SAFETY: The address space is alive and locked, there is room for the pointers by the safety
    // requirements, and without a pointer for it the lock is not dropped.
    unsafe { bindings::pin_user_pages_remote(mm.as_raw(), vaddr, count, flags, pages, unlocked) }
}

/// Returns whether `b` describes the frame after that of `a`.
#[cfg(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM))]
fn is_next(a: PagePtr, b: PagePtr) -> bool {
    // With these memory models page structures form one array, in the order of the frames.
    ptr::eq(a.0.wrapping_add(1), b.0)
}

/// Returns whether `b` describes the frame after that of `a`.
#[cfg(not(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM)))]
fn is_next(a: PagePtr, b: PagePtr) -> bool {
    // SAFETY: Both come from a `PinnedBatch`, where pages are pinned and so valid.
    let (a, b) = unsafe {
        (
            bindings::vfio_rs_page_to_pfn(a.0),
            bindings::vfio_rs_page_to_pfn(b.0),
        )
    };
    a.checked_add(1) == Some(b)
}

/// Returns what the user is told when memory cannot be pinned.
fn pin_error(ret: isize) -> Error {
    if mm::is_killed() {
        return EINTR;
    }
    match i32::try_from(ret).map(Error::from_errno) {
        // The fast variant has its own word for an address that no process has.
        Ok(error) if error != EOVERFLOW => error,
        _ => EFAULT,
    }
}

/// Consecutive page frames that are pinned. Dropping them unpins them as pages that nobody wrote.
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
    /// They must come from [`PinnedFrames::into_raw`], in whatever pieces, and nobody else may
    /// take them over.
    #[inline]
    pub(crate) unsafe fn from_raw(pfn: usize, count: usize) -> Self {
        // INVARIANT: By the safety requirements.
        Self { pfn, count }
    }

    /// Gives up the pins, which whoever has the result now owns: the first frame, and how many.
    #[inline]
    pub(crate) fn into_raw(self) -> (usize, usize) {
        let raw = (self.pfn, self.count);
        mem::forget(self);
        raw
    }

    /// Pins the one page at user address `vaddr`, or returns none if that cannot be done at once.
    pub(crate) fn pin_one(
        mm: &MmWithUser,
        locked: &MmapReadGuard<'_>,
        vaddr: usize,
        write: bool,
    ) -> Option<Self> {
        let mut page: *mut bindings::page = ptr::null_mut();
        // SAFETY: There is room for one pointer.
        let pinned = unsafe { pin_remote(mm, locked, vaddr, 1, gup_flags(write), &mut page) };
        if pinned != 1 {
            return None;
        }
        Some(Self {
            // SAFETY: The page is pinned, and so valid.
            pfn: unsafe { bindings::vfio_rs_page_to_pfn(page) },
            // INVARIANT: Pinned above.
            count: 1,
        })
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

    fn first(&self) -> *mut bindings::page {
        // SAFETY: By the type invariants the frame has a page.
        unsafe { bindings::vfio_rs_pfn_to_page(self.pfn) }
    }

    /// Returns whether the first page is one that the kernel reserves, such as that of zeroes.
    #[inline]
    pub(crate) fn is_reserved(&self) -> bool {
        // SAFETY: By the type invariants the page is pinned, and so valid.
        unsafe { bindings::vfio_rs_page_reserved(self.first()) }
    }

    /// Returns how many frames the folio of the first page has from that page on.
    pub(crate) fn frames_in_folio(&self) -> usize {
        // SAFETY: By the type invariants the page is pinned, so it and its folio are valid.
        let end = unsafe {
            let folio = bindings::vfio_rs_page_folio(self.first());
            bindings::vfio_rs_folio_pfn(folio)
                .saturating_add(bindings::vfio_rs_folio_nr_pages(folio))
        };
        end.saturating_sub(self.pfn)
    }

    /// Pins the page frames behind this single one as well, until there are `count` of them. They
    /// must be of the same folio. Returns whether that worked.
    pub(crate) fn extend_in_folio(&mut self, count: usize) -> bool {
        let Some(Ok(more)) = count.checked_sub(self.count).map(u32::try_from) else {
            return false;
        };
        if count > self.frames_in_folio() {
            return false;
        }
        // SAFETY: By the type invariants the folio has a pin; further ones may be added then.
        if more > 0
            && unsafe { bindings::folio_add_pins(bindings::vfio_rs_page_folio(self.first()), more) }
                != 0
        {
            return false;
        }
        // INVARIANT: Pins of a folio are counted together, and were added here.
        self.count = count;
        true
    }

    /// Unpins the frames, and marks their pages dirty if they were `written`.
    #[inline]
    pub(crate) fn unpin(self, written: bool) {
        let (pfn, count) = self.into_raw();
        // SAFETY: By the type invariants the frames have pages, and these pins were this value's.
        unsafe { bindings::vfio_rs_unpin_pfns(pfn, count, written) };
    }
}

impl Drop for PinnedFrames {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the frames have pages, and these pins are this value's.
        unsafe { bindings::vfio_rs_unpin_pfns(self.pfn, self.count, false) };
    }
}

/// A page structure, for drivers.
pub(crate) type PageRef = NonNull<bindings::page>;

/// Returns the page structure of a frame, if it has one.
pub(crate) fn page_of(pfn: usize) -> Option<PageRef> {
    // SAFETY: There are no safety requirements.
    if !unsafe { bindings::vfio_rs_pfn_valid(pfn) } {
        return None;
    }
    // SAFETY: The frame has a page structure.
    NonNull::new(unsafe { bindings::vfio_rs_pfn_to_page(pfn) })
}

/// Returns whether a frame is memory that the kernel manages.
pub(crate) fn is_memory(pfn: usize) -> bool {
    // SAFETY: There are no safety requirements; a valid frame has a page structure.
    unsafe {
        bindings::vfio_rs_pfn_valid(pfn)
            && !bindings::vfio_rs_page_reserved(bindings::vfio_rs_pfn_to_page(pfn))
    }
}

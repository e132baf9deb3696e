// SPDX-License-Identifier: GPL-2.0

//! Pinned pages of user memory, and who owns the pins.
//!
//! A pin keeps a page in its place as long as devices may access it. Every pin has exactly one
//! owner: a [`PinnedBatch`] (the pages that one call of the memory manager pinned), and then a
//! [`PinnedFrames`] (consecutive page frames taken from it). Both unpin what they own when they are
//! dropped. The functions that pin take `mmap_lock` of the address space, or are passed its guard.
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

/// The address space whose pages are pinned.
#[derive(Clone, Copy)]
pub(crate) enum UserMm<'a> {
    /// The address space of the calling task.
    Current,
    /// An address space that need not be that of the calling task.
    Remote(&'a MmWithUser),
}

/// A pointer to a page, in a buffer.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PagePtr(*mut bindings::page);

// SAFETY: Any thread may use a page structure, and a pointer alone gives no access to it.
unsafe impl Send for PagePtr {}

/// A buffer for page pointers that is reused from call to call.
pub(crate) struct PageBuffer(KVec<PagePtr>);

impl PageBuffer {
    /// The capacity in pointers: as many as fit into a page.
    const LARGE: usize = kernel::page::PAGE_SIZE / mem::size_of::<PagePtr>();
    /// The capacity of a [`SmallPageBuffer`] in pointers.
    const SMALL: usize = 16;

    /// Creates a buffer that allocates its memory when it is first used for many pages.
    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Returns a place for pointers, which may have less room than for `pages` of them: that of
    /// `self`, or that of `small` if it is large enough or there is no memory for `self`.
    fn room<'a>(&'a mut self, pages: usize, small: &'a mut SmallPageBuffer) -> &'a mut [PagePtr] {
        if pages > Self::SMALL {
            if self.0.is_empty() {
                // The small buffer will do if there is no memory, in more calls.
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

/// A buffer for few page pointers, for the stack of a caller.
pub(crate) struct SmallPageBuffer([PagePtr; PageBuffer::SMALL]);

impl SmallPageBuffer {
    /// Creates an empty buffer.
    pub(crate) const fn new() -> Self {
        Self([PagePtr(ptr::null_mut()); PageBuffer::SMALL])
    }
}

/// Returns the flags for pins that last long, for devices that write if `write`.
fn gup_flags(write: bool) -> u32 {
    match write {
        true => bindings::FOLL_LONGTERM | bindings::FOLL_WRITE,
        false => bindings::FOLL_LONGTERM,
    }
}

/// Pages that were pinned together, in the order of their user virtual addresses.
///
/// # Invariants
///
/// Each element of `pages` points to a page with a pin that this value owns.
pub(crate) struct PinnedBatch<'a> {
    pages: &'a mut [PagePtr],
}

impl<'a> PinnedBatch<'a> {
    /// Pins up to `count` pages from the user virtual address `vaddr` on, for a long time and for
    /// devices that write if `write`. Pins at least one page, and perhaps fewer than `count`.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENODEV` for [`UserMm::Current`] if the calling task has no address space.
    /// - `EINTR` if the calling task was killed.
    /// - `EFAULT` if the first page cannot be pinned: nothing is mapped there, it is mapped
    ///   read-only and `write` is set, or it has no page structure (device memory).
    /// - `ENOMEM`, or any other errno of the memory manager, if the page cannot be brought in.
    #[doc(alias = "pin_user_pages_remote")]
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
                // SAFETY: `pages` has room for `count` pointers, and the calling task has an
                // address space.
                let ret = unsafe {
                    bindings::pin_user_pages_fast(vaddr, i32::try_from(count)?, flags, pages)
                };
                if ret == EFAULT.to_errno() {
                    // The fast variant fails if the protection keys of the calling task forbid the
                    // access. They do not matter to devices, so pin as if from another process.
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

    /// Removes consecutive frames from the front of the batch and returns them: as many as there
    /// are, but at most `limit`, or one if `limit` is 0. Returns none if the batch is empty.
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
            // SAFETY: By the type invariants the page is pinned, and so valid.
            pfn: unsafe { bindings::vfio_rs_page_to_pfn(first) },
            // INVARIANT: The pins of the first `count` pages now belong to the result.
            count,
        })
    }
}

impl Drop for PinnedBatch<'_> {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            // SAFETY: By the type invariants this value owns a pin of each page. No device has
            // accessed the pages, so they need not be marked dirty.
            unsafe { bindings::unpin_user_pages(self.pages.as_mut_ptr().cast(), self.pages.len()) };
        }
    }
}

/// Pins up to `count` pages of the address space `mm`, whose `mmap_lock` is held for reading.
/// Returns their number or a negative errno.
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
    // SAFETY: `mm` is alive by its type invariants, and the guard says that it is locked. There is
    // room for the pointers by the safety requirements of this function. The lock is not released,
    // since the last argument is null.
    unsafe { bindings::pin_user_pages_remote(mm.as_raw(), vaddr, count, flags, pages, unlocked) }
}

/// Returns whether `b` describes the frame after that of `a`.
#[cfg(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM))]
fn is_next(a: PagePtr, b: PagePtr) -> bool {
    // With these memory models the page structures form one array, in the order of the frames.
    ptr::eq(a.0.wrapping_add(1), b.0)
}

/// Returns whether `b` describes the frame after that of `a`.
#[cfg(not(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM)))]
fn is_next(a: PagePtr, b: PagePtr) -> bool {
    // SAFETY: The only caller passes elements of a `PinnedBatch`, which are pinned and so valid.
    let (a, b) = unsafe {
        (
            bindings::vfio_rs_page_to_pfn(a.0),
            bindings::vfio_rs_page_to_pfn(b.0),
        )
    };
    a.checked_add(1) == Some(b)
}

/// Returns the errno for user space when the memory manager could not pin memory and returned
/// `ret`.
fn pin_error(ret: isize) -> Error {
    if mm::is_killed() {
        return EINTR;
    }
    match i32::try_from(ret).map(Error::from_errno) {
        // The fast variant returns `EOVERFLOW` for an address that no process can have.
        Ok(error) if error != EOVERFLOW => error,
        _ => EFAULT,
    }
}

/// Consecutive page frames that are pinned. Dropping this unpins them without marking them dirty.
///
/// # Invariants
///
/// This value owns one pin of each of the `count` pages from frame `pfn` on.
pub(crate) struct PinnedFrames {
    pfn: usize,
    count: usize,
}

impl PinnedFrames {
    /// Takes over the pins of `count` frames from frame `pfn` on.
    ///
    /// # Safety
    ///
    /// The pins must have been given up with [`PinnedFrames::into_raw`], be it in other pieces, and
    /// must be taken over only once.
    #[inline]
    pub(crate) unsafe fn from_raw(pfn: usize, count: usize) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self { pfn, count }
    }

    /// Gives up the pins. Returns the first frame and the number of frames; the caller now owns the
    /// pins.
    #[inline]
    pub(crate) fn into_raw(self) -> (usize, usize) {
        let raw = (self.pfn, self.count);
        mem::forget(self);
        raw
    }

    /// Pins the page at the user virtual address `vaddr`, for devices that write if `write`.
    /// Returns none if that fails. May sleep to bring the page in.
    pub(crate) fn pin_one(
        mm: &MmWithUser,
        locked: &MmapReadGuard<'_>,
        vaddr: usize,
        write: bool,
    ) -> Option<Self> {
        let mut page: *mut bindings::page = ptr::null_mut();
        // SAFETY: `page` has room for one pointer.
        let pinned = unsafe { pin_remote(mm, locked, vaddr, 1, gup_flags(write), &mut page) };
        if pinned != 1 {
            return None;
        }
        Some(Self {
            // SAFETY: The page was pinned above, and so is valid.
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
        // SAFETY: By the type invariants the frame is pinned, so it has a page structure.
        unsafe { bindings::vfio_rs_pfn_to_page(self.pfn) }
    }

    /// Returns whether the first page is reserved (`PG_reserved`), as the zero page is.
    #[inline]
    pub(crate) fn is_reserved(&self) -> bool {
        // SAFETY: By the type invariants the page is pinned, and so valid.
        unsafe { bindings::vfio_rs_page_reserved(self.first()) }
    }

    /// Returns the number of frames that the folio of the first page has from that page on.
    pub(crate) fn frames_in_folio(&self) -> usize {
        // SAFETY: By the type invariants the page is pinned, so it and its folio are valid.
        let end = unsafe {
            let folio = bindings::vfio_rs_page_folio(self.first());
            bindings::vfio_rs_folio_pfn(folio)
                .saturating_add(bindings::vfio_rs_folio_nr_pages(folio))
        };
        end.saturating_sub(self.pfn)
    }

    /// Pins the frames behind these as well, until there are `count` in all. Returns whether that
    /// succeeded; it fails if they are not all in the folio of the first one.
    #[doc(alias = "folio_add_pins")]
    pub(crate) fn extend_in_folio(&mut self, count: usize) -> bool {
        let Some(Ok(more)) = count.checked_sub(self.count).map(u32::try_from) else {
            return false;
        };
        if count > self.frames_in_folio() {
            return false;
        }
        // SAFETY: By the type invariants the folio has a pin already, which is what the function
        // requires.
        if more > 0
            && unsafe { bindings::folio_add_pins(bindings::vfio_rs_page_folio(self.first()), more) }
                != 0
        {
            return false;
        }
        // INVARIANT: The pins of all pages of a folio are counted together, in the folio, and
        // `more` were added.
        self.count = count;
        true
    }

    /// Unpins the frames, and marks their pages dirty if `written`. Sleeps if `written`.
    #[inline]
    pub(crate) fn unpin(self, written: bool) {
        let (pfn, count) = self.into_raw();
        // SAFETY: By the type invariants `self` owned the pins, which `into_raw` gave to this
        // function.
        unsafe { bindings::vfio_rs_unpin_pfns(pfn, count, written) };
    }
}

impl Drop for PinnedFrames {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the pins.
        unsafe { bindings::vfio_rs_unpin_pfns(self.pfn, self.count, false) };
    }
}

/// A pointer to a page structure, for C drivers.
pub(crate) type PageRef = NonNull<bindings::page>;

/// Returns the page structure of frame `pfn`, or none if it has none.
pub(crate) fn page_of(pfn: usize) -> Option<PageRef> {
    // SAFETY: There are no safety requirements: any number may be asked for.
    if !unsafe { bindings::vfio_rs_pfn_valid(pfn) } {
        return None;
    }
    // SAFETY: The frame has a page structure, as was checked above.
    NonNull::new(unsafe { bindings::vfio_rs_pfn_to_page(pfn) })
}

/// Returns whether frame `pfn` has a page structure and is not reserved: memory that the kernel
/// manages, as opposed to device memory.
pub(crate) fn is_memory(pfn: usize) -> bool {
    // SAFETY: The first function has no safety requirements. If it returns true the frame has a
    // page structure, which is what the others require.
    unsafe {
        bindings::vfio_rs_pfn_valid(pfn)
            && !bindings::vfio_rs_page_reserved(bindings::vfio_rs_pfn_to_page(pfn))
    }
}

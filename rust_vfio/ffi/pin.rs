// SPDX-License-Identifier: GPL-2.0

//! Pinning user memory, and who owns the pins.
//!
//! A pin keeps a page where it is for as long as devices may reach it. Every pin has exactly one
//! owner at any time, and the owners are types:
//!
//! * [`PinnedBatch`]: what one call to the memory manager returned and nobody has taken yet;
//! * [`PinnedRun`]: consecutive frames taken from batches, not mapped yet;
//! * [`PinnedRuns`]: all frames of a mapping, which devices can reach.
//!
//! The first two unpin what they own when dropped. The last one cannot: before its pages are let
//! go, no device may reach them any more. [`PinnedRuns::release`] does it in this order.
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
    mm::MmWithUser,
    prelude::*,
    warn_on, //
};

use super::{
    bindings,
    mm,
    pfnmap::{
        self,
        DeviceRun, //
    }, //
};
use crate::logic::{
    runs::{
        first_chunk,
        Backing,
        Run, //
    },
    units::{
        PageCount,
        Pfn, //
    }, //
};

/// Whose memory is pinned.
#[derive(Clone, Copy)]
pub(crate) enum Memory<'a> {
    /// That of the caller.
    Own,
    /// That of another process, or possibly the caller's.
    Of(&'a MmWithUser),
}

/// A place for page pointers, reused from call to call.
pub(crate) struct PageBuffer(KVec<PagePtr>);

/// A pointer to a page, in a buffer.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PagePtr(*mut bindings::page);

// SAFETY: A page can be used by any thread; the pointer alone does nothing.
unsafe impl Send for PagePtr {}

impl PageBuffer {
    /// As many pointers as fit a page.
    const LARGE: usize = kernel::page::PAGE_SIZE / mem::size_of::<PagePtr>();
    /// For small mappings, and when there is no memory for more.
    const SMALL: usize = 16;

    /// A buffer that needs memory only when it is first used for many pages.
    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Room for up to `pages` pointers, as far as there is memory: `small` is used otherwise.
    fn room<'a>(&'a mut self, pages: usize, small: &'a mut SmallBuffer) -> &'a mut [PagePtr] {
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
pub(crate) struct SmallBuffer([PagePtr; PageBuffer::SMALL]);

impl SmallBuffer {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        Self([PagePtr(ptr::null_mut()); PageBuffer::SMALL])
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
    /// - `EFAULT` if the first page cannot be pinned: nothing is there, it may not be written, or
    ///   it has no page behind it (memory of a device).
    /// - `EINTR` if the caller was killed.
    /// - `ENOMEM` if the page had to be brought in and there is no memory for it.
    pub(crate) fn pin(
        memory: Memory<'_>,
        vaddr: usize,
        count: PageCount,
        write: bool,
        large: &'a mut PageBuffer,
        small: &'a mut SmallBuffer,
    ) -> Result<Self> {
        let count = usize::try_from(count.get()).unwrap_or(usize::MAX);
        let room = large.room(count, small);
        let count = count.min(room.len());
        let mut flags = bindings::FOLL_LONGTERM;
        if write {
            flags |= bindings::FOLL_WRITE;
        }
        // CAST: `PagePtr` is a transparent wrapper.
        let pages = room.as_mut_ptr().cast::<*mut bindings::page>();
        let ret = match memory {
            Memory::Own => {
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
                    unsafe { pin_remote(mm, vaddr, count, flags, pages) }
                } else {
                    ret as isize
                }
            }
            // SAFETY: `pages` has room for `count` pointers.
            Memory::Of(mm) => unsafe { pin_remote(mm, vaddr, count, flags, pages) },
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

    /// Takes consecutive frames of one kind from the front, at most `limit` of them, until the
    /// batch is empty.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the frame number cannot be expressed (see [`Run`]).
    pub(crate) fn next_run(&mut self, limit: PageCount) -> Result<Option<PinnedRun>> {
        let Some(&PagePtr(first)) = self.pages.first() else {
            return Ok(None);
        };
        // SAFETY: The page is valid, as it is pinned.
        let (pfn, reserved) = unsafe {
            (
                bindings::vfio_rs_page_to_pfn(first),
                bindings::vfio_rs_page_reserved(first),
            )
        };
        let backing = if reserved {
            Backing::Reserved
        } else {
            Backing::Pinned
        };

        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX).max(1);
        let window = self.pages.get(..limit).unwrap_or(self.pages);
        let count = 1 + window
            .windows(2)
            .take_while(|pair| matches!(pair, [a, b] if is_next(*a, *b)))
            .count();

        let run =
            Run::new(Pfn::new(pfn as u64), PageCount::new(count as u64), backing).ok_or(EFAULT)?;
        let pages = mem::take(&mut self.pages);
        // INVARIANT: The pins of the first `count` pages now belong to the run.
        self.pages = pages.get_mut(count..).unwrap_or_default();
        Ok(Some(PinnedRun(Some(run))))
    }
}

impl Drop for PinnedBatch<'_> {
    fn drop(&mut self) {
        if !self.pages.is_empty() {
            // SAFETY: By the invariant. No device has seen the pages, so they are not dirty.
            unsafe { bindings::unpin_user_pages(self.pages.as_mut_ptr().cast(), self.pages.len()) };
        }
    }
}

/// Pins `count` pages in any process.
///
/// # Safety
///
/// `pages` must have room for `count` pointers.
unsafe fn pin_remote(
    mm: &MmWithUser,
    vaddr: usize,
    count: usize,
    flags: u32,
    pages: *mut *mut bindings::page,
) -> isize {
    let _locked = mm.mmap_read_lock();
    let unlocked = ptr::null_mut();
    // SAFETY: The address space is alive and locked, there is room for the pointers, and without a
    // pointer for it the lock is not dropped.
    unsafe { bindings::pin_user_pages_remote(mm.as_raw(), vaddr, count, flags, pages, unlocked) }
}

/// Whether `b` describes the frame after that of `a`.
#[cfg(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM))]
fn is_next(a: PagePtr, b: PagePtr) -> bool {
    // With these memory models page structures form one array, in the order of the frames.
    ptr::eq(a.0.wrapping_add(1), b.0)
}

/// Whether `b` describes the frame after that of `a`.
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

/// What the user is told when memory cannot be pinned.
fn pin_error(ret: isize) -> Error {
    if mm::killed() {
        return EINTR;
    }
    match i32::try_from(ret).map(Error::from_errno) {
        // The fast variant has its own word for an address that no process has.
        Ok(error) if error != EOVERFLOW => error,
        _ => EFAULT,
    }
}

/// Pins the page at user address `vaddr`, for devices that write if `write`.
///
/// Memory of a device is accepted too; it has nothing that could be pinned.
///
/// # Errors
///
/// As [`PinnedBatch::pin`] and [`pfnmap::frames`].
pub(crate) fn pin_page(memory: Memory<'_>, vaddr: usize, write: bool) -> Result<PinnedRun> {
    let one = PageCount::new(1);
    let (mut large, mut small) = (PageBuffer::new(), SmallBuffer::new());
    let pinned = PinnedBatch::pin(memory, vaddr, one, write, &mut large, &mut small);
    let error = match pinned {
        Ok(mut batch) => return batch.next_run(one)?.ok_or(EFAULT),
        Err(error) => error,
    };
    pfnmap::frames(memory, vaddr, one, write)?
        .map(PinnedRun::of_device)
        .ok_or(error)
}

/// A page structure, for drivers.
pub(crate) type PageRef = NonNull<bindings::page>;

/// A run that no device can reach on account of this value. Dropping it unpins it.
///
/// # Invariants
///
/// Unless it was taken out, this value owns one pin of each page of the run, if the run is of a
/// kind that is pinned.
pub(crate) struct PinnedRun(Option<Run>);

impl PinnedRun {
    /// The pins of `run`.
    ///
    /// # Safety
    ///
    /// Each page of the run has a pin that the caller hands over, if the run is of a kind that is
    /// pinned.
    pub(super) unsafe fn from_raw(run: Run) -> Self {
        // INVARIANT: By the contract of this function.
        Self(Some(run))
    }

    /// Memory of a device.
    pub(crate) fn of_device(run: DeviceRun) -> Self {
        // INVARIANT: Not of a kind that is pinned.
        Self(Some(run.get()))
    }

    /// The frames.
    pub(crate) fn run(&self) -> Option<Run> {
        self.0
    }

    /// Appends `next` if both are consecutive, of one kind, and together not longer than `limit`.
    /// Otherwise hands it back.
    pub(crate) fn join(&mut self, mut next: Self, limit: PageCount) -> Result<(), Self> {
        if let (Some(run), Some(other)) = (self.0, next.0) {
            if let Some(joined) = run.joined(other).filter(|run| run.pages() <= limit) {
                // INVARIANT: The pins of `next` change hands.
                next.0 = None;
                self.0 = Some(joined);
                return Ok(());
            }
        }
        Err(next)
    }
}

impl PinnedRun {
    /// Unpins the run, whose pages may have been `written`.
    pub(crate) fn unpin(mut self, written: bool) {
        if let Some(run) = self.0.take() {
            // SAFETY: By the invariant. Whoever used the pages on account of this value is done.
            unsafe { unpin(run, written) };
        }
    }

    /// The page structure of the first frame, if it has one.
    pub(crate) fn first_page(&self) -> Option<PageRef> {
        // CAST: Frame numbers are native words.
        let pfn = self.0?.first().get() as usize;
        // SAFETY: A function without requirements.
        if !unsafe { bindings::vfio_rs_pfn_valid(pfn) } {
            return None;
        }
        // SAFETY: The frame has a page structure.
        NonNull::new(unsafe { bindings::vfio_rs_pfn_to_page(pfn) })
    }
}

impl Drop for PinnedRun {
    fn drop(&mut self) {
        if let Some(run) = self.0 {
            // SAFETY: By the invariant; no device has seen the pages.
            unsafe { unpin(run, false) };
        }
    }
}

/// Drops one pin of each page of `run`, if it is of a kind that is pinned.
///
/// # Safety
///
/// The caller owns these pins and gives them up. No device may reach the pages on account of them.
unsafe fn unpin(run: Run, written: bool) {
    let dirty = match run.backing() {
        Backing::Pinned => written,
        // Nobody would write the contents back.
        Backing::Reserved => false,
        Backing::Device => return,
    };
    // CAST: Both came from such numbers, or are not larger than `Run::MAX_PAGES`.
    let (pfn, pages) = (run.first().get() as usize, run.pages().get() as usize);
    // SAFETY: The frames have pages, which are valid as they are pinned, and the caller gives
    // the pins up.
    unsafe { bindings::vfio_rs_unpin_pfns(pfn, pages, dirty) };
}

/// All pinned memory of a mapping, in the order of its I/O addresses.
///
/// It starts as [`PinnedRuns::NOTHING`]: no page is pinned. One run needs no memory of its own,
/// which covers small mappings and those that consist of a huge page.
///
/// # Invariants
///
/// This value owns one pin of each page of each run. Devices may reach them.
pub(crate) struct PinnedRuns(Repr);

enum Repr {
    Nothing,
    One(Run),
    Many(KBox<KVVec<Run>>),
}

impl PinnedRuns {
    /// No pinned memory.
    pub(crate) const NOTHING: Self = Self(Repr::Nothing);

    /// Whether there is no pinned memory.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Repr::Nothing)
    }

    /// The runs.
    pub(crate) fn as_slice(&self) -> &[Run] {
        match &self.0 {
            Repr::Nothing => &[],
            Repr::One(run) => core::slice::from_ref(run),
            Repr::Many(runs) => runs,
        }
    }

    /// Makes room for one more run.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reserve(&mut self) -> Result {
        match &mut self.0 {
            Repr::Nothing => Ok(()),
            Repr::One(run) => {
                let mut runs = KVVec::with_capacity(4, GFP_KERNEL_ACCOUNT)?;
                runs.push(*run, GFP_KERNEL_ACCOUNT)?;
                // INVARIANT: The same run in another place.
                self.0 = Repr::Many(KBox::new(runs, GFP_KERNEL_ACCOUNT)?);
                Ok(())
            }
            Repr::Many(runs) => Ok(runs.reserve(1, GFP_KERNEL_ACCOUNT)?),
        }
    }

    /// Takes the pins of `pinned` over, for which [`PinnedRuns::reserve`] made room.
    pub(crate) fn push(&mut self, mut pinned: PinnedRun) {
        let Some(run) = pinned.0 else {
            return;
        };
        let taken = match &mut self.0 {
            Repr::Nothing => {
                self.0 = Repr::One(run);
                true
            }
            Repr::One(_) => false,
            Repr::Many(runs) => runs.push_within_capacity(run).is_ok(),
        };
        if taken {
            // INVARIANT: The pins change hands.
            pinned.0 = None;
        } else {
            // Devices may reach the pages, so they stay pinned for ever.
            warn_on!(true);
            mem::forget(pinned);
        }
    }

    /// Gives room back that [`PinnedRuns::reserve`] made in advance, when no more runs come.
    pub(crate) fn trim(&mut self) {
        if let Repr::Many(runs) = &mut self.0 {
            // The list is complete either way.
            let _ = runs.shrink_to(0, GFP_KERNEL_ACCOUNT);
        }
    }

    /// Unpins everything, chunk by chunk, and marks the pages dirty if devices may have `written`
    /// to them.
    ///
    /// `unreachable` is called with each chunk, in order, and with the pages in it. It makes sure
    /// that no device reaches them any more and says whether that worked. Pages for which it did
    /// not stay pinned for ever; their number is returned, of those that the user pays for.
    pub(crate) fn release(
        &mut self,
        written: bool,
        mut unreachable: impl FnMut(PageCount) -> bool,
    ) -> PageCount {
        // INVARIANT: The pins are now owned by `runs` below.
        let repr = mem::replace(&mut self.0, Repr::Nothing);
        let mut runs = match &repr {
            Repr::Nothing => &[],
            Repr::One(run) => core::slice::from_ref(run),
            Repr::Many(runs) => runs.as_slice(),
        };
        let mut lost = PageCount::ZERO;
        while !runs.is_empty() {
            let (chunk, pages) = first_chunk(runs);
            if unreachable(pages) {
                for run in chunk {
                    // SAFETY: By the invariant of `self`, and because no device reaches them.
                    unsafe { unpin(*run, written) };
                }
            } else {
                lost = chunk.iter().fold(lost, |sum, run| sum.plus(run.charged()));
            }
            runs = runs.get(chunk.len()..).unwrap_or_default();
        }
        lost
    }
}

impl Drop for PinnedRuns {
    fn drop(&mut self) {
        // Whoever has pinned memory must release it first; keeping it pinned is the safe mistake.
        warn_on!(!self.is_empty());
    }
}

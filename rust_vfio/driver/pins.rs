// SPDX-License-Identifier: GPL-2.0

//! Pages of user memory that the driver of an emulated device uses.
//!
//! A driver pins pages by their I/O address ([`Access::pin`]) and notes with them what it needs to
//! find out who uses them ([`Driver::Pin`](crate::Driver::Pin)). They belong to the open device,
//! and the driver has a key ([`PinKey`]). So pages cannot stay pinned after the device was closed.
//!
//! When user space unmaps memory, [`Driver::unmapped`](crate::Driver::unmapped) sees the very pages
//! that are affected, and they are unpinned when it returns. They cannot be kept:
//!
//! ```compile_fail,E0521
//! # use kernel::{new_mutex, prelude::*, sync::Mutex};
//! # use vfio::{pins::{Pinned, Unmapped}, *};
//! #[pin_data]
//! struct Device {
//!     #[pin]
//!     kept: Mutex<Option<Pinned<'static, ()>>>,
//! }
//!
//! #[vtable]
//! impl Driver for Device {
//!     fn unmapped(&self, pages: &Unmapped<'_, Self>) {
//!         pages.for_each(|pages| *self.kept.lock() = Some(pages));
//!     }
//! #   type Migration = migration::NoMigration;
//! #   const NAME: &'static CStr = c"device";
//! #   type Iommu = Emulated;
//! #   type Session = ();
//! #   type Pin = ();
//! #   type DirtyLog = dirty::NoLog;
//! #   const REGIONS: &'static [region::Region<Self>] = &[];
//! #   fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> { Ok::<(), Error>(()) }
//! }
//! ```

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::driver::{
    access::Access,
    data::Data,
    logic::range::Range,
    object::Object, //
};

pub use crate::driver::pin_table::{
    Intent,
    PinKey,
    Pinned, //
};

impl<D: Data> Access<'_, D> {
    /// Pins the pages of `size` bytes from the I/O address `iova` on, both multiples of the page
    /// size. Sleeps. Corresponds to `vfio_pin_pages()`.
    ///
    /// # Errors
    ///
    /// Nothing is pinned then.
    ///
    /// - `EINVAL` if `iova` or `size` is no such multiple, `size` is zero, nothing is mapped at an
    ///   address, or the device has no emulated IOMMU.
    /// - `E2BIG` if these are more pages than the core pins at once (512 of 4 KiB).
    /// - `EPERM` if user space does not allow the access.
    /// - `EFAULT` if a page is not accessible.
    /// - `ENOMEM` if there is no memory, or the process may not lock more.
    #[doc(alias = "vfio_pin_pages")]
    pub fn pin(&self, iova: u64, size: usize, intent: Intent, note: D::Pin) -> Result<PinKey> {
        if iova % PAGE_SIZE as u64 != 0 || size % PAGE_SIZE != 0 || size == 0 {
            return Err(EINVAL);
        }
        // Held from before the pages are pinned until they are in the list, so that they are not
        // unmapped in between without anybody knowing of them.
        let mut pins = self.object().parts().pins.lock();
        // SAFETY: The device is open. Closing it, and `dma_unmap`, empty the list.
        unsafe {
            pins.pin(
                self.object().as_non_null(),
                iova,
                size / PAGE_SIZE,
                intent,
                note,
            )
        }
    }

    /// Calls `f` with pages that were pinned, unless user space has unmapped them. The lock of the
    /// table is held meanwhile, so `f` must neither pin nor unpin nor call this.
    ///
    /// # Errors
    ///
    /// `ENOENT` if they are not pinned any more.
    pub fn with_pinned<T>(
        &self,
        key: PinKey,
        f: impl FnOnce(Pinned<'_, D::Pin>) -> T,
    ) -> Result<T> {
        let parts = self.object().parts();
        let mut pins = parts.pins.lock();
        Ok(f(pins.get(key, &parts.written).ok_or(ENOENT)?))
    }

    /// Unpins pages. Sleeps. Corresponds to `vfio_unpin_pages()`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if they are not pinned any more.
    #[doc(alias = "vfio_unpin_pages")]
    pub fn unpin(&self, key: PinKey) -> Result {
        let note = self.object().parts().pins.lock().unpin(key);
        // The lock is not held here any more.
        note.map(drop).ok_or(ENOENT)
    }
}

/// What user space unmaps. The pages that it affects are unpinned afterwards, whatever a driver
/// does with this.
pub struct Unmapped<'a, D: Data> {
    object: &'a Object<D>,
    range: Range,
}

impl<D: Data> Unmapped<'_, D> {
    /// Returns the addresses.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Calls `f` for all pages that are affected. The lock of the table is held meanwhile, so `f`
    /// must neither pin nor unpin.
    pub fn for_each(&self, f: impl FnMut(Pinned<'_, D::Pin>)) {
        let parts = self.object.parts();
        let mut pins = parts.pins.lock();
        pins.for_each(self.range, &parts.written, f);
    }
}

/// Unpins what is pinned in `len` bytes from `iova` on, which user space unmaps, after `tell` was
/// called for it.
pub(crate) fn unmapped<D: Data>(
    object: &Object<D>,
    iova: u64,
    len: u64,
    tell: impl FnOnce(&Unmapped<'_, D>),
) {
    if let Some(range) = Range::saturating(iova, len) {
        tell(&Unmapped { object, range });
        unpin_all(object, range);
    }
}

/// Unpins what is left when the device is closed, or could not be opened.
pub(crate) fn close<D: Data>(object: &Object<D>) {
    unpin_all(object, Range::ALL);
}

/// Unpins all pages that have some of the bytes of a range.
fn unpin_all<D: Data>(object: &Object<D>, range: Range) {
    loop {
        // Bound here, so that the lock is not held when the note is dropped.
        let note = object.parts().pins.lock().unpin_any(range);
        if note.is_none() {
            return;
        }
    }
}

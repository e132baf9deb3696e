// SPDX-License-Identifier: GPL-2.0

//! Pages of user memory that the driver of an emulated device uses.
//!
//! A driver pins pages by their I/O address ([`Access::pin`]) and notes with them what it needs to
//! find out who uses them ([`Driver::Pin`](crate::Driver::Pin)). They belong to the open device, and
//! the driver has a key ([`PinKey`]). So pages cannot stay pinned after the device was closed.
//!
//! When user space unmaps memory, [`Driver::unmapped`](crate::Driver::unmapped) gets the very pages
//! that must be given back, and they are unpinned when it returns. They cannot be kept:
//!
//! ```compile_fail,E0521
//! # use kernel::{new_mutex, prelude::*, sync::Mutex};
//! # use vfio::{pins::{Unmapped, UnmappedPages}, *};
//! #[pin_data]
//! struct Device {
//!     #[pin]
//!     kept: Mutex<Option<UnmappedPages<'static, Device>>>,
//! }
//!
//! #[vtable]
//! impl Driver for Device {
//!     fn unmapped(&self, mut pins: Unmapped<'_, Self>) {
//!         *self.kept.lock() = pins.next();
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

use core::marker::PhantomData;

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::driver::{
    access::Access,
    data::Data,
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

    /// Calls `f` with pages that were pinned, unless user space has unmapped them.
    ///
    /// # Errors
    ///
    /// `ENOENT` if they are not pinned any more.
    pub fn with_pinned<T>(
        &self,
        key: PinKey,
        f: impl FnOnce(&mut Pinned<D::Pin>) -> T,
    ) -> Result<T> {
        let mut pins = self.object().parts().pins.lock();
        let at = pins.position(key).ok_or(ENOENT)?;
        Ok(f(pins.list.get_mut(at).ok_or(ENOENT)?))
    }

    /// Unpins pages. Sleeps. Corresponds to `vfio_unpin_pages()`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if they are not pinned any more.
    #[doc(alias = "vfio_unpin_pages")]
    pub fn unpin(&self, key: PinKey) -> Result {
        let mut pins = self.object().parts().pins.lock();
        let at = pins.position(key).ok_or(ENOENT)?;
        let pinned = pins.list.remove(at).map_err(|_| ENOENT)?;
        drop(pins);
        drop(pinned);
        Ok(())
    }
}

/// The pages that user space has unmapped. It is an iterator, and what it returns is unpinned when
/// it is dropped; so is what is left when this is dropped.
pub struct Unmapped<'a, D: Data> {
    object: &'a Object<D>,
    first: u64,
    last: u64,
}

/// One item of [`Unmapped`], which cannot be kept.
pub struct UnmappedPages<'a, D: Data> {
    pinned: Pinned<D::Pin>,
    _core_waits: PhantomData<&'a ()>,
}

impl<D: Data> core::ops::Deref for UnmappedPages<'_, D> {
    type Target = Pinned<D::Pin>;

    fn deref(&self) -> &Pinned<D::Pin> {
        &self.pinned
    }
}

impl<D: Data> Unmapped<'_, D> {
    fn take_one(&self) -> Option<Pinned<D::Pin>> {
        let mut pins = self.object.parts().pins.lock();
        let at = pins
            .list
            .iter()
            .position(|pinned| pinned.overlaps(self.first, self.last))?;
        pins.list.remove(at).ok()
    }
}

impl<'a, D: Data> Iterator for Unmapped<'a, D> {
    type Item = UnmappedPages<'a, D>;

    fn next(&mut self) -> Option<UnmappedPages<'a, D>> {
        Some(UnmappedPages {
            pinned: self.take_one()?,
            _core_waits: PhantomData,
        })
    }
}

impl<D: Data> Drop for Unmapped<'_, D> {
    fn drop(&mut self) {
        while let Some(pinned) = self.take_one() {
            drop(pinned);
        }
    }
}

/// Returns what is pinned in `len` bytes from `iova` on, which user space unmaps.
pub(crate) fn unmapped<D: Data>(object: &Object<D>, iova: u64, len: u64) -> Unmapped<'_, D> {
    Unmapped {
        object,
        first: iova,
        last: iova.saturating_add(len.saturating_sub(1)),
    }
}

/// Unpins what is left when the device is closed.
pub(crate) fn close<D: Data>(object: &Object<D>) {
    let list = core::mem::take(&mut object.parts().pins.lock().list);
    drop(list);
}

// SPDX-License-Identifier: GPL-2.0

//! Dirty logs: a device says which memory it has written.
//!
//! User space asks for this during a migration (`VFIO_DEVICE_FEATURE_DMA_LOGGING_*`). A driver says
//! who knows it, by [`Driver::DirtyLog`](crate::Driver::DirtyLog):
//!
//! | The type | Who knows what was written |
//! |---|---|
//! | [`NoLog`] | nobody |
//! | [`Kept`] | this crate, for a device that writes only by its driver |
//! | [`Log`] | the driver, by [`DirtyLog`] |
//!
//! Starting twice, and asking a log that was not started, are refused here. The `module!` of a
//! driver with a log needs `imports_ns: ["IOMMUFD"]`, where the core's bitmaps come from.

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::{
    bindings,
    driver::{
        access::Opened,
        data::{
            sealed::Sealed,
            Data, //
        },
        logic::words, //
    }, //
};

pub use crate::driver::logic::range::Range;

/// A device that can log which I/O addresses it writes. Called under a lock, one method at a time.
///
/// # Examples
///
/// A device with a bit for each of the 64 pages that it can write:
///
/// ```
/// # use kernel::prelude::*;
/// # use vfio::{dirty::{Bitmap, DirtyLog, Range, Ranges}, prelude::*};
/// # struct Device;
/// # impl Device {
/// #     fn set_logging(&self, _: bool) {}
/// #     fn take_bit(&self, _: u64) -> bool { true }
/// # }
/// # #[vtable]
/// # impl Driver for Device {
/// #     type DirtyLog = dirty::Log;
/// #   const NAME: &'static CStr = c"device";
/// #   type Iommu = Physical;
/// #   type Session = ();
/// #   type Pin = ();
/// #   type Migration = migration::NoMigration;
/// #   const REGIONS: &'static [Region<Self>] = &[];
/// #   fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> { Ok::<(), Error>(()) }
/// # }
/// impl DirtyLog for Device {
///     fn start(device: &Opened<'_, Self>, _: &Ranges<'_>, _page_size: u64) -> Result<u64> {
///         device.set_logging(true);
///         Ok(4096)
///     }
///
///     fn stop(device: &Opened<'_, Self>) {
///         device.set_logging(false);
///     }
///
///     fn report(device: &Opened<'_, Self>, range: Range, dirty: &mut Bitmap<'_>) -> Result {
///         let pages = range.first / 4096..=range.last / 4096;
///         for page in pages.take_while(|page| *page < 64) {
///             if device.take_bit(page) {
///                 dirty.set(page * 4096, 4096);
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait DirtyLog: Data {
    /// Begins to log writes to addresses in `ranges`, in pages of `page_size` bytes, a power of
    /// two. Returns the size of the pages that it does log.
    ///
    /// # Errors
    ///
    /// User space gets the error, and nothing is logged.
    fn start(device: &Opened<'_, Self>, ranges: &Ranges<'_>, page_size: u64) -> Result<u64>;

    /// Ends that. Also called when the device is closed.
    fn stop(device: &Opened<'_, Self>);

    /// Reports what was written in `range` since this was reported last, and forgets it.
    ///
    /// # Errors
    ///
    /// User space gets the error.
    fn report(device: &Opened<'_, Self>, range: Range, dirty: &mut Bitmap<'_>) -> Result;
}

/// The ranges that user space wants to be logged. They do not overlap.
pub struct Ranges<'a>(&'a mut bindings::rb_root_cached);

impl Ranges<'_> {
    /// # Safety
    ///
    /// `tree` must be an interval tree that nobody else uses for the lifetime of the result.
    pub(crate) unsafe fn from_raw(tree: *mut bindings::rb_root_cached) -> Self {
        // SAFETY: By the safety requirements of this function.
        Self(unsafe { &mut *tree })
    }

    /// Returns the ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        let tree = core::ptr::from_ref(&*self.0).cast_mut();
        // SAFETY: The tree is valid and does not change. The function only reads it.
        let mut node = unsafe { bindings::interval_tree_iter_first(tree, 0, usize::MAX) };
        core::iter::from_fn(move || {
            // SAFETY: The node is part of the tree, or null.
            let found = unsafe { node.as_ref() }?;
            // SAFETY: As above.
            node = unsafe { bindings::interval_tree_iter_next(node, 0, usize::MAX) };
            Some(Range {
                first: found.start as u64,
                last: found.last as u64,
            })
        })
    }
}

/// Where a device reports what it has written.
pub struct Bitmap<'a> {
    raw: &'a mut bindings::iova_bitmap,
    range: Range,
}

impl Bitmap<'_> {
    /// # Safety
    ///
    /// `bitmap` must be valid and have bits for `range`, and nobody else may use it for the
    /// lifetime of the result.
    pub(crate) unsafe fn from_raw(bitmap: *mut bindings::iova_bitmap, range: Range) -> Self {
        // SAFETY: By the safety requirements of this function.
        let raw = unsafe { &mut *bitmap };
        Self { raw, range }
    }

    /// Marks all pages of the range that is asked for. Sleeps.
    #[inline] // As below.
    pub fn set_all(&mut self) {
        // In two halves, because the size of the whole address space does not fit.
        for half in self.range.halves().into_iter().flatten() {
            self.mark(half);
        }
    }

    /// Marks the pages of these bytes, as far as they are in the range that is asked for. Sleeps:
    /// the bitmap is memory of user space.
    #[inline] // So that only modules with a dirty log need the namespace of this symbol.
    pub fn set(&mut self, first: u64, len: usize) {
        let range = Range::saturating(first, len as u64);
        if let Some(range) = range.and_then(|range| range.common(self.range)) {
            self.mark(range);
        }
    }

    /// Marks the pages of a part of the range that is asked for.
    #[inline] // As above.
    fn mark(&mut self, range: Range) {
        // Without the code of iommufd for this the core reports nothing.
        #[cfg(CONFIG_IOMMUFD_DRIVER)]
        // SAFETY: The bitmap has bits for the range. It is not the whole address space, whose size
        // would not fit.
        unsafe {
            // CAST: Addresses of the kernel's interface are native words.
            bindings::iova_bitmap_set(
                self.raw,
                range.first as usize,
                range.size().unwrap_or(u64::MAX) as usize,
            );
        }
        #[cfg(not(CONFIG_IOMMUFD_DRIVER))]
        let _ = (&self.raw, range);
    }
}

/// The device has no dirty log.
pub enum NoLog {}
/// This crate keeps the dirty log of a device with an emulated IOMMU: what the driver writes with
/// [`Access::write_memory`](crate::Access::write_memory) and
/// [`Pinned::write`](crate::pins::Pinned::write).
pub enum Kept {}
/// The driver has a dirty log: [`DirtyLog`].
pub enum Log {}

impl Sealed for NoLog {}
impl Sealed for Kept {}
impl Sealed for Log {}

/// Whether a device has a dirty log.
pub trait LogSupport<D: Data>: Sealed + 'static {
    #[doc(hidden)]
    const EXISTS: bool;
    /// Whether it knows only what the driver writes.
    #[doc(hidden)]
    const IS_KEPT: bool = false;
    #[doc(hidden)]
    fn start(_: &Opened<'_, D>, _: &Ranges<'_>, _: u64) -> Result<u64> {
        Err(ENOTTY)
    }
    #[doc(hidden)]
    fn stop(_: &Opened<'_, D>) {}
    #[doc(hidden)]
    fn report(_: &Opened<'_, D>, _: Range, _: &mut Bitmap<'_>) -> Result {
        Err(ENOTTY)
    }
}

impl<D: Data> LogSupport<D> for NoLog {
    const EXISTS: bool = false;
}

impl<D: Data> LogSupport<D> for Kept {
    const EXISTS: bool = true;
    const IS_KEPT: bool = true;

    fn start(device: &Opened<'_, D>, _: &Ranges<'_>, _: u64) -> Result<u64> {
        device.object().parts().written.turn(true);
        Ok(PAGE_SIZE as u64)
    }

    fn stop(device: &Opened<'_, D>) {
        device.object().parts().written.turn(false);
    }

    fn report(device: &Opened<'_, D>, range: Range, dirty: &mut Bitmap<'_>) -> Result {
        let written = &device.object().parts().written;
        if written.is_full() {
            dirty.set_all();
        }
        let mut next = 0;
        while let Some((word, bits)) = written.take(range, next) {
            for page in words::pages(word, bits) {
                dirty.set(page.saturating_mul(PAGE_SIZE as u64), PAGE_SIZE);
            }
            next = word.saturating_add(1);
        }
        Ok(())
    }
}

impl<D: DirtyLog> LogSupport<D> for Log {
    const EXISTS: bool = true;

    fn start(device: &Opened<'_, D>, ranges: &Ranges<'_>, page_size: u64) -> Result<u64> {
        D::start(device, ranges, page_size)
    }

    fn stop(device: &Opened<'_, D>) {
        D::stop(device);
    }

    fn report(device: &Opened<'_, D>, range: Range, dirty: &mut Bitmap<'_>) -> Result {
        D::report(device, range, dirty)
    }
}

/// Starts the log.
///
/// # Errors
///
/// - `EINVAL` if it was started.
/// - Any error of [`DirtyLog::start`].
pub(crate) fn start<D: Data, L: LogSupport<D>>(
    device: &Opened<'_, D>,
    ranges: &Ranges<'_>,
    page_size: &mut u64,
) -> Result {
    let mut is_logging = device.object().parts().is_logging.lock();
    if *is_logging {
        return Err(EINVAL);
    }
    *page_size = L::start(device, ranges, *page_size)?;
    *is_logging = true;
    Ok(())
}

/// Stops the log.
///
/// # Errors
///
/// `EINVAL` if it was not started.
pub(crate) fn stop<D: Data, L: LogSupport<D>>(device: &Opened<'_, D>) -> Result {
    let mut is_logging = device.object().parts().is_logging.lock();
    if !*is_logging {
        return Err(EINVAL);
    }
    *is_logging = false;
    L::stop(device);
    Ok(())
}

/// Reports what was written in the range of a bitmap.
///
/// # Errors
///
/// - `EINVAL` if the log was not started.
/// - Any error of [`DirtyLog::report`].
pub(crate) fn report<D: Data, L: LogSupport<D>>(
    device: &Opened<'_, D>,
    dirty: &mut Bitmap<'_>,
) -> Result {
    let is_logging = device.object().parts().is_logging.lock();
    if !*is_logging {
        return Err(EINVAL);
    }
    L::report(device, dirty.range, dirty)
}

/// Stops the log, if it was started, because the device is being closed.
pub(crate) fn close<D: Data, L: LogSupport<D>>(device: &Opened<'_, D>) {
    let _ = stop::<D, L>(device);
}

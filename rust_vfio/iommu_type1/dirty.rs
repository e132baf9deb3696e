// SPDX-License-Identifier: GPL-2.0

//! DIRTY_PAGES (contract 6.16): reports the pages that devices may have written, for migration.
//!
//! The backend does not ask the IOMMU which pages devices have written. So every page is dirty
//! while there is a group whose devices can write to any page. Drivers of emulated devices, and
//! drivers of physical devices that have pinned pages, are trusted to write only to pages that they
//! have pinned, or through `vfio_dma_rw()`.
//!
//! How the dirty pages of a mapping are recorded is in [`tracking`](crate::iommu_type1::tracking),
//! and how they are written to user space in
//! [`dirty_report`](crate::iommu_type1::dirty_report). All state is protected by the lock of the
//! container.
//!
//! Corresponds to `vfio_iommu_type1_dirty_pages()`, `vfio_iova_dirty_bitmap()`,
//! `vfio_dma_bitmap_alloc_all()`, `vfio_dma_bitmap_free_all()` and
//! `vfio_iommu_populate_bitmap_full()`.
//!
//! Deviation: C allocates the bitmaps of all mappings when tracking starts, and fails with `ENOMEM`
//! if there is no memory. We allocate the bitmap of a mapping when its first page becomes dirty, so
//! that starting does not fail for this reason.
//!
//! Deviation: C clears the bits of a mapping once these were written to user space, so that they
//! are lost if the report of a later mapping fails. We clear none before user space has the whole
//! report.
//!
//! Deviation: C keeps the bits as they are if the page size of the domains changes, so that they
//! stand for wrong pages. We make all pages dirty then.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        dirty_report::{
            Report,
            UserBitmap, //
        },
        logic::{
            dirty,
            units::{
                Iova,
                IovaRange, //
            },
            unmap_plan::{
                aligned,
                smallest_page,
                Target,
                Version, //
            }, //
        },
        refusal::DmaRefusal,
        state::{
            Type1,
            Type1State, //
        },
        trace,
        tracking::Tracking,
        uapi::{
            self,
            fits_native, //
        }, //
    },
    kernel::uaccess::UserAddr, //
};

impl Type1 {
    /// Handles DIRTY_PAGES: starts or stops the tracking of dirty pages, or writes the dirty pages
    /// in a range to a bitmap in user space and clears them.
    ///
    /// Takes the lock of the container. The bitmap is written with the lock held. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EACCES` with version 1 of the interface.
    /// - `EFAULT` if the request cannot be read.
    /// - `EINVAL` if `argsz` is too small, or not exactly one known flag is set.
    /// - START: `EINVAL` if the domains have no page size in common, or a mapping has more than
    ///   2^31 - 1 pages of the smallest page size.
    /// - GET_BITMAP, in this order: `EINVAL` if `argsz` does not cover the range; `EFAULT` if the
    ///   range cannot be read; `EOVERFLOW` if a number does not fit a native word; `EINVAL` if the
    ///   size is zero; `EOVERFLOW` if the range wraps; `EINVAL` if the bitmap is not in user space,
    ///   its size does not fit that of the range, or its page size is zero; `EINVAL` if dirty pages
    ///   are not tracked, or the page size of the bitmap is not the smallest; `EINVAL` if the
    ///   address or the size is not a multiple of the page size; `EINVAL` if a mapping is only
    ///   partly in the range; `EFAULT` if the bitmap cannot be read or written. No page is cleared
    ///   in any of these cases.
    #[doc(alias = "vfio_iommu_type1_dirty_pages")]
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    pub(super) fn dirty_pages(&self, arg: UserAddr) -> Result<isize> {
        if self.state.lock().version == Version::V1 {
            return Err(EACCES);
        }
        let request: uapi::DirtyPages = arg.read()?;
        let header = core::mem::size_of_val(&request);
        let arguments = DmaRefusal::Arguments {
            argsz: request.argsz,
            flags: request.flags,
        };
        if (request.argsz as usize) < header {
            return Err(arguments.report(EINVAL));
        }
        let (mut iova, mut size) = (0, 0);
        let result = match request.flags {
            uapi::DIRTY_START => self.state.lock().start_tracking(),
            uapi::DIRTY_STOP => {
                self.state.lock().stop_tracking();
                Ok(())
            }
            uapi::DIRTY_GET_BITMAP => {
                if (request.argsz as usize) - header < core::mem::size_of::<uapi::DirtyRange>() {
                    return Err(arguments.report(EINVAL));
                }
                let range: uapi::DirtyRange = arg.offset(header).read()?;
                (iova, size) = (range.iova, range.size);
                self.report(range)
            }
            _ => return Err(arguments.report(EINVAL)),
        };
        trace::dirty(request.flags, iova, size, &result);
        result.map(|()| 0)
    }

    /// Does a GET_BITMAP. Takes the lock of the container.
    ///
    /// # Errors
    ///
    /// Those of [`Type1::dirty_pages`] for GET_BITMAP from `EOVERFLOW` on.
    fn report(&self, request: uapi::DirtyRange) -> Result {
        fits_native(&[request.iova, request.size])?;
        let range = IovaRange::with_len(Iova::new(request.iova), request.size)
            .map_err(crate::iommu_type1::logic::unmap_plan::RangeRefusal::from)?;
        let bitmap = UserBitmap::new(request.bitmap, request.size)?;
        let mut state = self.state.lock();
        state.can_report(&bitmap)?;
        if !aligned(&[request.iova, request.size], bitmap.page) {
            return Err(EINVAL);
        }
        state.report_range(range, &bitmap)
    }
}

impl Type1State {
    /// Starts the tracking of dirty pages. Does nothing if they are tracked already.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the domains have no page size in common, or a mapping has too many pages.
    fn start_tracking(&mut self) -> Result {
        if self.tracking.is_some() {
            return Ok(());
        }
        let page = smallest_page(self.domains.page_sizes())?;
        self.mappings.try_for_each(|range, mapping| {
            mapping.clear_dirty();
            can_track(range, page)
        })?;
        self.tracking = Some(Tracking { page });
        Ok(())
    }

    /// Stops the tracking of dirty pages and frees the bitmaps.
    fn stop_tracking(&mut self) {
        self.tracking = None;
        let _ = self.mappings.try_for_each(|_, mapping| {
            mapping.all_dirty = false;
            if let Some(extras) = mapping.extras_mut() {
                extras.dirty = KVVec::new();
            }
            Ok(())
        });
    }

    /// Checks that a mapping of `range` has not too many pages for tracking, if pages are tracked.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it has.
    pub(super) fn can_track(&self, range: IovaRange) -> Result {
        match self.tracking {
            Some(tracking) => can_track(range, tracking.page),
            None => Ok(()),
        }
    }

    /// Checks that dirty pages can be written to `bitmap`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they are not tracked, the domains have no page size in common, or the page size
    /// of the bitmap is not the smallest.
    pub(super) fn can_report(&self, bitmap: &UserBitmap) -> Result {
        if self.tracking.is_none() || bitmap.page != smallest_page(self.domains.page_sizes())? {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Writes the dirty pages of all mappings in `range` to `bitmap`, and then clears them.
    ///
    /// # Errors
    ///
    /// No page is cleared then.
    ///
    /// - `EINVAL` if a mapping is only partly in the range.
    /// - `EFAULT` if the bitmap cannot be read or written.
    #[doc(alias = "vfio_iova_dirty_bitmap")]
    fn report_range(&mut self, range: IovaRange, bitmap: &UserBitmap) -> Result {
        self.check_cuts(Target::Range(range))?;
        let anywhere = self.domains.write_anywhere();
        let mut report = Report::new(bitmap, range.first());
        let mut remembers = false;
        let mut next = self.mappings.place_from(range.first());
        while let Some(mut place) = next {
            let Some(found) = place.range().filter(|found| range.overlaps(*found)) else {
                break;
            };
            let mapping = place.mapping();
            mapping.report_dirty(found, anywhere, &mut report)?;
            remembers |= mapping.remembers();
            next = place.next();
        }
        report.flush()?;
        if !remembers {
            return Ok(());
        }

        let mut next = self.mappings.place_from(range.first());
        while let Some(mut place) = next {
            if !place.range().is_some_and(|found| range.overlaps(found)) {
                break;
            }
            place.mapping().clear_dirty();
            next = place.next();
        }
        Ok(())
    }

    /// Makes all pages of all mappings dirty, if dirty pages are tracked.
    #[doc(alias = "vfio_iommu_populate_bitmap_full")]
    pub(super) fn mark_all_dirty(&mut self) {
        if self.tracking.is_some() {
            let _ = self.mappings.try_for_each(|_, mapping| {
                mapping.all_dirty = true;
                Ok(())
            });
        }
    }

    /// Adjusts the tracking to the page sizes of the domains after these may have changed. If the
    /// smallest is another one, the bits are of no use any more, and all pages become dirty.
    pub(super) fn page_sizes_changed(&mut self) {
        let Some(tracking) = self.tracking else {
            return;
        };
        let page = smallest_page(self.domains.page_sizes()).unwrap_or(tracking.page);
        if page == tracking.page {
            return;
        }
        self.stop_tracking();
        self.tracking = Some(Tracking { page });
        self.mark_all_dirty();
    }
}

/// Checks that a mapping of `range` has not too many pages of `page` bytes for tracking.
///
/// # Errors
///
/// `EINVAL` if it has more than [`dirty::MAX_MAPPING_PAGES`].
fn can_track(range: IovaRange, page: u64) -> Result {
    match dirty::pages_of(range.bytes(), page) {
        Some(0..=dirty::MAX_MAPPING_PAGES) => Ok(()),
        _ => Err(EINVAL),
    }
}

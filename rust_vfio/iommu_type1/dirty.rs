// SPDX-License-Identifier: GPL-2.0

//! Which pages devices may have written, for users that migrate: DIRTY_PAGES (contract 6.16).
//!
//! An IOMMU does not say what devices wrote. So while any group's devices can write everywhere,
//! every mapped page is dirty. Drivers of emulated devices, and those of physical ones that have
//! begun to pin pages, are trusted to write only to what is pinned or copied through them.
//!
//! A mapping remembers pages that were unpinned or written, in a bitmap that is made when the
//! first such page appears; those that are pinned now are always dirty. If there is no memory for
//! a bitmap, all pages of the mapping count as dirty, which is always safe.
//!
//! Deviations from C, which makes a bitmap for every mapping when tracking starts: starting cannot
//! fail for want of memory; and nothing that is remembered is touched before user space has the
//! whole report, while in C a bitmap is shifted in place and stays so if it cannot be copied.

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
        state::{
            Type1,
            Type1State, //
        },
        tracking::Tracking,
        uapi::{
            self,
            fits_native, //
        }, //
    },
    kernel::uaccess::UserAddr, //
};

impl Type1 {
    /// DIRTY_PAGES.
    ///
    /// # Errors
    ///
    /// See contract 6.16.
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    pub(super) fn dirty_pages(&self, arg: UserAddr) -> Result<isize> {
        if self.state.lock().version == Version::V1 {
            return Err(EACCES);
        }
        let request: uapi::DirtyPages = arg.read()?;
        let header = core::mem::size_of_val(&request);
        if (request.argsz as usize) < header {
            return Err(EINVAL);
        }
        match request.flags {
            uapi::DIRTY_START => self.state.lock().start_tracking()?,
            uapi::DIRTY_STOP => self.state.lock().stop_tracking(),
            uapi::DIRTY_GET_BITMAP => {
                if (request.argsz as usize) - header < core::mem::size_of::<uapi::DirtyRange>() {
                    return Err(EINVAL);
                }
                let range: uapi::DirtyRange = arg.offset(header).read()?;
                self.report(range)?;
            }
            _ => return Err(EINVAL),
        }
        Ok(0)
    }

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
    /// Begins to track dirty pages. Goes on if they are tracked already.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a mapping is too large.
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

    /// Ends it and forgets which pages were dirty.
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

    /// Whether `range` may become a mapping as far as tracking is concerned.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is too large.
    pub(super) fn can_track(&self, range: IovaRange) -> Result {
        match self.tracking {
            Some(tracking) => can_track(range, tracking.page),
            None => Ok(()),
        }
    }

    /// Whether dirty pages can be reported to `bitmap`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they are not tracked, or if it is for pages of another size.
    pub(super) fn can_report(&self, bitmap: &UserBitmap) -> Result {
        if self.tracking.is_none() || bitmap.page != smallest_page(self.domains.page_sizes())? {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Reports the dirty pages of all mappings in `range`, and forgets them once user space has
    /// them all.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that would cut a mapping, `EFAULT`. Nothing is forgotten then.
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

    /// Notes, if dirty pages are tracked, that all pages are.
    pub(super) fn mark_all_dirty(&mut self) {
        if self.tracking.is_some() {
            let _ = self.mappings.try_for_each(|_, mapping| {
                mapping.all_dirty = true;
                Ok(())
            });
        }
    }

    /// Adjusts tracking after the page sizes of the domains changed: bits that stood for pages of
    /// another size say nothing any more, so all pages count as dirty.
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

/// Whether a bitmap for `range` can be as large as it has to be.
fn can_track(range: IovaRange, page: u64) -> Result {
    match dirty::pages_of(range.bytes(), page) {
        Some(0..=dirty::MAX_MAPPING_PAGES) => Ok(()),
        _ => Err(EINVAL),
    }
}

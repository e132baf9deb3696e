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
    ffi::{
        type1_uapi as uapi,
        uapi::UserAddr, //
    },
    logic::{
        dirty::{
            self,
            Bits, //
        },
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
    }, //
};

use super::{
    dirty_report::{
        Report,
        UserBitmap, //
    },
    dma::fits_native,
    mapping::Mapping,
    State,
    Type1, //
};

/// Dirty pages are tracked, a bit for each page of this size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tracking {
    /// In bytes: the smallest page of all domains.
    page: u64,
}

impl Tracking {
    /// Which page of a mapping with the addresses `range` has `iova`.
    fn page_of(self, range: IovaRange, iova: Iova) -> u64 {
        let offset = iova
            .min(range.last())
            .get()
            .saturating_sub(range.first().get());
        dirty::pages_of(offset, self.page).unwrap_or(0)
    }

    /// How many pages the mapping has.
    fn pages(self, range: IovaRange) -> u64 {
        self.page_of(range, range.last()).saturating_add(1)
    }
}

impl Mapping {
    /// Forgets which pages are dirty, except for those that are pinned.
    fn clear_dirty(&mut self) {
        self.all_dirty = false;
        if let Some(extras) = self.extras_mut() {
            extras.dirty.as_mut_slice().fill(0);
        }
    }

    /// Notes that the pages with the addresses from `first` to `last`, both included, are dirty.
    /// `range` is all of the mapping's addresses.
    #[inline(never)] // Most callers have nothing to note.
    pub(super) fn mark_dirty(
        &mut self,
        range: IovaRange,
        first: Iova,
        last: Iova,
        tracking: Tracking,
    ) {
        if self.all_dirty {
            return;
        }
        match self.dirty_words(tracking.pages(range)) {
            Ok(words) => {
                dirty::set(
                    words,
                    tracking.page_of(range, first),
                    tracking.page_of(range, last),
                );
            }
            Err(_) => self.all_dirty = true,
        }
    }

    /// The bitmap for `pages` pages, made if there is none yet.
    fn dirty_words(&mut self, pages: u64) -> Result<&mut [u64]> {
        let words = usize::try_from(pages.div_ceil(u64::from(u64::BITS)))?;
        let dirty = &mut self.need_extras()?.dirty;
        if dirty.is_empty() {
            *dirty = KVVec::zeroed(words, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(dirty.as_mut_slice())
    }

    /// Whether [`Mapping::clear_dirty`] has anything to do.
    fn remembers(&self) -> bool {
        self.all_dirty || self.extras().is_some()
    }

    /// Adds the dirty pages of this mapping, which has all of `range`, to a report. All are dirty
    /// if devices can write `anywhere`.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(super) fn report_dirty(
        &mut self,
        range: IovaRange,
        anywhere: bool,
        report: &mut Report<'_>,
    ) -> Result {
        let page = report.bitmap.page;
        let all = anywhere || self.all_dirty || !self.mark_pinned(range, Tracking { page });
        let bits = match self.extras() {
            _ if all => Bits::All,
            Some(extras) => Bits::Some(&extras.dirty),
            None => Bits::None,
        };
        report.add(range, bits)
    }

    /// Notes that the pages that are pinned are dirty. Returns whether there is memory for that.
    fn mark_pinned(&mut self, range: IovaRange, tracking: Tracking) -> bool {
        if !self.has_pins() {
            return true;
        }
        if self.dirty_words(tracking.pages(range)).is_err() {
            return false;
        }
        if let Some(extras) = self.extras_mut() {
            for iova in extras.pins.addresses() {
                let page = tracking.page_of(range, iova);
                dirty::set(&mut extras.dirty, page, page);
            }
        }
        true
    }
}

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
            .map_err(crate::logic::unmap_plan::Refusal::from)?;
        let bitmap = UserBitmap::new(request.bitmap, request.size)?;
        let mut state = self.state.lock();
        state.can_report(&bitmap)?;
        if !aligned(&[request.iova, request.size], bitmap.page) {
            return Err(EINVAL);
        }
        state.report_range(range, &bitmap)
    }
}

impl State {
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

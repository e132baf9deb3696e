// SPDX-License-Identifier: GPL-2.0

//! The dirty pages that a mapping remembers.
//!
//! A mapping remembers pages that were unpinned or written, in a bitmap that is made when the
//! first such page appears; those that are pinned now are always dirty. If there is no memory for
//! a bitmap, all pages of the mapping count as dirty, which is always safe.
//!
//! Corresponds to `vfio_dma.bitmap` and the functions around it.

use kernel::prelude::*;

use crate::iommu_type1::{
    dirty_report::Report,
    logic::{
        dirty::{
            self,
            Bits, //
        },
        units::{
            Iova,
            IovaRange, //
        }, //
    },
    mapping::Mapping, //
};

/// Dirty pages are tracked, a bit for each page of this size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tracking {
    /// In bytes: the smallest page of all domains.
    pub(super) page: u64,
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
    pub(super) fn clear_dirty(&mut self) {
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
    pub(super) fn remembers(&self) -> bool {
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

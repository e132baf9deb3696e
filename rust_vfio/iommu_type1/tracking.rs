// SPDX-License-Identifier: GPL-2.0

//! The record of the dirty pages of a mapping.
//!
//! A mapping has a bitmap of the pages that drivers have written or unpinned, which is allocated
//! when there is the first such page. Pages that are pinned count as dirty without a bit. If there
//! is no memory for the bitmap all pages of the mapping count as dirty. Protected by the lock of
//! the container.
//!
//! Corresponds to `bitmap` of `struct vfio_dma`, `vfio_dma_bitmap_alloc()` and
//! `vfio_dma_populate_bitmap()`.

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

/// The parameters of the tracking of dirty pages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tracking {
    /// The number of bytes for which a bit stands: the smallest page size of the domains.
    pub(super) page: u64,
}

impl Tracking {
    /// Returns the number of the page that contains `iova` in a mapping with the addresses `range`.
    fn page_of(self, range: IovaRange, iova: Iova) -> u64 {
        let offset = iova
            .min(range.last())
            .get()
            .saturating_sub(range.first().get());
        dirty::pages_of(offset, self.page).unwrap_or(0)
    }

    /// Returns the number of pages of a mapping with the addresses `range`.
    fn pages(self, range: IovaRange) -> u64 {
        self.page_of(range, range.last()).saturating_add(1)
    }
}

impl Mapping {
    /// Makes all pages clean, except for those that are pinned.
    pub(super) fn clear_dirty(&mut self) {
        self.all_dirty = false;
        if let Some(extras) = self.extras_mut() {
            extras.dirty.as_mut_slice().fill(0);
        }
    }

    /// Makes the pages with the addresses from `first` to `last`, both inclusive, dirty. `range`
    /// are the addresses of the mapping.
    #[inline(never)] // Most callers call this only while pages are tracked.
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

    /// Returns the bitmap, for `pages` pages. Allocates it if there is none yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    fn dirty_words(&mut self, pages: u64) -> Result<&mut [u64]> {
        let words = usize::try_from(pages.div_ceil(u64::from(u64::BITS)))?;
        let dirty = &mut self.need_extras()?.dirty;
        if dirty.is_empty() {
            *dirty = KVVec::zeroed(words, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(dirty.as_mut_slice())
    }

    /// Returns whether [`Mapping::clear_dirty`] may have something to do.
    pub(super) fn remembers(&self) -> bool {
        self.all_dirty || self.extras().is_some()
    }

    /// Adds the dirty pages of this mapping, whose addresses are `range`, to `report`. All pages
    /// are dirty if devices can write `anywhere`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the bitmap in user space cannot be read or written.
    #[doc(alias = "update_user_bitmap")]
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

    /// Sets the bits of the pages that are pinned. Returns whether there is memory for the bitmap.
    #[doc(alias = "vfio_dma_populate_bitmap")]
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

// SPDX-License-Identifier: GPL-2.0

//! Pages that drivers of emulated devices use: `vfio_pin_pages()` and `vfio_unpin_pages()`.
//!
//! A pin is known by the exact address that the driver named, which need not be that of a page:
//! some drivers pin what an address of theirs is in. Pinning an address again counts.
//!
//! Who pays: while the container has a domain the whole mapping is pinned and paid for, so a pin
//! costs nothing; otherwise it costs a page.
//!
//! Deviation from C: the page pinned is the one that has the address. C also accepts an address
//! just below a mapping and pins user memory below it.

use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    warn_on, //
};

use crate::{
    iommu_type1::{
        logic::{
            runs::Run,
            units::{
                Iova,
                IovaRange,
                PageCount, //
            },
            unmap_plan::Version, //
        },
        mapping::Mapping,
        memory::pin::pin_page,
        pin_table::Pin,
        state::{
            Type1,
            Type1State, //
        },
        views::driver_buffers::PageSlots, //
    },
    kernel::{
        iommu::GroupHandle,
        mm,
        pages::{
            PageRef,
            UserMm, //
        }, //
    }, //
};

impl Mapping {
    /// Pins the page that has `iova`, which is in this mapping and not pinned yet.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the process is gone; `EFAULT`; `EINVAL` for memory without a page structure;
    /// `ENOMEM` beyond `RLIMIT_MEMLOCK` if the user has to pay, or without memory.
    fn pin(&mut self, iova: Iova, pays: bool) -> Result<PageRef> {
        let offset = iova.get().wrapping_sub(self.first().get());
        // CAST: Not larger than the mapping. A pin is a whole page, wherever in it the address is.
        let vaddr = self.vaddr().wrapping_add(offset as usize) & !(mm::PAGE_SIZE - 1);
        let write = self.access().write;

        let alive;
        let memory = if self.owner().is_current_mm() {
            UserMm::Current
        } else {
            alive = self.owner().memory().ok_or(ENODEV)?;
            UserMm::Remote(&alive)
        };
        let page = pin_page(memory, vaddr, write)?;
        let found = page.first_page().ok_or(EINVAL)?;
        let slot = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        self.need_extras()?;
        if pays {
            let price = page.run().map_or(PageCount::ZERO, Run::accounted);
            self.owner().account(price)?;
            self.accounted.add(price);
        }
        if let Some(extras) = self.extras_mut() {
            let pin = Pin { page, users: 1 };
            extras.pins.0.insert(slot.into_node(iova, pin));
        }
        Ok(found)
    }

    /// One user less of the page that has `iova`. If that was the last one the page is unpinned,
    /// and its price returned.
    fn unpin(&mut self, iova: Iova) -> Option<PageCount> {
        let write = self.access().write;
        let page = self.extras_mut()?.pins.release(iova)?;
        let price = page.run().map_or(PageCount::ZERO, Run::accounted);
        page.unpin(write);
        Some(price)
    }
}

impl Type1 {
    /// Pins the pages at and behind `iova`, for a driver that has a device in `group`, and writes
    /// them to `pages`.
    ///
    /// # Errors
    ///
    /// See contract 6.13. Nothing is pinned then, and `pages` has null pointers as far as it was
    /// written.
    pub(super) fn pin_pages(
        &self,
        group: GroupHandle,
        iova: Iova,
        prot: i32,
        pages: &mut PageSlots<'_>,
    ) -> Result {
        let mut state = self.state.lock();
        if state.version == Version::V1 {
            return Err(EACCES);
        }
        range_of(iova, pages.len()).ok_or(EOVERFLOW)?;
        state.check_all_valid()?;
        if !state.listeners.are_complete() {
            return Err(EINVAL);
        }
        for index in 0..pages.len() {
            if let Err(error) = state.pin_page(index, iova, prot, pages) {
                state.unpin(iova, index);
                pages.clear(index + 1);
                return Err(error);
            }
        }
        state.domains.mark_as_pinning(group);
        Ok(())
    }

    /// The opposite of [`Type1::pin_pages`], for `count` pages.
    pub(super) fn unpin_pages(&self, iova: Iova, count: i32) {
        let mut state = self.state.lock();
        if warn_on!(state.version == Version::V1) {
            return;
        }
        let count = usize::try_from(count).unwrap_or(0);
        if warn_on!(range_of(iova, count).is_none()) {
            return;
        }
        warn_on!(state.unpin(iova, count) != count);
    }
}

/// The addresses of `count` pages from `iova` on, if there are so many.
fn range_of(iova: Iova, count: usize) -> Option<IovaRange> {
    let bytes = count.checked_mul(mm::PAGE_SIZE)?;
    IovaRange::with_len(iova, bytes as u64).ok()
}

/// The address of page `index` from `iova` on. The caller has checked that it exists.
fn nth(iova: Iova, index: usize) -> Iova {
    Iova::new(iova.get().wrapping_add((index as u64) << mm::SHIFT))
}

impl Type1State {
    /// Whether users pay for each page that a driver pins.
    fn pays_for_pins(&self) -> bool {
        self.domains.is_empty()
    }

    fn pin_page(
        &mut self,
        index: usize,
        iova: Iova,
        prot: i32,
        pages: &mut PageSlots<'_>,
    ) -> Result {
        let pays = self.pays_for_pins();
        let iova = nth(iova, index);
        let (_, mut place) = self.mappings.at(iova).ok_or(EINVAL)?;
        let mapping = place.mapping();
        if !mapping.access().allows(prot) {
            return Err(EPERM);
        }
        let shared = mapping
            .extras_mut()
            .and_then(|extras| extras.pins.share(iova));
        let page = match shared {
            Some(page) => page,
            None => mapping.pin(iova, pays)?,
        };
        pages.set(index, page);
        Ok(())
    }

    /// Unpins `count` pages, up to one that is not even mapped. Returns how many.
    fn unpin(&mut self, iova: Iova, count: usize) -> usize {
        let pays = self.pays_for_pins();
        let tracking = self.tracking;
        let mut index = 0;
        while index < count {
            let Some((range, mut place)) = self.mappings.at(nth(iova, index)) else {
                break;
            };
            let mapping = place.mapping();
            let mut price = PageCount::ZERO;
            for at in (index..count).map(|index| nth(iova, index)) {
                if at > range.last() {
                    break;
                }
                index += 1;
                let Some(of_page) = mapping.unpin(at) else {
                    continue;
                };
                price = price.plus(of_page);
                if let Some(tracking) = tracking {
                    // While it was pinned, the pin itself said so.
                    mapping.mark_dirty(range, at, at, tracking);
                }
            }
            if pays {
                let price = mapping.accounted.take(price);
                mapping.owner().unaccount(price);
            }
        }
        index
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Pinning of single pages by drivers: `vfio_pin_pages()` and `vfio_unpin_pages()` (contract 6.13).
//!
//! While the container has a domain the whole mapping is pinned and accounted, so pins of drivers
//! are not accounted. Otherwise each pin is accounted to the owner of the mapping.
//!
//! Corresponds to `vfio_iommu_type1_pin_pages()`, `vfio_iommu_type1_unpin_pages()`,
//! `vfio_pin_page_external()` and `vfio_unpin_page_external()`.
//!
//! Deviation: C accepts an address that is less than a page below a mapping, and then pins user
//! memory below the mapping. We require that the mapping contains the address, and fail with
//! `EINVAL` otherwise.

use kernel::{
    prelude::*,
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
        pin_table::PinSlot,
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
    /// Pins the page that contains `iova`, an address of this mapping that is not pinned yet.
    /// Accounts it to the owner if `account`. Uses the memory in `spare`, if there is some.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the process that made the mapping has exited.
    /// - Those of [`pin_page`] if the page cannot be pinned: `EFAULT`, `EINTR`, `ENOMEM` and
    ///   others.
    /// - `EINVAL` if the page has no page structure.
    /// - `ENOMEM` if there is no memory.
    /// - With `account`: `EINTR` if the calling task was killed while it waited for the
    ///   `mmap_lock`, and `ENOMEM` if the account would exceed `RLIMIT_MEMLOCK`.
    #[doc(alias = "vfio_pin_page_external")]
    fn pin(&mut self, iova: Iova, account: bool, spare: &mut Option<PinSlot>) -> Result<PageRef> {
        let offset = iova.get().wrapping_sub(self.first().get());
        // The address is rounded down, as a whole page is pinned.
        // CAST: The offset is less than the size of the mapping, which fits native words.
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
        let slot = spare.take().map_or_else(PinSlot::new, Ok)?;
        self.need_extras()?;
        if account {
            let pages = page.run().map_or(PageCount::ZERO, Run::accounted);
            self.owner().account(pages)?;
            self.accounted.add(pages);
        }
        if let Some(extras) = self.extras_mut() {
            extras.pins.insert(slot, iova, page);
        }
        Ok(found)
    }

    /// Removes a user from the pin at `iova`. With the last one unpins the page and returns the
    /// number of accounted pages, 0 or 1. The memory for the pin goes to `spare`.
    #[doc(alias = "vfio_unpin_page_external")]
    fn unpin(&mut self, iova: Iova, spare: &mut Option<PinSlot>) -> Option<PageCount> {
        let write = self.access().write;
        let (page, slot) = self.extras_mut()?.pins.release(iova)?;
        spare.get_or_insert(slot);
        let accounted = page.run().map_or(PageCount::ZERO, Run::accounted);
        page.unpin(write);
        Some(accounted)
    }
}

impl Type1 {
    /// Pins pages for a driver that has a device in `group`: one page for each element of `pages`,
    /// from `iova` on. `prot` are the accesses that the driver needs, as flags of the IOMMU API.
    ///
    /// Takes the lock of the container, and sleeps.
    ///
    /// # Errors
    ///
    /// Nothing is pinned then, and the elements of `pages` up to that of the error are null.
    ///
    /// - `EACCES` with version 1 of the interface.
    /// - `EOVERFLOW` if the addresses wrap.
    /// - `EBUSY` if the user address of a mapping is invalid.
    /// - `EINVAL` if no device that can be notified is registered, or one could not be registered
    ///   for want of memory.
    /// - `EINVAL` if nothing is mapped at an address.
    /// - `EPERM` if the mapping does not allow an access in `prot`.
    /// - `ENODEV` if the process that made the mapping has exited.
    /// - `EFAULT`, `EINTR`, `EOPNOTSUPP` or `EBUSY` if a page cannot be pinned.
    /// - `EINVAL` if a page has no page structure.
    /// - `ENOMEM` if there is no memory, or the account would exceed `RLIMIT_MEMLOCK`.
    #[doc(alias = "vfio_iommu_type1_pin_pages")]
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

    /// Unpins `count` pages from `iova` on; undoes [`Type1::pin_pages`]. Takes the lock of the
    /// container, and sleeps.
    ///
    /// The kernel warns if the version is 1, `count` is not positive, the addresses wrap, or
    /// nothing is mapped at one of them. A page that is not pinned is skipped.
    #[doc(alias = "vfio_iommu_type1_unpin_pages")]
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

/// Returns the addresses of `count` pages from `iova` on, or `None` if they wrap or `count` is
/// zero.
fn range_of(iova: Iova, count: usize) -> Option<IovaRange> {
    let bytes = count.checked_mul(mm::PAGE_SIZE)?;
    IovaRange::with_len(iova, bytes as u64).ok()
}

/// Returns the address `index` pages above `iova`. The caller has checked that it does not wrap.
fn nth(iova: Iova, index: usize) -> Iova {
    Iova::new(iova.get().wrapping_add((index as u64) << mm::SHIFT))
}

impl Type1State {
    /// Returns whether each page that a driver pins is accounted.
    fn accounts_pins(&self) -> bool {
        self.domains.is_empty()
    }

    /// Pins the page with number `index` from `iova` on, and stores it in `pages`.
    ///
    /// # Errors
    ///
    /// Those of [`Type1::pin_pages`] from the second `EINVAL` on.
    fn pin_page(
        &mut self,
        index: usize,
        iova: Iova,
        prot: i32,
        pages: &mut PageSlots<'_>,
    ) -> Result {
        let account = self.accounts_pins();
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
            None => {
                let page = mapping.pin(iova, account, &mut self.spare_pin)?;
                self.driver_pins = self.driver_pins.saturating_add(1);
                page
            }
        };
        pages.set(index, page);
        Ok(())
    }

    /// Unpins `count` pages from `iova` on, and stops at an address where nothing is mapped.
    /// Returns the number of pages up to there. The unpinned pages become dirty if dirty pages are
    /// tracked.
    fn unpin(&mut self, iova: Iova, count: usize) -> usize {
        let account = self.accounts_pins();
        let tracking = self.tracking;
        let mut done = 0;
        while done < count {
            let Some((range, mut place)) = self.mappings.at(nth(iova, done)) else {
                break;
            };
            let mapping = place.mapping();
            let mut accounted = PageCount::ZERO;
            while done < count {
                let at = nth(iova, done);
                if at > range.last() {
                    break;
                }
                done = done.saturating_add(1);
                let Some(of_page) = mapping.unpin(at, &mut self.spare_pin) else {
                    continue;
                };
                accounted = accounted.plus(of_page);
                self.driver_pins = self.driver_pins.saturating_sub(1);
                if let Some(tracking) = tracking {
                    // As long as the page was pinned it counted as dirty without a bit.
                    mapping.mark_dirty(range, at, at, tracking);
                }
            }
            if account {
                let pages = mapping.accounted.take(accounted);
                mapping.owner().unaccount(pages);
            }
        }
        done
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The number of locked pages that have been accounted for a mapping (contract 6.9).
//!
//! The account itself is the `locked_vm` of the owner's `mm_struct`. A mapping stores its share of
//! it, so that exactly this number is subtracted when the mapping goes. Additions and subtractions
//! saturate instead of wrapping: a number that is too high makes the owner reach its limit early,
//! while one that wrapped would lift the limit.
//!
//! Pages are accounted in two cases: all pages of the mapping while the container has a domain, and
//! single pages that drivers of emulated devices have pinned while it has none. A page is never
//! accounted twice. So the pages that were accounted for pins are not accounted again when the
//! whole mapping is pinned, and stay accounted when the whole mapping is unpinned.
//!
//! Corresponds to the field `locked_vm` of `struct vfio_dma`, and to the arithmetic in
//! `vfio_pin_pages_remote()`, `vfio_unpin_pages_remote()` and `vfio_iommu_unmap_unpin_reaccount()`.

use super::units::PageCount;

/// The number of pages that are accounted for one mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounted(PageCount);

impl Accounted {
    /// No page.
    pub const NOTHING: Self = Self(PageCount::ZERO);

    /// Returns the number of pages.
    pub fn pages(self) -> PageCount {
        self.0
    }

    /// Adds `pages` that have been accounted to the owner.
    pub fn add(&mut self, pages: PageCount) {
        self.0 = self.0.plus(pages);
    }

    /// Subtracts `pages`, or all if there are fewer. Returns the number subtracted, which the
    /// caller has to subtract from the owner's account.
    #[must_use = "what is subtracted here must be subtracted from the account of the owner"]
    pub fn take(&mut self, pages: PageCount) -> PageCount {
        let taken = pages.min(self.0);
        self.0 = self.0.minus(taken);
        taken
    }

    /// Subtracts `lost` pages that stay in the owner's account for ever.
    pub fn forget(&mut self, lost: PageCount) {
        self.0 = self.0.minus(lost);
    }

    /// Reduces the number to at most `rest` pages. Returns the number subtracted, which the caller
    /// has to subtract from the owner's account.
    #[must_use = "what is subtracted here must be subtracted from the account of the owner"]
    pub fn shrink_to(&mut self, rest: PageCount) -> PageCount {
        self.take(self.0.minus(rest))
    }
}

/// The pages of a mapping that were accounted for pins of drivers, before the whole mapping is
/// pinned.
#[derive(Debug)]
pub struct AccountedBefore(PageCount);

impl AccountedBefore {
    /// Returns the pages that have been accounted for a mapping so far.
    pub fn new(accounted: Accounted) -> Self {
        Self(accounted.0)
    }

    /// Covers as many of `pages` as possible, once each. Returns the number of pages that remain to
    /// be accounted.
    pub fn cover(&mut self, pages: PageCount) -> PageCount {
        let covered = pages.min(self.0);
        self.0 = self.0.minus(covered);
        pages.minus(covered)
    }

    /// Returns the number of pages that have covered none.
    pub fn rest(self) -> PageCount {
        self.0
    }
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_VFIO_RUST_KUNIT_TEST,
    kernel::macros::kunit_tests(vfio_type1_account)
)]
mod tests {
    use super::*;

    const fn pages(pages: u64) -> PageCount {
        PageCount::new(pages)
    }

    #[test]
    fn what_was_accounted_is_given_back_once() {
        let mut accounted = Accounted::NOTHING;
        accounted.add(pages(5));
        accounted.add(PageCount::ZERO);
        accounted.add(pages(7));
        accounted.forget(pages(2));
        assert_eq!(accounted.shrink_to(pages(3)), pages(7));
        assert_eq!(accounted.take(pages(9)), pages(3));
        assert_eq!(accounted.shrink_to(PageCount::ZERO), PageCount::ZERO);
        accounted.add(pages(1));
        assert_eq!(accounted.shrink_to(pages(2)), PageCount::ZERO);
    }

    #[test]
    fn pages_are_not_accounted_twice() {
        let mut accounted = Accounted::NOTHING;
        accounted.add(pages(3));
        let mut before = AccountedBefore::new(accounted);
        assert_eq!(before.cover(pages(2)), PageCount::ZERO);
        assert_eq!(before.cover(pages(2)), pages(1));
        assert_eq!(before.cover(pages(2)), pages(2));
        assert_eq!(before.rest(), PageCount::ZERO);
    }
}

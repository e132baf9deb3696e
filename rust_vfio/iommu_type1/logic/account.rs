// SPDX-License-Identifier: GPL-2.0

//! How many locked pages a mapping has been accounted for.
//!
//! The charge itself is in the user's address space (`locked_vm`); a mapping notes its share so
//! that exactly this much is given back, however it goes. Counting saturates instead of wrapping:
//! a wrong number would lock a user out, a wrapped one would let everybody in.
//!
//! Two kinds of pages are accounted: those of the whole mapping while a domain has it, and those
//! that drivers of emulated devices pinned one by one while none has it. A page is never accounted
//! for both, so what was paid for pins counts when the whole mapping is pinned, and stays paid
//! when it is unpinned again.

use super::units::PageCount;

/// The pages that one mapping has been accounted for and not given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounted(PageCount);

impl Accounted {
    /// Nothing yet.
    pub const NOTHING: Self = Self(PageCount::ZERO);

    /// The number of pages.
    pub fn pages(self) -> PageCount {
        self.0
    }

    /// Notes a charge that was made.
    pub fn add(&mut self, pages: PageCount) {
        self.0 = self.0.plus(pages);
    }

    /// Notes that `pages` are to be given back. Returns how many of them there are.
    #[must_use = "whatever is taken out must be given back to the user"]
    pub fn take(&mut self, pages: PageCount) -> PageCount {
        let taken = pages.min(self.0);
        self.0 = self.0.minus(taken);
        taken
    }

    /// Notes that `lost` pages stay accounted for ever, but no longer to this mapping.
    pub fn forget(&mut self, lost: PageCount) {
        self.0 = self.0.minus(lost);
    }

    /// What has to be given back when only `rest` pages are still used.
    #[must_use = "whatever is taken out must be given back to the user"]
    pub fn shrink_to(&mut self, rest: PageCount) -> PageCount {
        self.take(self.0.minus(rest))
    }
}

/// Pages that were paid for in advance.
#[derive(Debug)]
pub struct Credit(PageCount);

impl Credit {
    /// What a mapping has been accounted for so far.
    pub fn of(accounted: Accounted) -> Self {
        Self(accounted.0)
    }

    /// Uses the credit for `pages`. Returns how many of them are still to be paid for.
    pub fn pay(&mut self, pages: PageCount) -> PageCount {
        let free = pages.min(self.0);
        self.0 = self.0.minus(free);
        pages.minus(free)
    }

    /// What was not used.
    pub fn left(self) -> PageCount {
        self.0
    }
}

#[cfg(test)]
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
    fn pages_are_not_paid_for_twice() {
        let mut accounted = Accounted::NOTHING;
        accounted.add(pages(3));
        let mut credit = Credit::of(accounted);
        assert_eq!(credit.pay(pages(2)), PageCount::ZERO);
        assert_eq!(credit.pay(pages(2)), pages(1));
        assert_eq!(credit.pay(pages(2)), pages(2));
        assert_eq!(credit.left(), PageCount::ZERO);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! How many locked pages a mapping has been charged for.
//!
//! The charge itself is in the user's address space (`locked_vm`); a mapping notes its share so
//! that exactly this much is given back, however it goes. Counting saturates instead of wrapping:
//! a wrong number would lock a user out, a wrapped one would let everybody in.

use super::units::PageCount;

/// The pages that one mapping has been charged for and not given back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Charged(PageCount);

impl Charged {
    /// Nothing yet.
    pub const NOTHING: Self = Self(PageCount::ZERO);

    /// Notes a charge that was made.
    pub fn add(&mut self, pages: PageCount) {
        self.0 = self.0.plus(pages);
    }

    /// What has to be given back when the mapping's memory is unpinned, except for `kept` pages
    /// that could not be. Those stay charged, but no longer to this mapping.
    #[must_use = "whatever is taken out must be given back to the user"]
    pub fn take(&mut self, kept: PageCount) -> PageCount {
        let pages = self.0.minus(kept);
        self.0 = PageCount::ZERO;
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_charged_is_given_back_once() {
        let mut charged = Charged::NOTHING;
        charged.add(PageCount::new(5));
        charged.add(PageCount::ZERO);
        charged.add(PageCount::new(7));
        assert_eq!(charged.take(PageCount::new(2)), PageCount::new(10));
        assert_eq!(charged.take(PageCount::ZERO), PageCount::ZERO);
        charged.add(PageCount::new(1));
        assert_eq!(charged.take(PageCount::new(2)), PageCount::ZERO);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The quantities of the type1 backend, so that one cannot be taken for another.
//!
//! Ranges of I/O addresses are *inclusive* at both ends. The last address of a range always
//! exists, the one after it may not: a mapping may end at the top of the address space.

/// An I/O virtual address: what a device puts on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Iova(u64);

impl Iova {
    /// The lowest address.
    pub const MIN: Self = Self(0);
    /// The highest address.
    pub const MAX: Self = Self(u64::MAX);

    /// The address `addr`.
    pub const fn new(addr: u64) -> Self {
        Self(addr)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on, unless that is beyond the top.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// The address just below, if there is one.
    pub fn before(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// The address just above, if there is one.
    pub fn after(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// The number of a page frame of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pfn(u64);

impl Pfn {
    /// The frame with number `pfn`.
    pub const fn new(pfn: u64) -> Self {
        Self(pfn)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A number of base pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageCount(u64);

impl PageCount {
    /// No page.
    pub const ZERO: Self = Self(0);

    /// `pages` pages.
    pub const fn new(pages: u64) -> Self {
        Self(pages)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether there is none.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The size in bytes, at most what an integer holds.
    pub fn bytes(self, page_shift: u32) -> u64 {
        self.0.saturating_mul(1 << page_shift)
    }

    /// The sum, at most what an integer holds.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, at least zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Why there is no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// It would have no address.
    Empty,
    /// It would go beyond the top of the address space.
    Wraps,
}

/// The addresses from `first` to `last`, both included.
///
/// # Invariants
///
/// `first <= last`, so a range is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IovaRange {
    first: Iova,
    last: Iova,
}

impl IovaRange {
    /// The whole address space.
    pub const ALL: Self = Self {
        first: Iova::MIN,
        last: Iova::MAX,
    };

    /// The range with these ends, if they are in order.
    pub fn new(first: Iova, last: Iova) -> Option<Self> {
        // INVARIANT: Checked here.
        (first <= last).then_some(Self { first, last })
    }

    /// The `bytes` addresses from `first` on.
    ///
    /// # Errors
    ///
    /// [`RangeError::Empty`] first, then [`RangeError::Wraps`].
    pub fn with_len(first: Iova, bytes: u64) -> Result<Self, RangeError> {
        let rest = bytes.checked_sub(1).ok_or(RangeError::Empty)?;
        let last = first.checked_add(rest).ok_or(RangeError::Wraps)?;
        // INVARIANT: An unsigned number was added.
        Ok(Self { first, last })
    }

    /// The lowest address.
    pub const fn first(self) -> Iova {
        self.first
    }

    /// The highest address.
    pub const fn last(self) -> Iova {
        self.last
    }

    /// The number of addresses. That of the whole address space does not fit and is one less.
    pub fn bytes(self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }

    /// The number of pages that the range touches, from the one `first` is in.
    pub fn pages(self, page_shift: u32) -> PageCount {
        let pages = (self.last.0 >> page_shift) - (self.first.0 >> page_shift);
        PageCount(pages.saturating_add(1))
    }

    /// Whether every address of `other` is in this range.
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether any address is in both ranges.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The addresses that are in both ranges.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The addresses of this range below `addr`.
    pub fn below(self, addr: Iova) -> Option<Self> {
        Self::new(self.first, self.last.min(addr.before()?))
    }

    /// The addresses of this range above `addr`.
    pub fn above(self, addr: Iova) -> Option<Self> {
        Self::new(self.first.max(addr.after()?), self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_reach_the_top_but_not_beyond() {
        let top = IovaRange::with_len(Iova::new(u64::MAX - 0xfff), 0x1000).unwrap();
        assert_eq!(top.last(), Iova::MAX);
        assert_eq!(top.bytes(), 0x1000);
        assert_eq!(top.pages(12), PageCount::new(1));
        assert_eq!(
            IovaRange::with_len(Iova::new(u64::MAX - 0xfff), 0x1001),
            Err(RangeError::Wraps)
        );
        assert_eq!(
            IovaRange::with_len(Iova::MAX, 0),
            Err(RangeError::Empty),
            "emptiness is found before the wrap"
        );
        assert_eq!(IovaRange::ALL.above(Iova::MAX), None);
        assert_eq!(IovaRange::ALL.below(Iova::MIN), None);
    }

    #[test]
    fn overlap_is_inclusive() {
        let low = IovaRange::new(Iova::new(0), Iova::new(9)).unwrap();
        let touching = IovaRange::new(Iova::new(9), Iova::new(20)).unwrap();
        let apart = IovaRange::new(Iova::new(10), Iova::new(20)).unwrap();
        assert!(low.overlaps(touching) && !low.overlaps(apart));
        assert_eq!(low.intersection(apart), None);
    }
}

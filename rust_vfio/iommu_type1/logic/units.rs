// SPDX-License-Identifier: GPL-2.0

//! Types for the quantities of the type1 backend: I/O addresses, frame numbers, numbers of pages.
//!
//! Ranges of I/O addresses are *inclusive* at both ends, so that a range can end at the top of the
//! address space, where no address follows.

/// An I/O virtual address (IOVA), which devices use for DMA. Corresponds to `dma_addr_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Iova(u64);

impl Iova {
    /// The lowest address.
    pub const MIN: Self = Self(0);
    /// The highest address.
    pub const MAX: Self = Self(u64::MAX);

    /// Creates the address `addr`.
    pub const fn new(addr: u64) -> Self {
        Self(addr)
    }

    /// Returns the address as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the address `bytes` bytes above, or `None` beyond the top of the address space.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// Returns the address behind `pages` pages of `1 << page_shift` bytes that begin here. If
    /// these end at the top of the address space, nothing follows, and the result means nothing.
    #[must_use]
    pub fn behind(self, pages: PageCount, page_shift: u32) -> Self {
        Self(self.0.wrapping_add(pages.bytes(page_shift)))
    }

    /// Returns the address one byte below, or `None` for the lowest.
    pub fn before(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Returns the address one byte above, or `None` for the highest.
    pub fn after(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// The number of a page frame of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pfn(u64);

impl Pfn {
    /// Creates the frame number `pfn`.
    pub const fn new(pfn: u64) -> Self {
        Self(pfn)
    }

    /// Returns the frame number as a plain integer.
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

    /// Creates the number `pages`.
    pub const fn new(pages: u64) -> Self {
        Self(pages)
    }

    /// Returns the number as a plain integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns whether the number is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the size in bytes of so many pages of `1 << page_shift` bytes; saturates.
    pub fn bytes(self, page_shift: u32) -> u64 {
        self.0.saturating_mul(1 << page_shift)
    }

    /// Returns the sum; saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns the difference, or zero if `other` is larger.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// The reason why an address and a size are no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// The size is zero.
    Empty,
    /// The range would reach beyond the top of the address space.
    Wraps,
}

/// The I/O addresses from `first` to `last`, both inclusive.
///
/// # Invariants
///
/// `first <= last`, so a range is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IovaRange {
    first: Iova,
    last: Iova,
}

/// Prints the first and the last address.
impl core::fmt::Display for IovaRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}-{:#x}", self.first.0, self.last.0)
    }
}

impl IovaRange {
    /// The whole address space.
    pub const ALL: Self = Self {
        first: Iova::MIN,
        last: Iova::MAX,
    };

    /// Creates the range from `first` to `last`, or returns `None` if `last` is below `first`.
    pub fn new(first: Iova, last: Iova) -> Option<Self> {
        // INVARIANT: The range is only returned if `first <= last`.
        (first <= last).then_some(Self { first, last })
    }

    /// Creates the range of `bytes` bytes from `first` on.
    ///
    /// # Errors
    ///
    /// - [`RangeError::Empty`] if `bytes` is zero.
    /// - [`RangeError::Wraps`] if the range would reach beyond the top of the address space.
    pub fn with_len(first: Iova, bytes: u64) -> Result<Self, RangeError> {
        let rest = bytes.checked_sub(1).ok_or(RangeError::Empty)?;
        let last = first.checked_add(rest).ok_or(RangeError::Wraps)?;
        // INVARIANT: `last` is `first` plus an unsigned number, without wrapping.
        Ok(Self { first, last })
    }

    /// Returns the lowest address.
    pub const fn first(self) -> Iova {
        self.first
    }

    /// Returns the highest address, which is part of the range.
    pub const fn last(self) -> Iova {
        self.last
    }

    /// Returns the size in bytes. For the whole address space, whose size is 2^64, it is one less.
    pub fn bytes(self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }

    /// Returns the number of pages of `1 << page_shift` bytes that the range overlaps.
    pub fn pages(self, page_shift: u32) -> PageCount {
        let pages = (self.last.0 >> page_shift) - (self.first.0 >> page_shift);
        PageCount(pages.saturating_add(1))
    }

    /// Returns whether every address of `other` is in this range.
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Returns whether any address is in both ranges.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns the addresses that are in both ranges, or `None` if there are none.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// Returns the addresses of this range below `addr`, or `None` if there are none.
    pub fn below(self, addr: Iova) -> Option<Self> {
        Self::new(self.first, self.last.min(addr.before()?))
    }

    /// Returns the addresses of this range above `addr`, or `None` if there are none.
    pub fn above(self, addr: Iova) -> Option<Self> {
        Self::new(self.first.max(addr.after()?), self.last)
    }
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_VFIO_RUST_KUNIT_TEST,
    kernel::macros::kunit_tests(vfio_type1_units)
)]
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
        // That it is empty is found before that it wraps.
        assert_eq!(IovaRange::with_len(Iova::MAX, 0), Err(RangeError::Empty));
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

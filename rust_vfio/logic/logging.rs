// SPDX-License-Identifier: GPL-2.0

//! The checks on the ranges whose DMA a device is to log, and on those it reports about.
//!
//! Ranges come as a first address and a length, both multiples of the page size that the caller
//! would like. A range that ends exactly at the end of the 64-bit address space is refused, as it
//! always was.
//!
//! C file: `vfio_main.c`. Deviation: empty ranges and page sizes that are not a power of two, which
//! used to get through to drivers, are invalid here.

/// The smallest page size that a report can be about.
const SMALLEST_REPORT_PAGE: u64 = 4096;

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It makes no sense.
    Invalid,
    /// It has more ranges than fit.
    TooMany,
    /// It reaches beyond the address space.
    Overflow,
}

/// A page size that is a power of two.
#[derive(Clone, Copy, Debug)]
pub struct PageSize(u64);

/// A range of addresses that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub first: usize,
    /// The last address.
    pub last: usize,
}

/// The checks on a request to start logging `ranges` ranges, of which at most `limit` are allowed.
///
/// # Errors
///
/// [`Error::Invalid`] for no range and for a page size that is not a power of two,
/// [`Error::TooMany`].
pub fn check_start(ranges: u32, limit: u32, page_size: u64) -> Result<PageSize, Error> {
    if ranges == 0 {
        return Err(Error::Invalid);
    }
    if ranges > limit {
        return Err(Error::TooMany);
    }
    if !page_size.is_power_of_two() {
        return Err(Error::Invalid);
    }
    Ok(PageSize(page_size))
}

impl PageSize {
    /// The checks on one range. Whether it overlaps another is the caller's business.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the range is empty or does not consist of pages,
    /// [`Error::Overflow`].
    pub fn check_range(self, iova: u64, length: u64) -> Result<Range, Error> {
        let aligned = |value: u64| value & self.0.wrapping_sub(1) == 0;
        if !aligned(iova) || !aligned(length) {
            return Err(Error::Invalid);
        }
        Range::new(iova, length)
    }
}

impl Range {
    fn new(iova: u64, length: u64) -> Result<Self, Error> {
        let end = iova.checked_add(length).ok_or(Error::Overflow)?;
        let end = usize::try_from(end).map_err(|_| Error::Overflow)?;
        let first = usize::try_from(iova).map_err(|_| Error::Overflow)?;
        match end.checked_sub(1) {
            Some(last) if last >= first => Ok(Self { first, last }),
            _ => Err(Error::Invalid),
        }
    }

    /// The number of addresses.
    pub const fn length(self) -> usize {
        // No overflow: the end of every range was seen to fit.
        self.last.wrapping_sub(self.first).wrapping_add(1)
    }
}

/// The checks on a request to report which pages of a range were written to.
///
/// # Errors
///
/// [`Error::Invalid`] for a page size that is too small or not a power of two, and for an empty
/// range; [`Error::Overflow`].
pub fn check_report(iova: u64, length: u64, page_size: u64) -> Result<Range, Error> {
    if page_size < SMALLEST_REPORT_PAGE || !page_size.is_power_of_two() {
        return Err(Error::Invalid);
    }
    Range::new(iova, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(iova: u64, length: u64) -> Result<(usize, usize), Error> {
        let page = check_start(1, 256, 4096)?;
        page.check_range(iova, length).map(|r| (r.first, r.last))
    }

    #[test]
    fn the_number_of_ranges_comes_before_the_page_size() {
        assert_eq!(check_start(0, 256, 4096).err(), Some(Error::Invalid));
        assert_eq!(check_start(257, 256, 0).err(), Some(Error::TooMany));
        assert!(check_start(256, 256, 4096).is_ok());
    }

    #[test]
    fn page_sizes_are_powers_of_two() {
        for size in [0, 3, 4095, 6144, u64::MAX] {
            assert_eq!(check_start(1, 256, size).err(), Some(Error::Invalid));
            assert_eq!(check_report(0, 4096, size), Err(Error::Invalid));
        }
        assert!(check_start(1, 256, 1).is_ok());
        assert!(check_start(1, 256, 1 << 63).is_ok());
    }

    #[test]
    fn a_report_has_pages_of_at_least_4096() {
        assert_eq!(check_report(0, 4096, 2048), Err(Error::Invalid));
        assert!(check_report(0, 4096, 4096).is_ok());
        assert!(check_report(1, 1, 1 << 30).is_ok());
    }

    #[test]
    fn ranges_consist_of_pages() {
        assert_eq!(range(0x1000, 0x2000), Ok((0x1000, 0x2fff)));
        assert_eq!(range(0x1001, 0x2000), Err(Error::Invalid));
        assert_eq!(range(0x1000, 0x2001), Err(Error::Invalid));
    }

    #[test]
    fn empty_ranges() {
        assert_eq!(range(0, 0), Err(Error::Invalid));
        assert_eq!(range(0x1000, 0), Err(Error::Invalid));
        assert_eq!(check_report(0x1000, 0, 4096), Err(Error::Invalid));
    }

    #[test]
    fn the_end_of_the_address_space() {
        let top = u64::MAX - 0xfff;
        assert_eq!(range(top, 0x1000), Err(Error::Overflow));
        assert_eq!(range(top, 0x2000), Err(Error::Overflow));
        assert!(range(top - 0x1000, 0x1000).is_ok());
        assert_eq!(check_report(top, 0x1000, 4096), Err(Error::Overflow));
        // Misalignment is looked at first.
        assert_eq!(range(top + 1, 0x1000), Err(Error::Invalid));
    }

    #[test]
    fn lengths_come_back() {
        assert_eq!(check_report(0x3000, 0x5000, 4096).unwrap().length(), 0x5000);
        assert_eq!(
            check_report(0, u64::MAX, 4096).unwrap().length(),
            usize::MAX
        );
    }
}

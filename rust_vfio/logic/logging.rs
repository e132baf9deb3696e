// SPDX-License-Identifier: GPL-2.0

//! The checks of ranges of IOVAs to which a device logs DMA, or about which it reports.
//!
//! Ranges come as a first address and a length in bytes, which for logging are multiples of the
//! page size that user space asks for. A range whose exclusive end is 2^64 is refused, as in C.
//!
//! Corresponds to the checks in `vfio_ioctl_device_feature_logging_start()` and
//! `vfio_ioctl_device_feature_logging_report()` (`drivers/vfio/vfio_main.c`); contract 5.7 and 5.9.

/// The smallest page size of a report, in bytes.
const SMALLEST_REPORT_PAGE: u64 = 4096;

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// An invalid number, size or alignment: `EINVAL`.
    Invalid,
    /// More ranges than are allowed: `E2BIG`.
    TooMany,
    /// A range that exceeds the address space: `EOVERFLOW`.
    Overflow,
}

/// A page size in bytes.
///
/// # Invariants
///
/// It is a power of two.
#[derive(Clone, Copy, Debug)]
pub struct PageSize(u64);

/// A range of IOVAs that is not empty, with both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub first: usize,
    /// The last address.
    pub last: usize,
}

/// Checks a request to log DMA to `ranges` ranges, of which at most `limit` are allowed, and
/// returns the page size.
///
/// # Errors
///
/// - [`Error::Invalid`] if there is no range.
/// - [`Error::TooMany`] if there are more than `limit`.
/// - [`Error::Invalid`] if the page size is not a power of two.
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
    // INVARIANT: This was just checked.
    Ok(PageSize(page_size))
}

impl PageSize {
    /// Checks one range of `length` bytes from `iova` on, and returns it. The caller checks whether
    /// it overlaps another one.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] if `iova` or `length` is not a multiple of the page size.
    /// - [`Error::Overflow`] if the exclusive end does not fit into an address.
    /// - [`Error::Invalid`] if the range is empty.
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

    /// Returns the number of bytes.
    pub const fn length(self) -> usize {
        // OVERFLOW: `new` has checked that the exclusive end fits, and the length is not more.
        self.last.wrapping_sub(self.first).wrapping_add(1)
    }
}

/// Checks a request to report to which pages of a range the device has written, and returns the
/// range.
///
/// # Errors
///
/// - [`Error::Invalid`] if the page size is less than 4096 bytes or not a power of two.
/// - [`Error::Overflow`] if the exclusive end of the range does not fit into an address.
/// - [`Error::Invalid`] if the range is empty.
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

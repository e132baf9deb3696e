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

/// A range of IOVAs, which may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub first: usize,
    /// The number of bytes.
    pub length: usize,
}

impl Range {
    fn new(iova: u64, length: u64) -> Result<Self, Error> {
        let end = iova.checked_add(length).ok_or(Error::Overflow)?;
        usize::try_from(end).map_err(|_| Error::Overflow)?;
        // Neither is more than the end, which fits.
        Ok(Self {
            first: usize::try_from(iova).map_err(|_| Error::Overflow)?,
            length: usize::try_from(length).map_err(|_| Error::Overflow)?,
        })
    }

    /// Returns the last address, inclusive. That of an empty range is the one before the first,
    /// or `usize::MAX` if the first is 0.
    pub const fn last(self) -> usize {
        self.first.wrapping_add(self.length).wrapping_sub(1)
    }

    /// Returns whether the range is empty.
    pub const fn is_empty(self) -> bool {
        self.length == 0
    }
}

/// The checks of a request to log DMA to some ranges.
///
/// C allows empty ranges and odd page sizes. They are refused here, but only by
/// [`StartCheck::finish`], after all that C checks, so that a request which C refuses gets the same
/// errno here.
#[derive(Clone, Copy, Debug)]
pub struct StartCheck {
    /// The page size less 1, modulo 2^64.
    mask: u64,
    /// Whether nothing was found that only [`StartCheck::finish`] refuses.
    sensible: bool,
}

impl StartCheck {
    /// Begins to check a request that names `ranges` ranges, of which at most `limit` are allowed,
    /// and pages of `page_size` bytes.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] if there is no range.
    /// - [`Error::TooMany`] if there are more than `limit`.
    pub fn new(ranges: u32, limit: u32, page_size: u64) -> Result<Self, Error> {
        if ranges == 0 {
            return Err(Error::Invalid);
        }
        if ranges > limit {
            return Err(Error::TooMany);
        }
        Ok(Self {
            mask: page_size.wrapping_sub(1),
            sensible: page_size.is_power_of_two(),
        })
    }

    /// Checks the range of `length` bytes from `iova` on, and returns it. The caller checks whether
    /// it overlaps an earlier one.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`] if `iova` or `length` has a bit of the page size less 1, that is, with
    ///   a power of two, if it is not a multiple of that.
    /// - [`Error::Overflow`] if the exclusive end does not fit into an address.
    pub fn range(&mut self, iova: u64, length: u64) -> Result<Range, Error> {
        if (iova | length) & self.mask != 0 {
            return Err(Error::Invalid);
        }
        let range = Range::new(iova, length)?;
        self.sensible &= !range.is_empty();
        Ok(range)
    }

    /// Ends the checks, after all ranges and before anything is done.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the page size is not a power of two, or a range is empty.
    pub fn finish(self) -> Result<(), Error> {
        match self.sensible {
            true => Ok(()),
            false => Err(Error::Invalid),
        }
    }
}

/// Checks a request to report to which pages of a range the device has written, and returns the
/// range. The caller refuses an empty one after all that C checks.
///
/// # Errors
///
/// - [`Error::Invalid`] if the page size is less than 4096 bytes or not a power of two.
/// - [`Error::Overflow`] if the exclusive end of the range does not fit into an address.
pub fn check_report(iova: u64, length: u64, page_size: u64) -> Result<Range, Error> {
    if page_size < SMALLEST_REPORT_PAGE || !page_size.is_power_of_two() {
        return Err(Error::Invalid);
    }
    Range::new(iova, length)
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(CONFIG_VFIO_RUST_KUNIT_TEST, kernel::macros::kunit_tests(vfio_logging))]
mod tests {
    use super::*;

    /// The first and the last address of the only range of a request.
    fn only(page_size: u64, iova: u64, length: u64) -> Result<(usize, usize), Error> {
        let mut check = StartCheck::new(1, 256, page_size)?;
        let range = check.range(iova, length)?;
        check.finish()?;
        Ok((range.first, range.last()))
    }

    #[test]
    fn the_number_of_ranges_comes_first() {
        assert_eq!(StartCheck::new(0, 256, 4096).err(), Some(Error::Invalid));
        assert_eq!(StartCheck::new(257, 256, 0).err(), Some(Error::TooMany));
        assert!(StartCheck::new(256, 256, 4096).is_ok());
    }

    #[test]
    fn page_sizes_are_powers_of_two() {
        for size in [0, 3, 4095, 6144, u64::MAX] {
            // All bits of both are clear, so that nothing else is wrong.
            let mut check = StartCheck::new(1, 256, size).unwrap();
            assert!(check.range(0, 0).is_ok());
            assert_eq!(check.finish(), Err(Error::Invalid));
            assert_eq!(check_report(0, 4096, size), Err(Error::Invalid));
        }
        assert!(only(1, 5, 7).is_ok());
        assert!(only(1 << 62, 1 << 62, 1 << 62).is_ok());
    }

    #[test]
    fn what_c_refuses_comes_before_page_sizes_and_empty_ranges() {
        // Page size 4097: the mask is 0x1000.
        let mut check = StartCheck::new(3, 256, 4097).unwrap();
        assert_eq!(check.range(u64::MAX - 0x1fff, 0x4000), Err(Error::Overflow));
        assert_eq!(check.range(0x1000, 0x2000), Err(Error::Invalid));
        assert!(check.range(0x2000, 0).is_ok());
        assert_eq!(check.finish(), Err(Error::Invalid));
    }

    #[test]
    fn a_report_has_pages_of_at_least_4096() {
        assert_eq!(check_report(0, 4096, 2048), Err(Error::Invalid));
        assert!(check_report(0, 4096, 4096).is_ok());
        assert!(check_report(1, 1, 1 << 30).is_ok());
    }

    #[test]
    fn ranges_consist_of_pages() {
        assert_eq!(only(4096, 0x1000, 0x2000), Ok((0x1000, 0x2fff)));
        assert_eq!(only(4096, 0x1001, 0x2000), Err(Error::Invalid));
        assert_eq!(only(4096, 0x1000, 0x2001), Err(Error::Invalid));
    }

    #[test]
    fn empty_ranges() {
        for (iova, last) in [(0, usize::MAX), (0x1000, 0xfff)] {
            let mut check = StartCheck::new(1, 256, 4096).unwrap();
            let range = check.range(iova, 0).unwrap();
            assert!(range.is_empty());
            assert_eq!(range.last(), last);
            assert_eq!(check.finish(), Err(Error::Invalid));
        }
        assert!(check_report(0x1000, 0, 4096).unwrap().is_empty());
    }

    #[test]
    fn the_end_of_the_address_space() {
        let top = u64::MAX - 0xfff;
        assert_eq!(only(4096, top, 0x1000), Err(Error::Overflow));
        assert_eq!(only(4096, top, 0x2000), Err(Error::Overflow));
        assert!(only(4096, top - 0x1000, 0x1000).is_ok());
        assert_eq!(check_report(top, 0x1000, 4096), Err(Error::Overflow));
        // Misalignment is looked at first.
        assert_eq!(only(4096, top + 1, 0x1000), Err(Error::Invalid));
    }

    #[test]
    fn lengths_come_back() {
        assert_eq!(check_report(0x3000, 0x5000, 4096).unwrap().length, 0x5000);
        assert_eq!(check_report(0, u64::MAX, 4096).unwrap().length, usize::MAX);
    }
}

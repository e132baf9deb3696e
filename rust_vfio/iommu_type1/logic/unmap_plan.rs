// SPDX-License-Identifier: GPL-2.0

//! The checks of MAP_DMA and UNMAP_DMA that depend on numbers alone, in the order that is part of
//! the ABI (contract 6.5 and 6.6).
//!
//! The two versions of the interface differ for an unmap request that covers only part of a
//! mapping. Version 1 comes from a time when mappings were merged: it returns success without
//! unmapping anything if the request starts inside a mapping, and removes the whole mapping if the
//! request covers its first byte. Version 2 fails with `EINVAL`.
//!
//! Corresponds to the checks in `vfio_dma_do_map()` and `vfio_dma_do_unmap()`.

use super::units::{
    Iova,
    IovaRange,
    RangeError, //
};

/// The version of the interface, which user space chooses with SET_IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `VFIO_TYPE1_IOMMU`.
    V1,
    /// `VFIO_TYPE1v2_IOMMU`.
    V2,
}

/// The reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRefusal {
    /// The range is empty or not aligned, or numbers and flags contradict each other (`EINVAL`).
    Invalid,
    /// The range reaches beyond the top of an address space (`EOVERFLOW`).
    Overflow,
}

impl From<RangeError> for RangeRefusal {
    fn from(error: RangeError) -> Self {
        match error {
            RangeError::Empty => Self::Invalid,
            RangeError::Wraps => Self::Overflow,
        }
    }
}

/// Returns the smallest page size, in bytes, in a bitmap of page sizes whose bit n stands for 2^n
/// bytes.
///
/// # Errors
///
/// [`RangeRefusal::Invalid`] if the bitmap is empty: the domains have no page size in common.
pub fn smallest_page(sizes: u64) -> Result<u64, RangeRefusal> {
    1u64.checked_shl(sizes.trailing_zeros())
        .ok_or(RangeRefusal::Invalid)
}

/// Returns whether every number is a multiple of `page`, which is a power of two.
pub fn aligned(numbers: &[u64], page: u64) -> bool {
    let bits = numbers.iter().fold(0, |bits, number| bits | number);
    bits & page.wrapping_sub(1) == 0
}

/// Returns the I/O addresses of a MAP_DMA of `size` bytes at `iova` for the user address `vaddr`.
///
/// # Errors
///
/// - [`RangeRefusal::Invalid`] if `size` is zero.
/// - [`RangeRefusal::Overflow`] if the range of I/O addresses or that of user addresses reaches
///   beyond the top of the address space.
pub fn map_range(iova: u64, vaddr: u64, size: u64) -> Result<IovaRange, RangeRefusal> {
    let range = IovaRange::with_len(Iova::new(iova), size)?;
    // The rule is the same for the range of user addresses.
    IovaRange::with_len(Iova::new(vaddr), size)?;
    Ok(range)
}

/// The addresses that an UNMAP_DMA names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A range.
    Range(IovaRange),
    /// All addresses (`VFIO_DMA_UNMAP_FLAG_ALL`).
    All,
}

impl Target {
    /// Checks the numbers of a request and returns its target. `page` is the smallest page size in
    /// bytes, and `all` whether `VFIO_DMA_UNMAP_FLAG_ALL` is set.
    ///
    /// # Errors
    ///
    /// - [`RangeRefusal::Invalid`] if `iova` is not a multiple of `page`; with `all` if `iova` or
    ///   `size` is not zero; without it if `size` is zero or not a multiple of `page`.
    /// - [`RangeRefusal::Overflow`] if the range reaches beyond the top of the address space.
    pub fn new(iova: u64, size: u64, all: bool, page: u64) -> Result<Self, RangeRefusal> {
        if !aligned(&[iova], page) {
            return Err(RangeRefusal::Invalid);
        }
        if all {
            return match (iova, size) {
                (0, 0) => Ok(Self::All),
                _ => Err(RangeRefusal::Invalid),
            };
        }
        if !aligned(&[size], page) {
            return Err(RangeRefusal::Invalid);
        }
        Ok(Self::Range(IovaRange::with_len(Iova::new(iova), size)?))
    }

    /// Returns the addresses as a range.
    pub fn range(self) -> IovaRange {
        match self {
            Self::Range(range) => range,
            Self::All => IovaRange::ALL,
        }
    }

    /// Returns whether the request must be refused because it covers only part of `mapping`.
    ///
    /// This can be so only for the mappings that contain the first or the last address.
    pub fn cuts(self, version: Version, mapping: IovaRange) -> bool {
        let (Version::V2, Self::Range(range)) = (version, self) else {
            return false;
        };
        range.overlaps(mapping) && !range.contains(mapping)
    }

    /// Returns whether the request applies to `mapping`, which is the next one in the order of
    /// addresses that ends at or above the first address of the request.
    pub fn takes(self, version: Version, mapping: IovaRange) -> bool {
        let range = self.range();
        mapping.first() <= range.last()
            && (version == Version::V2 || range.first() <= mapping.first())
    }
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_VFIO_RUST_KUNIT_TEST,
    kernel::macros::kunit_tests(vfio_type1_unmap_plan)
)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(first), Iova::new(last)).unwrap()
    }

    #[test]
    fn map_requests() {
        let top = u64::MAX - 0xfff;
        assert_eq!(map_range(0, 0, 0), Err(RangeRefusal::Invalid));
        assert_eq!(map_range(u64::MAX, 0, 0), Err(RangeRefusal::Invalid));
        assert_eq!(map_range(top, 0, 0x2000), Err(RangeRefusal::Overflow));
        assert_eq!(map_range(0, top, 0x2000), Err(RangeRefusal::Overflow));
        assert_eq!(map_range(top, 0x1000, 0x1000), Ok(range(top, u64::MAX)));
    }

    #[test]
    fn unmap_requests() {
        let page = 0x1000;
        assert_eq!(Target::new(1, 0, true, page), Err(RangeRefusal::Invalid));
        assert_eq!(
            Target::new(0x1000, 0, true, page),
            Err(RangeRefusal::Invalid)
        );
        assert_eq!(
            Target::new(0, 0x1000, true, page),
            Err(RangeRefusal::Invalid)
        );
        assert_eq!(Target::new(0, 0, true, page), Ok(Target::All));
        assert_eq!(Target::new(0, 0, false, page), Err(RangeRefusal::Invalid));
        assert_eq!(Target::new(0, 1, false, page), Err(RangeRefusal::Invalid));
        let top = u64::MAX - 0xfff;
        assert_eq!(
            Target::new(top, 0x2000, false, page),
            Err(RangeRefusal::Overflow)
        );
        assert_eq!(
            Target::new(top, 0x1000, false, page),
            Ok(Target::Range(range(top, u64::MAX)))
        );
    }

    #[test]
    fn version_2_does_not_cut() {
        let request = Target::Range(range(0x1000, 0x2fff));
        assert!(request.cuts(Version::V2, range(0, 0x1fff)));
        assert!(request.cuts(Version::V2, range(0x2000, 0x3fff)));
        assert!(request.cuts(Version::V2, range(0, 0x3fff)));
        assert!(!request.cuts(Version::V2, range(0x1000, 0x2fff)));
        assert!(!request.cuts(Version::V2, range(0x1000, 0x1fff)));
        assert!(!request.cuts(Version::V2, range(0x3000, 0x3fff)));
        assert!(!request.cuts(Version::V1, range(0, 0x1fff)));
        assert!(!Target::All.cuts(Version::V2, range(0, 0x1fff)));
    }

    #[test]
    fn version_1_takes_a_mapping_by_its_first_byte() {
        let request = Target::Range(range(0x1000, 0x1fff));
        assert!(request.takes(Version::V1, range(0x1000, 0x9fff)));
        assert!(!request.takes(Version::V1, range(0, 0x9fff)));
        assert!(!request.takes(Version::V1, range(0x2000, 0x2fff)));
        assert!(request.takes(Version::V2, range(0x1000, 0x1fff)));
    }

    #[test]
    fn page_sizes() {
        assert_eq!(smallest_page(0x4020_1000), Ok(0x1000));
        assert_eq!(smallest_page(!0xfff), Ok(0x1000));
        assert_eq!(smallest_page(0), Err(RangeRefusal::Invalid));
        assert!(aligned(&[0, 0x3000], 0x1000) && !aligned(&[0x3000, 0x800], 0x1000));
    }
}

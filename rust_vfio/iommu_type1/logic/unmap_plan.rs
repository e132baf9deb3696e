// SPDX-License-Identifier: GPL-2.0

//! The rules of MAP_DMA and UNMAP_DMA that depend on numbers alone, in the order in which user
//! space sees them fail (contract 6.5 and 6.6).
//!
//! The two versions of the interface differ in what an unmap request does that does not match the
//! mappings. Version 1 comes from a time when single mappings were not remembered: it silently
//! does nothing when the request starts inside a mapping, and removes the whole mapping when it
//! covers its first byte. Version 2 refuses to cut a mapping in two.

use super::units::{
    Iova,
    IovaRange,
    RangeError, //
};

/// Which version of the interface the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `VFIO_TYPE1_IOMMU`.
    V1,
    /// `VFIO_TYPE1v2_IOMMU`.
    V2,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRefusal {
    /// Empty, misaligned, contradictory, or it would cut a mapping.
    Invalid,
    /// It goes beyond the top of an address space.
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

/// The smallest page size in a bitmap of page sizes, in bytes.
///
/// # Errors
///
/// [`RangeRefusal::Invalid`] if there is none: domains that have no page size in common.
pub fn smallest_page(sizes: u64) -> Result<u64, RangeRefusal> {
    1u64.checked_shl(sizes.trailing_zeros())
        .ok_or(RangeRefusal::Invalid)
}

/// Whether every number is a multiple of `page`, a power of two.
pub fn aligned(numbers: &[u64], page: u64) -> bool {
    let bits = numbers.iter().fold(0, |bits, number| bits | number);
    bits & page.wrapping_sub(1) == 0
}

/// The range that a MAP_DMA asks for, of `size` bytes at `iova` for the user's memory at `vaddr`.
///
/// # Errors
///
/// [`RangeRefusal::Invalid`] if it is empty, [`RangeRefusal::Overflow`] if either end does not exist.
pub fn map_range(iova: u64, vaddr: u64, size: u64) -> Result<IovaRange, RangeRefusal> {
    let range = IovaRange::with_len(Iova::new(iova), size)?;
    // The user's memory is not a range of I/O addresses, but wraps like one.
    IovaRange::with_len(Iova::new(vaddr), size)?;
    Ok(range)
}

/// What an UNMAP_DMA is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The mappings in a range.
    Range(IovaRange),
    /// Every mapping.
    All,
}

impl Target {
    /// Reads a request. `page` is the smallest page, `all` whether the user set that flag.
    ///
    /// # Errors
    ///
    /// [`RangeRefusal::Invalid`] if a number is misaligned, if there is no size, or if there is one
    /// (or an address) together with `all`; then [`RangeRefusal::Overflow`].
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

    /// The addresses it is about.
    pub fn range(self) -> IovaRange {
        match self {
            Self::Range(range) => range,
            Self::All => IovaRange::ALL,
        }
    }

    /// Whether the request must be refused because it would cut `mapping` in two.
    ///
    /// Only the mappings that have its first and its last address can be cut.
    pub fn cuts(self, version: Version, mapping: IovaRange) -> bool {
        let (Version::V2, Self::Range(range)) = (version, self) else {
            return false;
        };
        range.overlaps(mapping) && !range.contains(mapping)
    }

    /// Whether `mapping`, the next one that reaches into the request or lies behind it, goes.
    pub fn takes(self, version: Version, mapping: IovaRange) -> bool {
        let range = self.range();
        mapping.first() <= range.last()
            && (version == Version::V2 || range.first() <= mapping.first())
    }
}

#[cfg(test)]
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

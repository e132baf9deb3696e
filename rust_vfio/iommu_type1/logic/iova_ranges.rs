// SPDX-License-Identifier: GPL-2.0

//! The I/O addresses that user space may map: the apertures of all domains, minus reserved regions
//! (contract 6.11).
//!
//! The valid ranges are a sorted list of ranges that do not overlap. The functions read one list
//! and pass the elements of a new one to a callback, so that the caller can keep the old list until
//! the new one is complete. An *empty* list means that every address may be mapped: no domain has
//! been attached yet.
//!
//! Corresponds to `vfio_iommu_aper_conflict()`, `vfio_iommu_aper_resize()`,
//! `vfio_iommu_resv_exclude()`, `vfio_iommu_has_sw_msi()` and `vfio_iommu_iova_dma_valid()`. A list
//! corresponds to the list of `struct vfio_iova`.

use super::units::{
    Iova,
    IovaRange, //
};

/// The purpose of a reserved region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedKind {
    /// Any other purpose; user space must not map the addresses.
    Excluded,
    /// Mapped one to one at boot; user space may map the addresses otherwise.
    Relaxable,
    /// The addresses to which devices write interrupt messages.
    Msi,
    /// The addresses at which the kernel maps an interrupt controller.
    SoftwareMsi,
}

/// A reserved region of the I/O address space, as the IOMMU driver reports it for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The addresses.
    pub range: IovaRange,
    /// The purpose.
    pub kind: ReservedKind,
}

impl Reserved {
    /// Returns the addresses that user space must not map because of this region, if any.
    pub fn excluded(&self) -> Option<IovaRange> {
        (self.kind != ReservedKind::Relaxable).then_some(self.range)
    }
}

/// Returns the address from which on the kernel has to map the interrupt controllers of the group's
/// devices, or `None` if it need not.
///
/// It need not if a hardware interrupt region ([`ReservedKind::Msi`]) is anywhere in the list.
/// Corresponds to `vfio_iommu_has_sw_msi()`.
pub fn software_msi(regions: &[Reserved]) -> Option<Iova> {
    let mut base = None;
    for region in regions {
        match region.kind {
            ReservedKind::Msi => return None,
            ReservedKind::SoftwareMsi => base = Some(region.range.first()),
            ReservedKind::Excluded | ReservedKind::Relaxable => (),
        }
    }
    base
}

/// Returns whether `range` may be mapped: it is within one element of `valid`, or the list is
/// empty.
///
/// Corresponds to `vfio_iommu_iova_dma_valid()`.
pub fn allows(valid: &[IovaRange], range: IovaRange) -> bool {
    valid.is_empty() || valid.iter().any(|element| element.contains(range))
}

/// Returns the range from the first valid address to the last, holes included, or `None` if the
/// list is empty.
pub fn span(valid: &[IovaRange]) -> Option<IovaRange> {
    IovaRange::new(valid.first()?.first(), valid.last()?.last())
}

/// Returns whether a domain with `aperture` cannot be added: the aperture has no address in common
/// with the span of `valid`, or something is mapped in a part of the span outside of it. `mapped`
/// returns whether anything is mapped in a range.
///
/// Corresponds to `vfio_iommu_aper_conflict()`.
pub fn aperture_conflicts(
    valid: &[IovaRange],
    aperture: IovaRange,
    mut mapped: impl FnMut(IovaRange) -> bool,
) -> bool {
    let Some(span) = span(valid) else {
        return false;
    };
    if !span.overlaps(aperture) {
        return true;
    }
    span.below(aperture.first()).is_some_and(&mut mapped)
        || span.above(aperture.last()).is_some_and(&mut mapped)
}

/// Restricts `valid` to `aperture` and passes the elements of the result to `emit`. If `valid` is
/// empty the result is the aperture.
///
/// An element that would be cut to a single address is dropped: one whose last address is the first
/// of the aperture, or whose first address is the last of the aperture. User space sees that in
/// GET_INFO, so it stays as it is in `vfio_iommu_aper_resize()`, to which this function
/// corresponds.
///
/// # Errors
///
/// Any error of `emit`, which ends the iteration.
pub fn narrow<E>(
    valid: &[IovaRange],
    aperture: IovaRange,
    mut emit: impl FnMut(IovaRange) -> Result<(), E>,
) -> Result<(), E> {
    if valid.is_empty() {
        return emit(aperture);
    }
    for element in valid {
        let (first, last) = (element.first(), element.last());
        if aperture.first() >= first && aperture.first() >= last {
            continue;
        }
        let first = first.max(aperture.first());
        if aperture.last() <= last && aperture.last() <= first {
            continue;
        }
        if let Some(rest) = IovaRange::new(first, last.min(aperture.last())) {
            emit(rest)?;
        }
    }
    Ok(())
}

/// Removes the addresses in `hole` from `valid` and passes the elements of the result to `emit`.
///
/// Corresponds to the loop for one region in `vfio_iommu_resv_exclude()`.
///
/// # Errors
///
/// Any error of `emit`, which ends the iteration.
pub fn carve<E>(
    valid: &[IovaRange],
    hole: IovaRange,
    mut emit: impl FnMut(IovaRange) -> Result<(), E>,
) -> Result<(), E> {
    for element in valid {
        if !element.overlaps(hole) {
            emit(*element)?;
            continue;
        }
        if let Some(below) = element.below(hole.first()) {
            emit(below)?;
        }
        if let Some(above) = element.above(hole.last()) {
            emit(above)?;
        }
    }
    Ok(())
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_VFIO_RUST_KUNIT_TEST,
    kernel::macros::kunit_tests(vfio_type1_iova_ranges)
)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(first), Iova::new(last)).unwrap()
    }

    type Emitted = Result<(), ()>;

    /// Returns whether `run` hands out these ranges, in this order.
    fn gives(
        expected: &[IovaRange],
        run: impl FnOnce(&mut dyn FnMut(IovaRange) -> Emitted) -> Emitted,
    ) -> bool {
        let mut expected = expected.iter();
        let result = run(&mut |range| (expected.next() == Some(&range)).then_some(()).ok_or(()));
        result.is_ok() && expected.next().is_none()
    }

    fn narrows(valid: &[IovaRange], aperture: IovaRange, expected: &[IovaRange]) -> bool {
        gives(expected, |emit| narrow(valid, aperture, emit))
    }

    fn carves(valid: &[IovaRange], hole: IovaRange, expected: &[IovaRange]) -> bool {
        gives(expected, |emit| carve(valid, hole, emit))
    }

    #[test]
    fn the_first_aperture_is_the_list() {
        assert!(narrows(&[], IovaRange::ALL, &[IovaRange::ALL]));
    }

    #[test]
    fn narrowing_trims_and_drops() {
        let valid = [range(0, 9), range(20, 29), range(40, 49)];
        let trimmed = [range(5, 9), range(20, 29), range(40, 45)];
        assert!(narrows(&valid, range(5, 45), &trimmed));
        assert!(narrows(&valid, range(9, 40), &[range(20, 29)]));
        assert!(narrows(&valid, range(10, 39), &[range(20, 29)]));
    }

    #[test]
    fn carving_splits() {
        let around = [range(0, 0xfedf_ffff), range(0xfef0_0000, u64::MAX)];
        let interrupts = range(0xfee0_0000, 0xfeef_ffff);
        assert!(carves(&[IovaRange::ALL], interrupts, &around));
        assert!(carves(&[range(0, 9)], range(0, 9), &[]));
        let (upper, hole) = (range(5, u64::MAX), range(9, u64::MAX));
        assert!(carves(&[upper], hole, &[range(5, 8)]));
        assert!(carves(&[range(5, 9)], range(0, 5), &[range(6, 9)]));
    }

    #[test]
    fn conflicts() {
        let valid = [range(0x10, 0x1f), range(0x30, 0x3f)];
        let mapped = range(0x10, 0x10);
        assert!(aperture_conflicts(&valid, range(0x40, 0x50), |_| false));
        assert!(!aperture_conflicts(&valid, range(0x20, 0x38), |_| false));
        assert!(gives(&[range(0x10, 0x1f), range(0x39, 0x3f)], |asked| {
            let conflict = aperture_conflicts(&valid, range(0x20, 0x38), |r| asked(r).is_err());
            (!conflict).then_some(()).ok_or(())
        }));
        assert!(aperture_conflicts(&valid, range(0x20, 0x38), |r| r.contains(mapped)));
    }

    #[test]
    fn a_real_interrupt_region_wins() {
        let soft = Reserved {
            range: range(0x800_0000, 0x80f_ffff),
            kind: ReservedKind::SoftwareMsi,
        };
        let hard = Reserved {
            range: range(0xfee0_0000, 0xfeef_ffff),
            kind: ReservedKind::Msi,
        };
        assert_eq!(software_msi(&[soft]), Some(Iova::new(0x800_0000)));
        assert_eq!(software_msi(&[soft, hard]), None);
        assert_eq!(software_msi(&[hard, soft]), None);
    }

    #[test]
    fn no_restriction_is_not_nothing() {
        assert!(allows(&[], range(5, 6)));
        assert!(allows(&[range(0, 9)], range(9, 9)));
        assert!(!allows(&[range(0, 9), range(10, 19)], range(9, 10)));
    }
}

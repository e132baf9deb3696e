// SPDX-License-Identifier: GPL-2.0

//! Which I/O addresses a user may map: the apertures of all domains, minus reserved regions.
//!
//! The valid ranges are a sorted list of ranges that do not touch. The functions read one list
//! and hand the elements of the next to a callback, so the caller keeps the old list until the
//! new one is complete. An *empty* list means that there is no restriction: no IOMMU has been
//! attached yet.
//!
//! C file: `vfio_iommu_type1.c`. What looks odd in [`narrow`] is how user space knows it.

use super::units::{
    Iova,
    IovaRange, //
};

/// What a reserved region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedKind {
    /// Must not be mapped by the user.
    Excluded,
    /// Mapped one to one at boot; the user may use the addresses instead.
    Relaxable,
    /// Where devices write their interrupt messages.
    Msi,
    /// Where the kernel shall place the mapping of an interrupt controller.
    SoftwareMsi,
}

/// A region that the IOMMU driver reports for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Where it is.
    pub range: IovaRange,
    /// What it is for.
    pub kind: ReservedKind,
}

impl Reserved {
    /// The addresses that the user must not map because of this region.
    pub fn excluded(&self) -> Option<IovaRange> {
        (self.kind != ReservedKind::Relaxable).then_some(self.range)
    }
}

/// Where the kernel shall map the interrupt controller of the group's devices, if it has to.
///
/// Real interrupt regions, wherever they are in the list, make that unnecessary.
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

/// Whether `range` may be mapped: it lies in one element, or there is no restriction.
pub fn allows(valid: &[IovaRange], range: IovaRange) -> bool {
    valid.is_empty() || valid.iter().any(|element| element.contains(range))
}

/// From the first valid address to the last, holes included.
pub fn span(valid: &[IovaRange]) -> Option<IovaRange> {
    IovaRange::new(valid.first()?.first(), valid.last()?.last())
}

/// Whether a domain with `aperture` cannot join: it has no address in common with `valid`, or
/// something is mapped where it does not reach. `mapped` says whether anything is.
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

/// Restricts `valid` to `aperture`, or starts with it.
///
/// An element that is reached by an end of the aperture only with its own last (first) address is
/// dropped, not kept with that one address.
///
/// # Errors
///
/// Those of `emit`.
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

/// Takes `hole` out of `valid`.
///
/// # Errors
///
/// Those of `emit`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> IovaRange {
        IovaRange::new(Iova::new(first), Iova::new(last)).unwrap()
    }

    fn narrowed(valid: &[IovaRange], aperture: IovaRange) -> Vec<IovaRange> {
        let mut out = Vec::new();
        narrow(valid, aperture, |r| {
            out.push(r);
            Ok::<(), ()>(())
        })
        .unwrap();
        out
    }

    fn carved(valid: &[IovaRange], hole: IovaRange) -> Vec<IovaRange> {
        let mut out = Vec::new();
        carve(valid, hole, |r| {
            out.push(r);
            Ok::<(), ()>(())
        })
        .unwrap();
        out
    }

    #[test]
    fn the_first_aperture_is_the_list() {
        assert_eq!(narrowed(&[], IovaRange::ALL), [IovaRange::ALL]);
    }

    #[test]
    fn narrowing_trims_and_drops() {
        let valid = [range(0, 9), range(20, 29), range(40, 49)];
        assert_eq!(
            narrowed(&valid, range(5, 45)),
            [range(5, 9), range(20, 29), range(40, 45)]
        );
        assert_eq!(narrowed(&valid, range(9, 40)), [range(20, 29)]);
        assert_eq!(narrowed(&valid, range(10, 39)), [range(20, 29)]);
    }

    #[test]
    fn carving_splits() {
        assert_eq!(
            carved(&[IovaRange::ALL], range(0xfee0_0000, 0xfeef_ffff)),
            [range(0, 0xfedf_ffff), range(0xfef0_0000, u64::MAX)]
        );
        assert_eq!(carved(&[range(0, 9)], range(0, 9)), []);
        assert_eq!(
            carved(&[range(5, u64::MAX)], range(9, u64::MAX)),
            [range(5, 8)]
        );
        assert_eq!(carved(&[range(5, 9)], range(0, 5)), [range(6, 9)]);
    }

    #[test]
    fn conflicts() {
        let valid = [range(0x10, 0x1f), range(0x30, 0x3f)];
        assert!(aperture_conflicts(&valid, range(0x40, 0x50), |_| false));
        assert!(!aperture_conflicts(&valid, range(0x20, 0x38), |_| false));
        let mut asked = Vec::new();
        assert!(!aperture_conflicts(&valid, range(0x20, 0x38), |r| {
            asked.push(r);
            false
        }));
        assert_eq!(asked, [range(0x10, 0x1f), range(0x39, 0x3f)]);
        assert!(aperture_conflicts(&valid, range(0x20, 0x38), |r| r.contains(range(0x10, 0x10))));
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

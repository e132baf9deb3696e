// SPDX-License-Identifier: GPL-2.0

//! The construction of the list of addresses that may be mapped (contract 6.11).
//!
//! The rules are in [`iova_ranges`](crate::iommu_type1::logic::iova_ranges). A new list is built
//! beside the one in use, which stays as it is if anything fails.
//!
//! Corresponds to `vfio_iommu_iova_get_copy()` with the changes to the copy that follow it.

use core::ops::Deref;

use kernel::prelude::*;

use crate::iommu_type1::logic::{
    iova_ranges::{
        carve,
        narrow,
        Reserved, //
    },
    units::IovaRange, //
};

/// The I/O addresses that may be mapped, sorted.
pub(super) struct ValidRanges(Option<KVVec<IovaRange>>);

impl ValidRanges {
    /// Creates an empty list.
    pub(super) const fn new() -> Self {
        Self(None)
    }
}

impl Deref for ValidRanges {
    type Target = [IovaRange];

    fn deref(&self) -> &[IovaRange] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Creates an empty list with room for the number of regions that a group commonly has.
///
/// # Errors
///
/// `ENOMEM` if there is no memory.
pub(super) fn reserved_list() -> Result<KVVec<Reserved>> {
    Ok(KVVec::with_capacity(4, GFP_KERNEL)?)
}

/// Returns the list `valid`, restricted to `aperture` and without the `reserved` regions. If
/// `valid` is empty the list starts with the whole aperture.
///
/// # Errors
///
/// - `ENOMEM` if there is no memory.
/// - `EINVAL` if no address is left.
pub(super) fn restricted(
    valid: &[IovaRange],
    aperture: IovaRange,
    reserved: &[Reserved],
) -> Result<ValidRanges> {
    // Each hole splits at most one range, so the lists do not have to grow.
    let most = valid.len().max(1).saturating_add(reserved.len());
    let mut list = KVVec::with_capacity(most, GFP_KERNEL)?;
    let mut rest = KVVec::with_capacity(most, GFP_KERNEL)?;
    narrow(valid, aperture, |range| list.push(range, GFP_KERNEL))?;
    for hole in reserved.iter().filter_map(Reserved::excluded) {
        rest.clear();
        carve(&list, hole, |range| rest.push(range, GFP_KERNEL))?;
        core::mem::swap(&mut list, &mut rest);
    }
    if list.is_empty() {
        return Err(EINVAL);
    }
    Ok(ValidRanges(Some(list)))
}

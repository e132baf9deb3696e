// SPDX-License-Identifier: GPL-2.0

//! The list of addresses that may be mapped, as groups come and go.
//!
//! The rules are in [`crate::iommu_type1::logic::iova_ranges`]; this is where their lists live. A list is
//! always built next to the one in use, which stays as it is if anything fails.

use kernel::prelude::*;

use crate::iommu_type1::logic::{
    iova_ranges::{
        carve,
        narrow,
        Reserved, //
    },
    units::IovaRange, //
};

/// An empty list with room for as many regions as a group commonly has.
///
/// # Errors
///
/// `ENOMEM`.
pub(super) fn reserved_list() -> Result<KVec<Reserved>> {
    Ok(KVec::with_capacity(4, GFP_KERNEL)?)
}

/// `valid` restricted to `aperture` and without `reserved` regions.
///
/// # Errors
///
/// `ENOMEM`; `EINVAL` if no address is left.
pub(super) fn restricted(
    valid: &[IovaRange],
    aperture: IovaRange,
    reserved: &[Reserved],
) -> Result<KVec<IovaRange>> {
    // Each hole splits one range at most, so this is enough for all of them.
    let most = valid.len().max(1).saturating_add(reserved.len());
    let mut list = KVec::with_capacity(most, GFP_KERNEL)?;
    let mut rest = KVec::with_capacity(most, GFP_KERNEL)?;
    narrow(valid, aperture, |range| list.push(range, GFP_KERNEL))?;
    for hole in reserved.iter().filter_map(Reserved::excluded) {
        rest.clear();
        carve(&list, hole, |range| rest.push(range, GFP_KERNEL))?;
        core::mem::swap(&mut list, &mut rest);
    }
    if list.is_empty() {
        return Err(EINVAL);
    }
    Ok(list)
}

// SPDX-License-Identifier: GPL-2.0

//! The list of addresses that may be mapped, as groups come and go.
//!
//! The rules are in [`crate::logic::iova_ranges`]; this is where their lists live. A list is
//! always built next to the one in use, which stays as it is if anything fails.

use kernel::prelude::*;

use crate::logic::{
    iova_ranges::{
        carve,
        narrow,
        span,
        Reserved, //
    },
    units::IovaRange, //
};

use super::State;

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

impl State {
    /// Builds the list anew after a group was detached, from the reserved regions of the groups
    /// that are left. `domain_gone` says whether a domain went with the group, whose aperture
    /// then restricts nobody any more.
    ///
    /// Keeps the old list, which is never too long, if that fails.
    pub(super) fn refresh_valid(&mut self, domain_gone: bool) {
        let Some(old) = span(&self.valid) else {
            return;
        };
        let whole = if domain_gone {
            self.domains.aperture()
        } else {
            Some(old)
        };
        let list = whole.ok_or(EINVAL).and_then(|whole| {
            let reserved = self.domains.reserved()?;
            restricted(&[], whole, &reserved)
        });
        if let Ok(list) = list {
            self.valid = list;
        }
    }
}

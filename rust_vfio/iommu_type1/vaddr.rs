// SPDX-License-Identifier: GPL-2.0

//! Memory moves to another user address, or another process (contract 6.10).
//!
//! A virtual machine monitor that replaces itself says that the user addresses of its mappings
//! are not valid any more (UNMAP_DMA with the flag VADDR), and its successor says where the same
//! memory is now (MAP_DMA with that flag). Devices go on using it all the time. In between, nobody
//! may use the user addresses: no group is attached and no driver pins or copies.

use kernel::{
    prelude::*,
    sync::atomic::{
        AtomicFlag,
        Relaxed, //
    },
    warn_on, //
};

use crate::iommu_type1::{
    logic::{
        units::IovaRange,
        unmap_plan::Target, //
    },
    state::Type1State, //
};

impl Type1State {
    /// Whether user addresses can be exchanged: drivers of emulated devices use them at any time.
    pub(super) fn can_move_memory(&self) -> bool {
        self.emulated.is_empty()
    }

    /// Lets drivers use the user's memory, unless some of it has no address. That is the driver's
    /// mistake, so the kernel warns, once.
    ///
    /// # Errors
    ///
    /// `EBUSY`.
    pub(super) fn check_all_valid(&self) -> Result {
        static WARNED: AtomicFlag = AtomicFlag::new(false);
        let invalid = self.invalid_vaddrs != 0;
        warn_on!(invalid && !WARNED.xchg(true, Relaxed));
        if invalid {
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Says that the user addresses of the mappings that `target` is about are not valid any more.
    /// Returns the size of the mappings in bytes.
    ///
    /// # Errors
    ///
    /// `EBUSY` while there are emulated devices; `EINVAL` if that would cut a mapping, or if one
    /// of them is in that state already. Nothing has changed then.
    pub(super) fn invalidate_vaddrs(&mut self, target: Target) -> Result<u64> {
        let version = self.version;
        self.check_cuts(target)?;
        let mut next = self.mappings.place_from(target.range().first());
        while let Some(mut place) = next {
            if !place
                .range()
                .is_some_and(|range| target.takes(version, range))
            {
                break;
            }
            if !place.mapping().vaddr_valid {
                return Err(EINVAL);
            }
            next = place.next();
        }

        let mut bytes = 0u64;
        let mut next = self.mappings.place_from(target.range().first());
        while let Some(mut place) = next {
            let Some(range) = place.range().filter(|range| target.takes(version, *range)) else {
                break;
            };
            place.mapping().vaddr_valid = false;
            self.invalid_vaddrs = self.invalid_vaddrs.saturating_add(1);
            bytes = bytes.saturating_add(range.bytes());
            next = place.next();
        }
        Ok(bytes)
    }

    /// Says that the memory of the mapping with exactly the addresses `range` is the caller's, at
    /// user address `vaddr`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if nothing is mapped there; `EINVAL` if the mapping is another one, or its address
    /// is still valid; `ENOMEM` beyond the `RLIMIT_MEMLOCK` of a new process; `EINTR` if it was
    /// killed. Nothing has changed then.
    pub(super) fn update_vaddr(&mut self, range: IovaRange, vaddr: usize) -> Result {
        let found = self.mappings.next_from(range.first());
        let found = found.filter(|found| found.overlaps(range)).ok_or(ENOENT)?;
        let owner = self.current_owner()?;
        let mut place = self.mappings.place_from(range.first()).ok_or(ENOENT)?;
        let mapping = place.mapping();
        if found != range || mapping.vaddr_valid {
            return Err(EINVAL);
        }
        if !mapping.owner().is_current_mm() {
            let pages = mapping.accounted.pages();
            owner.account(pages)?;
            mapping.replace_owner(owner).unaccount(pages);
        }
        mapping.set_vaddr(vaddr);
        self.invalid_vaddrs = self.invalid_vaddrs.saturating_sub(1);
        Ok(())
    }
}

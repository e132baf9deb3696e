// SPDX-License-Identifier: GPL-2.0

//! The change of the user addresses of mappings, also to another process (contract 6.10).
//!
//! A virtual machine monitor that replaces itself by another program makes the user addresses of
//! its mappings invalid (UNMAP_DMA with the flag VADDR). The new program sets the addresses at
//! which it has the same memory (MAP_DMA with the flag VADDR). Devices go on with DMA all the time.
//! While a user address is invalid no group can be attached, and drivers can neither pin nor copy.
//!
//! Corresponds to the code for these flags in `vfio_dma_do_unmap()` and `vfio_dma_do_map()`, and to
//! `vfio_change_dma_owner()`.

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
    /// Returns whether user addresses can be made invalid. They cannot while a group of emulated
    /// devices is attached, since its drivers use them at any time.
    pub(super) fn can_move_memory(&self) -> bool {
        self.emulated.is_empty()
    }

    /// Checks that all user addresses are valid, before a driver pins or copies. If not, this is a
    /// mistake of the driver, so the kernel warns the first time.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the user address of a mapping is invalid.
    pub(super) fn check_all_valid(&self) -> Result {
        static WARNED: AtomicFlag = AtomicFlag::new(false);
        let invalid = self.invalid_vaddrs != 0;
        warn_on!(invalid && !WARNED.xchg(true, Relaxed));
        if invalid {
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Makes the user addresses of the mappings in `target` invalid. Returns the size of these
    /// mappings in bytes. The caller has checked [`Type1State::can_move_memory`].
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    ///
    /// - `EINVAL` with version 2 if a mapping is only partly in the range.
    /// - `EINVAL` if the user address of a mapping is invalid already.
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

    /// Sets the user address of the mapping with exactly the addresses `range` to `vaddr` in the
    /// calling process, which becomes the owner of the mapping.
    ///
    /// If that is another address space, its locked pages are accounted to the new owner and
    /// subtracted from the old one.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    ///
    /// - `ENOENT` if no mapping overlaps the range.
    /// - `ENODEV` if the calling task has no user memory.
    /// - `ENOMEM` if there is no memory.
    /// - `EINVAL` if the mapping has other addresses, or its user address is valid.
    /// - `EINTR` if the calling task was killed while it waited for the `mmap_lock`.
    /// - `ENOMEM` if the pages would exceed the `RLIMIT_MEMLOCK` of the new owner.
    #[doc(alias = "vfio_change_dma_owner")]
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

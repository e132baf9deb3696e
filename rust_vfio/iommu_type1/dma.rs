// SPDX-License-Identifier: GPL-2.0

//! MAP_DMA and UNMAP_DMA: what the user asks for, in the order in which it is checked.
//!
//! The order is part of the ABI (contract 6.5 and 6.6): a request with several mistakes gets the
//! errno of the first. What can be decided without the state of the container is decided, and
//! copied, without its lock.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    ffi::{
        iommu::Access,
        mm::Owner,
        pin::Memory,
        type1_uapi as uapi,
        uapi::UserAddr, //
    },
    logic::{
        iova_ranges,
        units::{
            Iova,
            IovaRange, //
        },
        unmap_plan::{
            aligned,
            map_range,
            smallest_page,
            Target, //
        }, //
    }, //
};

use super::{
    mapping::{
        Mapping,
        Slot, //
    },
    populate::{
        populate,
        release, //
    },
    State,
    Type1, //
};

/// A range of user memory that shall be mapped.
struct MapRequest {
    range: IovaRange,
    vaddr: usize,
    access: Access,
}

impl MapRequest {
    /// Reads the user's structure, as far as it can be checked on its own.
    fn read(arg: UserAddr) -> Result<Self> {
        let map: uapi::DmaMap = arg.read()?;
        let known = uapi::MAP_READ | uapi::MAP_WRITE;
        if (map.argsz as usize) < core::mem::size_of_val(&map) || map.flags & !known != 0 {
            return Err(EINVAL);
        }
        fits_native(&[map.size, map.vaddr, map.iova])?;
        let range = map_range(map.iova, map.vaddr, map.size)?;
        let access = Access {
            read: map.flags & uapi::MAP_READ != 0,
            write: map.flags & uapi::MAP_WRITE != 0,
        };
        if !access.read && !access.write {
            return Err(EINVAL);
        }
        Ok(Self {
            range,
            // CAST: Checked above.
            vaddr: map.vaddr as usize,
            access,
        })
    }
}

/// Whether addresses and sizes can be expressed in words of the machine.
///
/// # Errors
///
/// `EOVERFLOW` if not.
fn fits_native(numbers: &[u64]) -> Result {
    for number in numbers {
        usize::try_from(*number).map_err(|_| EOVERFLOW)?;
    }
    Ok(())
}

impl Type1 {
    /// MAP_DMA.
    ///
    /// # Errors
    ///
    /// See contract 6.5.
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    pub(super) fn map_dma(&self, arg: UserAddr) -> Result<isize> {
        let request = MapRequest::read(arg)?;
        self.state.lock().map(request)?;
        Ok(0)
    }

    /// UNMAP_DMA. Tells the user how many bytes are gone, which may be less or, with version 1,
    /// more than it asked for.
    ///
    /// # Errors
    ///
    /// See contract 6.6.
    #[inline(never)] // As `map_dma`.
    pub(super) fn unmap_dma(&self, arg: UserAddr) -> Result<isize> {
        let mut unmap: uapi::DmaUnmap = arg.read()?;
        let known = uapi::UNMAP_ALL;
        if (unmap.argsz as usize) < core::mem::size_of_val(&unmap) || unmap.flags & !known != 0 {
            return Err(EINVAL);
        }
        fits_native(&[unmap.iova, unmap.size])?;
        let all = unmap.flags & uapi::UNMAP_ALL != 0;

        unmap.size = {
            let mut state = self.state.lock();
            let page = smallest_page(state.domains.page_sizes())?;
            let target = Target::new(unmap.iova, unmap.size, all, page)?;
            state.unmap(target)?
        };
        arg.write(&unmap)?;
        Ok(0)
    }
}

impl State {
    fn map(&mut self, request: MapRequest) -> Result {
        let MapRequest {
            range,
            vaddr,
            access,
        } = request;
        let page = smallest_page(self.domains.page_sizes())?;
        if !aligned(&[range.bytes(), range.first().get(), vaddr as u64], page) {
            return Err(EINVAL);
        }
        if self.mappings.any_in(range) {
            return Err(EEXIST);
        }
        if self.available == 0 {
            return Err(ENOSPC);
        }
        if !iova_ranges::allows(&self.valid, range) {
            return Err(EINVAL);
        }
        let slot = Slot::new()?;
        let owner = self.current_owner()?;
        let mut mapping = Mapping::new(range.first(), vaddr, access, owner);
        if !self.domains.is_empty() {
            // The caller is the owner.
            populate(
                &mut mapping,
                range,
                Memory::Own,
                &self.domains,
                &mut self.buffer,
            )?;
        }
        self.available -= 1;
        self.mappings.insert(slot, range.last(), mapping);
        Ok(())
    }

    /// The calling process, as the owner of a mapping. Shared with earlier mappings of the same.
    fn current_owner(&mut self) -> Result<Arc<Owner>> {
        if let Some(owner) = &self.owner {
            if owner.is_current() {
                return Ok(owner.clone());
            }
        }
        let owner = Arc::new(Owner::current()?, GFP_KERNEL)?;
        self.owner = Some(owner.clone());
        Ok(owner)
    }

    /// Removes the mappings that `target` is about. Returns their size in bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that would cut a mapping, which version 2 does not do. Nothing is removed then.
    fn unmap(&mut self, target: Target) -> Result<u64> {
        let (version, request) = (self.version, target.range());
        let Some(place) = self.mappings.place_from(request.first()) else {
            return Ok(0);
        };
        let found = place.range().ok_or(EINVAL)?;
        if target.cuts(version, found) {
            return Err(EINVAL);
        }
        let mut next = if found.last() >= request.last() {
            // The usual case, one mapping, needs one search.
            Some(place)
        } else {
            let at_last = self.mappings.next_from(request.last());
            if at_last.is_some_and(|found| target.cuts(version, found)) {
                return Err(EINVAL);
            }
            self.mappings.place_from(request.first())
        };

        let mut bytes = 0u64;
        while let Some(mut place) = next {
            let Some(range) = place.range().filter(|range| target.takes(version, *range)) else {
                break;
            };
            release(place.mapping(), &self.domains);
            next = place.remove();
            bytes = bytes.saturating_add(range.bytes());
            self.available = self.available.saturating_add(1);
        }
        Ok(bytes)
    }

    /// Removes all mappings, when nobody is left who could use them.
    pub(super) fn remove_all_mappings(&mut self) {
        let mut next = self.mappings.place_from(Iova::MIN);
        while let Some(mut place) = next {
            release(place.mapping(), &self.domains);
            next = place.remove();
            self.available = self.available.saturating_add(1);
        }
    }
}

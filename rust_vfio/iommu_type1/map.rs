// SPDX-License-Identifier: GPL-2.0

//! MAP_DMA: what the user asks for, in the order in which it is checked.
//!
//! The order is part of the ABI (contract 6.5): a request with several mistakes gets the errno of
//! the first. What can be decided without the state of the container is decided, and copied,
//! without its lock.
//!
//! Deviation from C: a mapping that is too large for dirty tracking is refused before its memory
//! is pinned, not after.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        logic::{
            iova_ranges,
            units::IovaRange,
            unmap_plan::{
                aligned,
                map_range,
                smallest_page, //
            }, //
        },
        mapping::{
            Mapping,
            MappingReservation, //
        },
        populate::populate,
        state::{
            Type1,
            Type1State, //
        },
        uapi::{
            self,
            fits_native, //
        }, //
    },
    kernel::{
        iommu::IommuProt,
        pages::UserMm,
        uaccess::UserAddr, //
    }, //
};

/// A range of user memory that shall be mapped.
struct MapRequest {
    range: IovaRange,
    vaddr: usize,
    /// What devices may do, or nothing if only the user address of a mapping changes.
    access: Option<IommuProt>,
}

impl MapRequest {
    /// Reads the user's structure, as far as it can be checked on its own.
    fn read(arg: UserAddr) -> Result<Self> {
        let map: uapi::DmaMap = arg.read()?;
        let known = uapi::MAP_READ | uapi::MAP_WRITE | uapi::MAP_VADDR;
        if (map.argsz as usize) < core::mem::size_of_val(&map) || map.flags & !known != 0 {
            return Err(EINVAL);
        }
        fits_native(&[map.size, map.vaddr, map.iova])?;
        let range = map_range(map.iova, map.vaddr, map.size)?;
        let prot = IommuProt {
            read: map.flags & uapi::MAP_READ != 0,
            write: map.flags & uapi::MAP_WRITE != 0,
        };
        let new = prot.read || prot.write;
        if new == (map.flags & uapi::MAP_VADDR != 0) {
            return Err(EINVAL);
        }
        Ok(Self {
            range,
            // CAST: Checked above.
            vaddr: map.vaddr as usize,
            access: new.then_some(prot),
        })
    }
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
}

impl Type1State {
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
        let Some(access) = access else {
            return self.update_vaddr(range, vaddr);
        };
        if self.mappings.any_in(range) {
            return Err(EEXIST);
        }
        if self.available == 0 {
            return Err(ENOSPC);
        }
        if !iova_ranges::allows(&self.valid, range) {
            return Err(EINVAL);
        }
        self.can_track(range)?;
        let slot = MappingReservation::new()?;
        let owner = self.current_owner()?;
        let mut mapping = Mapping::new(range.first(), vaddr, access, owner);
        if !self.domains.is_empty() {
            // The caller is the owner.
            populate(
                &mut mapping,
                range,
                UserMm::Current,
                &self.domains,
                &mut self.buffer,
            )?;
        }
        self.available -= 1;
        self.mappings.insert(slot, range.last(), mapping);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! MAP_DMA (contract 6.5).
//!
//! The order of the checks is part of the ABI: a request with several mistakes gets the errno of
//! the first check that fails. Reading the request, and the checks that need no state of the
//! container, are done without its lock.
//!
//! Corresponds to `vfio_iommu_type1_map_dma()` and `vfio_dma_do_map()`.
//!
//! Deviation: C finds out only after a mapping was made that it is too large for dirty tracking,
//! and removes it again. We check that before memory is pinned, so that the request fails at once.

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
        refusal::DmaRefusal,
        state::{
            Type1,
            Type1State, //
        },
        trace,
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

/// A MAP_DMA whose numbers and flags have been checked.
struct MapRequest {
    /// The I/O addresses.
    range: IovaRange,
    /// The first user address.
    vaddr: usize,
    /// The accesses that devices are allowed, or `None` if only the user address of a mapping
    /// changes.
    access: Option<IommuProt>,
}

impl MapRequest {
    /// Does the checks of `map` that need no state of the container.
    ///
    /// # Errors
    ///
    /// The second to sixth of [`Type1::map_dma`].
    fn new(map: &uapi::DmaMap) -> Result<Self> {
        let known = uapi::MAP_READ | uapi::MAP_WRITE | uapi::MAP_VADDR;
        let arguments = DmaRefusal::Arguments {
            argsz: map.argsz,
            flags: map.flags,
        };
        if (map.argsz as usize) < core::mem::size_of_val(map) || map.flags & !known != 0 {
            return Err(arguments.report(EINVAL));
        }
        let range = fits_native(&[map.size, map.vaddr, map.iova])
            .and_then(|()| Ok(map_range(map.iova, map.vaddr, map.size)?))
            .map_err(|error| DmaRefusal::of_numbers(map.iova, map.vaddr, map.size).report(error))?;
        let prot = IommuProt {
            read: map.flags & uapi::MAP_READ != 0,
            write: map.flags & uapi::MAP_WRITE != 0,
        };
        let new = prot.read || prot.write;
        if new == (map.flags & uapi::MAP_VADDR != 0) {
            return Err(arguments.report(EINVAL));
        }
        Ok(Self {
            range,
            // CAST: `fits_native` has checked that the number fits.
            vaddr: map.vaddr as usize,
            access: new.then_some(prot),
        })
    }
}

impl Type1 {
    /// Handles MAP_DMA: maps user memory for all devices of the container, or with
    /// `VFIO_DMA_MAP_FLAG_VADDR` gives a mapping a new user address.
    ///
    /// Takes the lock of the container, and sleeps while memory is pinned.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    ///
    /// - `EFAULT` if the request cannot be read.
    /// - `EINVAL` if `argsz` is too small or an unknown flag is set.
    /// - `EOVERFLOW` if a number does not fit a native word.
    /// - `EINVAL` if the size is zero.
    /// - `EOVERFLOW` if the I/O addresses or the user addresses wrap.
    /// - `EINVAL` if no flag is set, or VADDR together with READ or WRITE.
    /// - `EINVAL` if a number is not a multiple of the smallest page size, or the domains have no
    ///   page size in common.
    /// - With VADDR, the errors of [`Type1State::update_vaddr`]. The following ones cannot occur.
    /// - `EEXIST` if a mapping overlaps the range.
    /// - `ENOSPC` if the container has as many mappings as `dma_entry_limit` allows.
    /// - `EINVAL` if the range is not within one range of valid addresses.
    /// - `EINVAL` if dirty pages are tracked and there are more than 2^31 - 1 of them in the range.
    /// - `ENOMEM` if there is no memory for the mapping.
    /// - If the container has a domain, the errors of [`populate`] for pinning and mapping the
    ///   memory: `EFAULT`, `ENOMEM` (also for exceeding `RLIMIT_MEMLOCK`), `EINTR` and others.
    #[doc(alias = "vfio_iommu_type1_map_dma")]
    #[doc(alias = "vfio_dma_do_map")]
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    pub(super) fn map_dma(&self, arg: UserAddr) -> Result<isize> {
        let map: uapi::DmaMap = arg.read()?;
        let result = MapRequest::new(&map).and_then(|request| self.state.lock().map(request));
        trace::map(map.iova, map.size, map.vaddr, map.flags, &result);
        result.map(|()| 0)
    }
}

impl Type1State {
    /// Does a MAP_DMA, with the lock of the container held.
    ///
    /// # Errors
    ///
    /// Those of [`Type1::map_dma`] from the seventh on.
    fn map(&mut self, request: MapRequest) -> Result {
        let MapRequest {
            range,
            vaddr,
            access,
        } = request;
        let page = smallest_page(self.domains.page_sizes())?;
        let (iova, size) = (range.first().get(), range.bytes());
        if !aligned(&[size, iova, vaddr as u64], page) {
            return Err(DmaRefusal::of_numbers(iova, vaddr as u64, size).report(EINVAL));
        }
        let Some(access) = access else {
            return self.update_vaddr(range, vaddr);
        };
        if let Some(other) = self.mappings.overlapping(range) {
            return Err(DmaRefusal::Overlap { range, other }.report(EEXIST));
        }
        if self.available == 0 {
            return Err(DmaRefusal::Entries.report(ENOSPC));
        }
        if !iova_ranges::allows(&self.valid, range) {
            return Err(DmaRefusal::of_addresses(range, &self.valid).report(EINVAL));
        }
        self.can_track(range)?;
        let slot = MappingReservation::new()?;
        let owner = self.current_owner()?;
        let mut mapping = Mapping::new(range.first(), vaddr, access, owner);
        if !self.domains.is_empty() {
            // The owner is the calling process.
            populate(
                &mut mapping,
                range,
                UserMm::Current,
                &self.domains,
                &mut self.buffers,
            )
            .inspect_err(|error| {
                if *error == EFAULT {
                    let write = access.write;
                    DmaRefusal::NoMemory { vaddr, size, write }.report(EFAULT);
                }
            })?;
        }
        self.available -= 1;
        self.mappings.insert(slot, range.last(), mapping);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! UNMAP_DMA: mappings go, or lose their user addresses.
//!
//! As for [`crate::iommu_type1::map`], the order of the checks is part of the ABI (contract 6.6). A
//! mapping whose pages a driver uses can only go once they are unpinned, for which the driver is
//! called without the lock of the container. So the walk over the mappings ends there, and begins
//! again with all checks after the driver was called: meanwhile anything may have changed.
//!
//! Deviation from C: if a driver does not unpin, the request fails with `EBUSY` after the driver
//! was told as often as C does it, and the mapping stays. C stops the kernel.

use kernel::{
    prelude::*,
    warn_on, //
};

use crate::{
    iommu_type1::{
        dirty_report::{
            Report,
            UserBitmap, //
        },
        logic::{
            units::{
                Iova,
                IovaRange, //
            },
            unmap_plan::{
                smallest_page,
                Target, //
            }, //
        },
        mapping::MappingCursor,
        populate::release,
        state::{
            Type1,
            Type1State, //
        },
        uapi::{
            self,
            fits_native, //
        }, //
    },
    kernel::uaccess::UserAddr, //
};

/// How often drivers are told that one mapping goes away.
const MAX_NOTICES: u32 = 11;

/// What happens to the mappings.
enum Purpose {
    /// They go.
    Remove,
    /// They go, after the dirty pages of each were written to the bitmap.
    Report(UserBitmap),
    /// They lose their user addresses.
    Invalidate,
}

/// An UNMAP_DMA, as far as it can be checked on its own.
struct UnmapRequest {
    iova: u64,
    size: u64,
    all: bool,
    purpose: Purpose,
}

impl UnmapRequest {
    /// Reads what the user's structure, which begins with `unmap`, says.
    fn read(arg: UserAddr, unmap: &uapi::DmaUnmap) -> Result<Self> {
        let header = core::mem::size_of_val(unmap);
        let (flags, room) = (unmap.flags, unmap.argsz as usize);
        let known = uapi::UNMAP_GET_DIRTY_BITMAP | uapi::UNMAP_ALL | uapi::UNMAP_VADDR;
        if room < header || flags & !known != 0 {
            return Err(EINVAL);
        }
        let purpose = if flags & uapi::UNMAP_GET_DIRTY_BITMAP != 0 {
            if flags & (uapi::UNMAP_ALL | uapi::UNMAP_VADDR) != 0
                || room - header < core::mem::size_of::<uapi::DirtyBitmap>()
            {
                return Err(EINVAL);
            }
            Purpose::Report(UserBitmap::new(arg.offset(header).read()?, unmap.size)?)
        } else if flags & uapi::UNMAP_VADDR != 0 {
            Purpose::Invalidate
        } else {
            Purpose::Remove
        };
        Ok(Self {
            iova: unmap.iova,
            size: unmap.size,
            all: flags & uapi::UNMAP_ALL != 0,
            purpose,
        })
    }
}

/// How far a walk over the mappings came.
enum Walk {
    /// To the end.
    Done,
    /// To the mapping with these addresses, of which drivers have pinned pages.
    Pinned(IovaRange),
}

impl Type1 {
    /// UNMAP_DMA. Tells the user how many bytes are gone, which may be less or, with version 1,
    /// more than it asked for.
    ///
    /// # Errors
    ///
    /// See contract 6.6.
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    pub(super) fn unmap_dma(&self, arg: UserAddr) -> Result<isize> {
        let mut unmap: uapi::DmaUnmap = arg.read()?;
        let request = UnmapRequest::read(arg, &unmap)?;

        let mut bytes = 0;
        let mut told: Option<(IovaRange, u32)> = None;
        loop {
            let walk = self.state.lock().unmap(&request, &mut bytes)?;
            let Walk::Pinned(range) = walk else {
                break;
            };
            let times = match told {
                Some((same, times)) if same == range => times,
                _ => 0,
            };
            if warn_on!(times == MAX_NOTICES) {
                return Err(EBUSY);
            }
            told = Some((range, times + 1));
            self.notify(range);
        }

        unmap.size = bytes;
        arg.write(&unmap)?;
        Ok(0)
    }
}

impl Type1State {
    /// Does as much of `request` as can be done without calling drivers, and adds the size of the
    /// mappings to `bytes`.
    fn unmap(&mut self, request: &UnmapRequest, bytes: &mut u64) -> Result<Walk> {
        if matches!(request.purpose, Purpose::Invalidate) && !self.can_move_memory() {
            return Err(EBUSY);
        }
        fits_native(&[request.iova, request.size])?;
        let page = smallest_page(self.domains.page_sizes())?;
        let target = Target::new(request.iova, request.size, request.all, page)?;
        match &request.purpose {
            Purpose::Remove => self.remove(target, None, bytes),
            Purpose::Report(bitmap) => {
                self.can_report(bitmap)?;
                self.remove(target, Some(bitmap), bytes)
            }
            Purpose::Invalidate => {
                *bytes = self.invalidate_vaddrs(target)?;
                Ok(Walk::Done)
            }
        }
    }

    /// Removes the mappings that `target` is about, up to one that has pinned pages.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that would cut a mapping, which version 2 does not do. Nothing is removed then.
    /// `EFAULT` if the dirty pages of a mapping cannot be written to `bitmap`; those before it are
    /// gone.
    fn remove(
        &mut self,
        target: Target,
        bitmap: Option<&UserBitmap>,
        bytes: &mut u64,
    ) -> Result<Walk> {
        let (version, request) = (self.version, target.range());
        let Some(place) = self.mappings.place_from(request.first()) else {
            return Ok(Walk::Done);
        };
        let found = place.range().ok_or(EINVAL)?;
        let mut next = if found.last() >= request.last() {
            // The usual case, one mapping, needs one search.
            if target.cuts(version, found) {
                return Err(EINVAL);
            }
            Some(place)
        } else {
            self.check_cuts(target)?;
            self.mappings.place_from(request.first())
        };

        let anywhere = self.domains.write_anywhere();
        let mut report = bitmap.map(|bitmap| Report::new(bitmap, request.first()));
        while let Some(mut place) = next {
            let Some(range) = place.range().filter(|range| target.takes(version, *range)) else {
                break;
            };
            let mapping = place.mapping();
            if mapping.has_pins() {
                return Ok(Walk::Pinned(range));
            }
            if let Some(report) = &mut report {
                mapping.report_dirty(range, anywhere, report)?;
                report.flush()?;
            }
            if !mapping.vaddr_valid {
                self.invalid_vaddrs = self.invalid_vaddrs.saturating_sub(1);
            }
            release(mapping, &self.domains);
            next = MappingCursor::remove(place);
            *bytes = bytes.saturating_add(range.bytes());
            self.available = self.available.saturating_add(1);
        }
        Ok(Walk::Done)
    }

    /// Removes all mappings, when nobody is left who could use them.
    pub(super) fn remove_all_mappings(&mut self) {
        let mut next = self.mappings.place_from(Iova::MIN);
        while let Some(mut place) = next {
            release(place.mapping(), &self.domains);
            next = place.remove();
            self.available = self.available.saturating_add(1);
        }
        self.invalid_vaddrs = 0;
    }
}

impl Drop for Type1State {
    fn drop(&mut self) {
        // The groups that are left are detached after that, with their domains.
        self.remove_all_mappings();
    }
}

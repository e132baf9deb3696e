// SPDX-License-Identifier: GPL-2.0

//! UNMAP_DMA (contract 6.6): removes mappings, or makes their user addresses invalid.
//!
//! The order of the checks is part of the ABI. A mapping with pages that drivers have pinned can
//! only be removed after these were unpinned. For that the drivers are notified without the lock of
//! the container. The state may have changed meanwhile, so the iteration over the mappings begins
//! again after that, with all checks.
//!
//! Corresponds to `vfio_iommu_type1_unmap_dma()`, `vfio_dma_do_unmap()`, `vfio_remove_dma()` and
//! `vfio_iommu_unmap_unpin_all()`.
//!
//! Deviation: C stops the kernel (`BUG_ON`) if a mapping still has pinned pages after its drivers
//! were notified eleven times, or if no device is registered that could be notified. We warn and
//! fail with `EBUSY`, and the mapping stays.
//!
//! Deviation: C returns success if a mapping that is only partly in the range appears while drivers
//! are notified, although it unmaps nothing more then. We fail with `EINVAL`, as if it had been
//! there before.

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
    kernel::uaccess::UserAddr, //
};

/// The largest number of notifications of drivers, one after the other, about the same mapping.
/// Corresponds to `retries` in `vfio_dma_do_unmap()`.
const MAX_NOTICES: u32 = 11;

/// What is done to the mappings.
enum Purpose {
    /// They are removed.
    Remove,
    /// They are removed, each after its dirty pages were written to the bitmap.
    Report(UserBitmap),
    /// Their user addresses become invalid.
    Invalidate,
}

/// An UNMAP_DMA whose flags and bitmap have been checked.
struct UnmapRequest {
    iova: u64,
    size: u64,
    all: bool,
    purpose: Purpose,
}

impl UnmapRequest {
    /// Checks the request that begins with `unmap`, and reads the rest of it from `arg`.
    ///
    /// # Errors
    ///
    /// The second to fifth of [`Type1::unmap_dma`].
    fn read(arg: UserAddr, unmap: &uapi::DmaUnmap) -> Result<Self> {
        let header = core::mem::size_of_val(unmap);
        let (flags, room) = (unmap.flags, unmap.argsz as usize);
        let known = uapi::UNMAP_GET_DIRTY_BITMAP | uapi::UNMAP_ALL | uapi::UNMAP_VADDR;
        let arguments = DmaRefusal::Arguments {
            argsz: unmap.argsz,
            flags,
        };
        if room < header || flags & !known != 0 {
            return Err(arguments.report(EINVAL));
        }
        let purpose = if flags & uapi::UNMAP_GET_DIRTY_BITMAP != 0 {
            if flags & (uapi::UNMAP_ALL | uapi::UNMAP_VADDR) != 0
                || room - header < core::mem::size_of::<uapi::DirtyBitmap>()
            {
                return Err(arguments.report(EINVAL));
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

/// The end of an iteration over the mappings.
enum Walk {
    /// All mappings of the request are done.
    Done,
    /// The next mapping, which has these addresses, has pages that drivers have pinned.
    Pinned(IovaRange),
}

impl Type1 {
    /// Handles UNMAP_DMA: removes the mappings in a range, or with `VFIO_DMA_UNMAP_FLAG_VADDR`
    /// makes their user addresses invalid.
    ///
    /// Writes the number of bytes that were unmapped to the request. It can be less than was asked
    /// for, and with version 1 also more. Takes the lock of the container, which must not be held,
    /// and releases it while drivers are notified. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if the request cannot be read.
    /// - `EINVAL` if `argsz` is too small or an unknown flag is set.
    /// - `EINVAL` if GET_DIRTY_BITMAP is set together with ALL or VADDR, or `argsz` does not cover
    ///   the bitmap that it needs.
    /// - `EFAULT` if the description of the bitmap cannot be read.
    /// - `EINVAL` if the bitmap is not in user space, its size does not fit that of the range, or
    ///   its page size is zero.
    /// - `EBUSY` with VADDR if a group of emulated devices is attached.
    /// - `EOVERFLOW` if a number does not fit a native word.
    /// - `EINVAL` if the address is not a multiple of the smallest page size, or the domains have
    ///   no page size in common.
    /// - `EINVAL` with ALL if the address or the size is not zero.
    /// - `EINVAL` without ALL if the size is zero or not a multiple of the smallest page size.
    /// - `EOVERFLOW` if the range wraps.
    /// - `EINVAL` with GET_DIRTY_BITMAP if dirty pages are not tracked, or the page size of the
    ///   bitmap is not the smallest.
    /// - `EINVAL` with version 2, without ALL, if a mapping is only partly in the range.
    /// - `EINVAL` with VADDR if the user address of a mapping is invalid already.
    /// - `EFAULT` if the dirty pages of a mapping cannot be written to the bitmap. The mappings
    ///   before it have been removed.
    /// - `EBUSY` if drivers do not unpin the pages of a mapping. The mappings before it have been
    ///   removed.
    /// - `EFAULT` if the result cannot be written. The mappings have been removed.
    #[doc(alias = "vfio_iommu_type1_unmap_dma")]
    #[doc(alias = "vfio_dma_do_unmap")]
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    pub(super) fn unmap_dma(&self, arg: UserAddr) -> Result<isize> {
        let mut unmap: uapi::DmaUnmap = arg.read()?;
        trace::unmap(unmap.iova, unmap.size, unmap.flags);
        let mut bytes = 0;
        let result = self.unmap(arg, &unmap, &mut bytes);
        trace::unmap_done(unmap.iova, unmap.size, bytes, &result);
        result?;
        unmap.size = bytes;
        arg.write(&unmap)?;
        Ok(0)
    }

    /// Does the UNMAP_DMA `unmap`, the rest of which is read from `arg`. Adds the sizes of the
    /// mappings that are done to `bytes`.
    ///
    /// # Errors
    ///
    /// Those of [`Type1::unmap_dma`] without the first and the last one.
    fn unmap(&self, arg: UserAddr, unmap: &uapi::DmaUnmap, bytes: &mut u64) -> Result {
        let request = UnmapRequest::read(arg, unmap)?;
        let mut told: Option<(IovaRange, u32)> = None;
        loop {
            let walk = self.state.lock().unmap(&request, bytes)?;
            let Walk::Pinned(range) = walk else {
                return Ok(());
            };
            let times = match told {
                Some((same, times)) if same == range => times,
                _ => 0,
            };
            if warn_on!(times == MAX_NOTICES) {
                return Err(DmaRefusal::Pinned { mapping: range }.report(EBUSY));
            }
            told = Some((range, times + 1));
            self.notify(range);
        }
    }
}

impl Type1State {
    /// Does as much of `request` as can be done without notifying drivers, and adds the sizes of
    /// the mappings that are done to `bytes`.
    ///
    /// # Errors
    ///
    /// Those of [`Type1::unmap_dma`] from the first `EBUSY` to the `EFAULT` for the dirty pages of
    /// a mapping.
    fn unmap(&mut self, request: &UnmapRequest, bytes: &mut u64) -> Result<Walk> {
        if matches!(request.purpose, Purpose::Invalidate) && !self.can_move_memory() {
            return Err(EBUSY);
        }
        let refuse =
            |error: Error| DmaRefusal::of_numbers(request.iova, 0, request.size).report(error);
        fits_native(&[request.iova, request.size]).map_err(refuse)?;
        let page = smallest_page(self.domains.page_sizes())?;
        let target = Target::new(request.iova, request.size, request.all, page)
            .map_err(|refusal| refuse(refusal.into()))?;
        match &request.purpose {
            Purpose::Remove => self.remove(target, None, bytes),
            Purpose::Report(bitmap) => {
                self.can_report(bitmap)?;
                let mut report = Report::new(bitmap, target.range().first());
                self.remove(target, Some(&mut report), bytes)
            }
            Purpose::Invalidate => {
                *bytes = self.invalidate_vaddrs(target)?;
                Ok(Walk::Done)
            }
        }
    }

    /// Removes the mappings in `target`, up to one with pages that drivers have pinned. Adds their
    /// sizes in bytes to `bytes`.
    ///
    /// # Errors
    ///
    /// - `EINVAL` with version 2 if a mapping is only partly in the range. Nothing is removed then.
    /// - `EFAULT` if the dirty pages of a mapping cannot be added to `report`. The mappings before
    ///   it have been removed.
    fn remove(
        &mut self,
        target: Target,
        mut report: Option<&mut Report<'_>>,
        bytes: &mut u64,
    ) -> Result<Walk> {
        let (version, request) = (self.version, target.range());
        let Some(place) = self.mappings.place_from(request.first()) else {
            return Ok(Walk::Done);
        };
        let found = place.range().ok_or(EINVAL)?;
        let mut next = if found.last() >= request.last() {
            // The usual case: the first mapping ends at or above the end of the range, so it is the
            // only one that can be partly in it, and one search is enough.
            if target.cuts(version, found) {
                return Err(DmaRefusal::partial(request, found).report(EINVAL));
            }
            Some(place)
        } else {
            self.check_cuts(target)?;
            self.mappings.place_from(request.first())
        };

        let anywhere = self.domains.write_anywhere();
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
            release(mapping, &self.domains, &mut self.buffers);
            next = MappingCursor::remove(place);
            *bytes = bytes.saturating_add(range.bytes());
            self.available = self.available.saturating_add(1);
        }
        Ok(Walk::Done)
    }

    /// Removes all mappings. Called when no group is attached any more, or the state is freed.
    #[doc(alias = "vfio_iommu_unmap_unpin_all")]
    pub(super) fn remove_all_mappings(&mut self) {
        let mut next = self.mappings.place_from(Iova::MIN);
        while let Some(mut place) = next {
            release(place.mapping(), &self.domains, &mut self.buffers);
            next = place.remove();
            self.available = self.available.saturating_add(1);
        }
        self.invalid_vaddrs = 0;
    }
}

impl Drop for Type1State {
    fn drop(&mut self) {
        // The domains are dropped after this, which detaches the groups that remain.
        self.remove_all_mappings();
    }
}

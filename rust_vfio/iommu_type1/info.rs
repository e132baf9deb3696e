// SPDX-License-Identifier: GPL-2.0

//! GET_INFO (contract 6.4) and CHECK_EXTENSION (contract 6.3).
//!
//! Corresponds to `vfio_iommu_type1_get_info()`, the functions `vfio_iommu_*_build_caps()`, and
//! `vfio_iommu_type1_check_extension()`.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        logic::unmap_plan::smallest_page,
        state::Type1,
        uapi::{
            self,
            extension, //
        }, //
    },
    kernel::uaccess::UserAddr, //
};

/// Answers CHECK_EXTENSION: returns 1 if the extension `what` is supported and 0 otherwise. `type1`
/// is `None` before the type of the container is set.
#[doc(alias = "vfio_iommu_type1_check_extension")]
pub(super) fn check_extension(type1: Option<&Type1>, what: usize) -> isize {
    let yes = match (what, type1) {
        (extension::TYPE1 | extension::TYPE1_V2 | extension::UNMAP_ALL, _) => true,
        (_, Some(type1)) => type1.has_extension(what),
        (_, None) => false,
    };
    isize::from(yes)
}

impl Type1 {
    /// Returns whether the container has an extension that depends on its state.
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    fn has_extension(&self, what: usize) -> bool {
        match what {
            extension::DMA_CC => self.state.lock().domains.all_enforce_coherency(),
            extension::UPDATE_VADDR => self.state.lock().can_move_memory(),
            _ => false,
        }
    }

    /// Handles GET_INFO: returns the page sizes, and a chain of capabilities if `argsz` has room
    /// for all of it. Otherwise sets `argsz` to the size in bytes that is needed.
    ///
    /// Takes the lock of the container.
    ///
    /// # Errors
    ///
    /// - `EFAULT` if the request cannot be read.
    /// - `EINVAL` if `argsz` does not cover the page sizes.
    /// - `ENOMEM` if there is no memory for a copy of the valid ranges.
    /// - `EFAULT` if the reply cannot be written.
    #[doc(alias = "vfio_iommu_type1_get_info")]
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    pub(super) fn get_info(&self, arg: UserAddr) -> Result<isize> {
        let asked: uapi::Info = arg.read_prefix(uapi::INFO_MIN)?;
        let room = asked.argsz as usize;
        if room < uapi::INFO_MIN {
            return Err(EINVAL);
        }

        let mut ranges = KVVec::new();
        let (page_sizes, capabilities, fixed, needed) = {
            let state = self.state.lock();
            let page_sizes = state.domains.page_sizes();
            // The number of ranges is bounded by that of the reserved regions of all groups.
            let count = u32::try_from(state.valid.len())?;
            let capabilities = uapi::Capabilities::new(
                smallest_page(page_sizes).unwrap_or(0),
                state.available,
                count,
            );
            let fixed = uapi::Capabilities::fixed_bytes(count);
            let needed = core::mem::size_of::<uapi::Info>()
                + fixed
                + state.valid.len() * core::mem::size_of::<uapi::AddressRange>();
            if room >= needed {
                ranges.reserve(state.valid.len(), GFP_KERNEL)?;
                for range in state.valid.iter() {
                    let range = uapi::AddressRange {
                        first: range.first().get(),
                        last: range.last().get(),
                    };
                    ranges.push(range, GFP_KERNEL)?;
                }
            }
            (page_sizes, capabilities, fixed, needed)
        };

        let mut info = uapi::Info {
            argsz: asked.argsz,
            flags: uapi::INFO_PGSIZES | uapi::INFO_CAPS,
            iova_pgsizes: page_sizes,
            ..Default::default()
        };
        if room < needed {
            info.argsz = u32::try_from(needed)?;
        } else {
            let to = arg.offset(core::mem::size_of::<uapi::Info>());
            info.cap_offset = u32::try_from(core::mem::size_of::<uapi::Info>())?;
            to.write_prefix(&capabilities, fixed)?;
            to.offset(fixed).write_all(&ranges)?;
        }
        arg.write_prefix(&info, room)?;
        Ok(0)
    }
}

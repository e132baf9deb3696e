// SPDX-License-Identifier: GPL-2.0

//! What a container tells about itself: GET_INFO and CHECK_EXTENSION.

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

/// Answers CHECK_EXTENSION. Before the type of a container is set there is no `type1` to ask.
pub(super) fn check_extension(type1: Option<&Type1>, what: usize) -> isize {
    let yes = match (what, type1) {
        (extension::TYPE1 | extension::TYPE1_V2 | extension::UNMAP_ALL, _) => true,
        (_, Some(type1)) => type1.has_extension(what),
        (_, None) => false,
    };
    isize::from(yes)
}

impl Type1 {
    /// Whether the container has an extension that depends on what is in it.
    #[inline(never)] // As `get_info`.
    fn has_extension(&self, what: usize) -> bool {
        match what {
            extension::DMA_CC => self.state.lock().domains.all_enforce_coherency(),
            extension::UPDATE_VADDR => self.state.lock().can_move_memory(),
            _ => false,
        }
    }

    /// GET_INFO: page sizes, and a chain of capabilities if the user made room for it.
    ///
    /// # Errors
    ///
    /// `EFAULT`; `EINVAL` if there is no room for the page sizes; `ENOMEM`.
    #[inline(never)] // So that cheap requests need not save the registers of this one.
    pub(super) fn get_info(&self, arg: UserAddr) -> Result<isize> {
        let asked: uapi::Info = arg.read_prefix(uapi::INFO_MIN)?;
        let room = asked.argsz as usize;
        if room < uapi::INFO_MIN {
            return Err(EINVAL);
        }

        let mut ranges = KVec::new();
        let (page_sizes, capabilities, fixed, needed) = {
            let state = self.state.lock();
            let page_sizes = state.domains.page_sizes();
            // The list comes from hardware and has a handful of elements.
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
            let mut to = arg.offset(core::mem::size_of::<uapi::Info>());
            info.cap_offset = u32::try_from(core::mem::size_of::<uapi::Info>())?;
            to.write_prefix(&capabilities, fixed)?;
            to = to.offset(fixed);
            for range in &ranges {
                to.write(range)?;
                to = to.offset(core::mem::size_of::<uapi::AddressRange>());
            }
        }
        arg.write_prefix(&info, room)?;
        Ok(0)
    }
}

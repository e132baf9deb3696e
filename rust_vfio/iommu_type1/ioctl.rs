// SPDX-License-Identifier: GPL-2.0

//! The dispatch of ioctls on a container.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        info,
        state::Type1, //
    },
    kernel::uaccess::UserAddr,
    uapi::ioctls, //
};

impl Type1 {
    /// Handles an ioctl on the container that the core does not handle itself. `arg` is its
    /// argument.
    ///
    /// Called without locks, in the context of the calling task.
    ///
    /// # Errors
    ///
    /// - `ENOTTY` for an unknown request.
    /// - Those of [`Type1::get_info`], [`Type1::map_dma`], [`Type1::unmap_dma`] and
    ///   [`Type1::dirty_pages`]. CHECK_EXTENSION does not fail.
    #[doc(alias = "vfio_iommu_type1_ioctl")]
    pub(super) fn ioctl(&self, request: u32, arg: UserAddr) -> Result<isize> {
        match request {
            ioctls::VFIO_CHECK_EXTENSION => Ok(info::check_extension(Some(self), arg.get())),
            ioctls::VFIO_IOMMU_GET_INFO => self.get_info(arg),
            ioctls::VFIO_IOMMU_MAP_DMA => self.map_dma(arg),
            ioctls::VFIO_IOMMU_UNMAP_DMA => self.unmap_dma(arg),
            ioctls::VFIO_IOMMU_DIRTY_PAGES => self.dirty_pages(arg),
            _ => Err(ENOTTY),
        }
    }
}

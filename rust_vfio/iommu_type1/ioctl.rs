// SPDX-License-Identifier: GPL-2.0

//! Which request of a container goes where.
//!
//! Corresponds to `vfio_iommu_type1_ioctl()`.

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
    /// Handles a request of the user to the container that the core does not know.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if this backend does not know it either, otherwise what the request says.
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

// SPDX-License-Identifier: GPL-2.0

//! The numbers of ioctl requests, which bindgen cannot generate because they are macros, and other
//! numbers of the user ABI. They are those of `include/uapi/linux/vfio.h`.
//!
//! A request of VFIO consists of the type `';'` and a number, without size and direction (contract
//! 3.0).

use kernel::ioctl::_IO;

/// Returns the request with the number `nr`, counted from `VFIO_BASE` on.
const fn request(nr: u32) -> u32 {
    _IO(b';' as u32, 100 + nr)
}

pub(crate) const VFIO_GET_API_VERSION: u32 = request(0);
pub(crate) const VFIO_CHECK_EXTENSION: u32 = request(1);
pub(crate) const VFIO_SET_IOMMU: u32 = request(2);
pub(crate) const VFIO_GROUP_GET_STATUS: u32 = request(3);
pub(crate) const VFIO_GROUP_SET_CONTAINER: u32 = request(4);
pub(crate) const VFIO_GROUP_UNSET_CONTAINER: u32 = request(5);
pub(crate) const VFIO_GROUP_GET_DEVICE_FD: u32 = request(6);
pub(crate) const VFIO_DEVICE_GET_REGION_INFO: u32 = request(8);
pub(crate) const VFIO_DEVICE_FEATURE: u32 = request(17);
pub(crate) const VFIO_DEVICE_BIND_IOMMUFD: u32 = request(18);
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) const VFIO_DEVICE_ATTACH_IOMMUFD_PT: u32 = request(19);
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) const VFIO_DEVICE_DETACH_IOMMUFD_PT: u32 = request(20);

// Requests of containers that their IOMMU backend handles. A number can stand for different
// requests on different kinds of files, so some of these numbers are also above.
pub(crate) const VFIO_IOMMU_GET_INFO: u32 = request(12);
pub(crate) const VFIO_IOMMU_MAP_DMA: u32 = request(13);
pub(crate) const VFIO_IOMMU_UNMAP_DMA: u32 = request(14);
pub(crate) const VFIO_IOMMU_DIRTY_PAGES: u32 = request(17);

/// The version of the API that VFIO_GET_API_VERSION returns.
pub(crate) const VFIO_API_VERSION: isize = 0;

/// The IOMMU type of a container for devices without IOMMU.
pub(crate) const VFIO_NOIOMMU_IOMMU: usize = 8;

// SPDX-License-Identifier: GPL-2.0

//! Numbers of the user ABI that bindgen cannot see: ioctl requests, which are built by macros.
//!
//! All requests of VFIO are `';'` with a number and neither size nor direction (contract 3.0).

use kernel::ioctl::_IO;

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

// Requests of containers that only their IOMMU backend knows. Numbers are given out per kind of
// file, so some of them stand for something else above.
pub(crate) const VFIO_IOMMU_GET_INFO: u32 = request(12);
pub(crate) const VFIO_IOMMU_MAP_DMA: u32 = request(13);
pub(crate) const VFIO_IOMMU_UNMAP_DMA: u32 = request(14);
pub(crate) const VFIO_IOMMU_DIRTY_PAGES: u32 = request(17);

/// The version of the API that VFIO_GET_API_VERSION returns.
pub(crate) const VFIO_API_VERSION: isize = 0;

/// The IOMMU type of a container whose devices have no IOMMU.
pub(crate) const VFIO_NOIOMMU_IOMMU: usize = 8;

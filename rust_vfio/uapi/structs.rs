// SPDX-License-Identifier: GPL-2.0

//! The structures of the user ABI that `vfio.ko` itself reads and writes, with Rust names. They are
//! those of `include/uapi/linux/vfio.h`; contract sections 3.2, 3.3 and 3.5.

use crate::kernel::uaccess::UapiStruct;

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) use crate::bindings::{
    vfio_device_attach_iommufd_pt as AttachIommufdPt,
    vfio_device_bind_iommufd as BindIommufd,
    vfio_device_detach_iommufd_pt as DetachIommufdPt,
    VFIO_DEVICE_ATTACH_PASID as ATTACH_PASID,
    VFIO_DEVICE_BIND_FLAG_TOKEN as BIND_FLAG_TOKEN,
    VFIO_DEVICE_DETACH_PASID as DETACH_PASID, //
};
pub(crate) use crate::bindings::{
    vfio_group_status as GroupStatus,
    vfio_region_info as RegionInfo,
    VFIO_GROUP_FLAGS_CONTAINER_SET as GROUP_FLAGS_CONTAINER_SET,
    VFIO_GROUP_FLAGS_VIABLE as GROUP_FLAGS_VIABLE,
    VFIO_REGION_INFO_FLAG_CAPS as REGION_INFO_FLAG_CAPS, //
};

// SAFETY: Two integers of 32 bits, without padding.
unsafe impl UapiStruct for GroupStatus {}

// SAFETY: Four integers of 32 bits and two of 64, without padding.
unsafe impl UapiStruct for RegionInfo {}

// SAFETY: An array of bytes is valid for every bit pattern and has no padding.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
unsafe impl UapiStruct for [u8; 16] {}

// SAFETY: Four integers of 32 bits and one of 64, without padding.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
unsafe impl UapiStruct for BindIommufd {}

// SAFETY: Four integers of 32 bits, without padding.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
unsafe impl UapiStruct for AttachIommufdPt {}

// SAFETY: Three integers of 32 bits, without padding.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
unsafe impl UapiStruct for DetachIommufdPt {}

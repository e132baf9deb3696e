// SPDX-License-Identifier: GPL-2.0

//! The structures of the user ABI that `vfio.ko` reads and writes itself, under Rust names.

use super::uapi::UapiStruct;

pub(crate) use super::bindings::{
    vfio_group_status as GroupStatus,
    vfio_region_info as RegionInfo,
    VFIO_GROUP_FLAGS_CONTAINER_SET as GROUP_FLAGS_CONTAINER_SET,
    VFIO_GROUP_FLAGS_VIABLE as GROUP_FLAGS_VIABLE,
    VFIO_REGION_INFO_FLAG_CAPS as REGION_INFO_FLAG_CAPS, //
};

// SAFETY: Two integers of 32 bits.
unsafe impl UapiStruct for GroupStatus {}

// SAFETY: Four integers of 32 bits and two of 64, without padding.
unsafe impl UapiStruct for RegionInfo {}

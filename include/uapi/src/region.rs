// SPDX-License-Identifier: GPL-2.0
//! Regions of a device: its registers, memory and configuration space
//! (contract rows F032, F037, F038).

use crate::{request, InfoCapHeader};

/// Reads [`RegionInfo`] of the region whose number the caller put in `index`.
pub const DEVICE_GET_REGION_INFO: u32 = request(8);

/// [`RegionInfo::flags`]: `pread` works.
pub const REGION_INFO_FLAG_READ: u32 = 1 << 0;
/// [`RegionInfo::flags`]: `pwrite` works.
pub const REGION_INFO_FLAG_WRITE: u32 = 1 << 1;
/// [`RegionInfo::flags`]: `mmap` works, perhaps not on every page of it.
pub const REGION_INFO_FLAG_MMAP: u32 = 1 << 2;
/// [`RegionInfo::flags`]: capabilities exist; see [`RegionInfo::cap_offset`].
pub const REGION_INFO_FLAG_CAPS: u32 = 1 << 3;

/// Answer of [`DEVICE_GET_REGION_INFO`].
#[doc(alias = "vfio_region_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionInfo {
    /// In: bytes offered, at least 32. Out: bytes needed for all capabilities,
    /// if too few were offered.
    pub argsz: u32,
    /// Out: `REGION_INFO_FLAG_*`.
    pub flags: u32,
    /// In: which region.
    pub index: u32,
    /// Out: where the first capability begins; 0 if they did not fit. Not
    /// touched for a region without capabilities.
    pub cap_offset: u32,
    /// Out: bytes in the region; 0 for one that the device lacks.
    pub size: u64,
    /// Out: where in the device file the region begins.
    pub offset: u64,
}

/// [`InfoCapHeader::id`] of [`RegionInfoCapSparseMmap`].
pub const REGION_INFO_CAP_SPARSE_MMAP: u32 = 1;
/// [`InfoCapHeader::id`] of [`RegionInfoCapType`].
pub const REGION_INFO_CAP_TYPE: u32 = 2;
/// [`InfoCapHeader::id`] of a bare header: the pages that hold the MSI-X table
/// may be mapped too. Interrupts are still set up with
/// [`crate::DEVICE_SET_IRQS`] only.
pub const REGION_INFO_CAP_MSIX_MAPPABLE: u32 = 3;

/// A part of a region that may be mapped.
#[doc(alias = "vfio_region_sparse_mmap_area")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionSparseMmapArea {
    /// Where it begins, counted from the start of the region.
    pub offset: u64,
    /// How many bytes it has.
    pub size: u64,
}

/// Capability: only these parts of the region may be mapped.
#[doc(alias = "vfio_region_info_cap_sparse_mmap")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionInfoCapSparseMmap {
    /// Id [`REGION_INFO_CAP_SPARSE_MMAP`], version 1.
    pub header: InfoCapHeader,
    /// Length of `areas`.
    pub nr_areas: u32,
    /// Always 0.
    pub reserved: u32,
    /// The parts.
    pub areas: [RegionSparseMmapArea; 0],
}

/// Capability: what a region beyond the fixed numbers is for.
#[doc(alias = "vfio_region_info_cap_type")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionInfoCapType {
    /// Id [`REGION_INFO_CAP_TYPE`], version 1.
    pub header: InfoCapHeader,
    /// Kind of region; for PCI vendors [`REGION_TYPE_PCI_VENDOR_TYPE`] plus the
    /// vendor number.
    pub r#type: u32,
    /// Meaning depends on `type`.
    pub subtype: u32,
}

/// [`RegionInfoCapType::type`]: the low 16 bits are a PCI vendor number.
pub const REGION_TYPE_PCI_VENDOR_TYPE: u32 = 1 << 31;
/// The part of [`RegionInfoCapType::type`] that is the PCI vendor number.
pub const REGION_TYPE_PCI_VENDOR_MASK: u32 = 0xffff;

// SPDX-License-Identifier: GPL-2.0
//! Requests of the type1 backend (contract section 6, rows F099-F136).
//!
//! A mapping makes a piece of the caller's memory visible to the devices of
//! the container at an address of the caller's choice, the IOVA. Mapped memory
//! is pinned and counts against `RLIMIT_MEMLOCK`.
//!
//! Addresses and sizes are in bytes and multiples of the smallest page that
//! [`IommuType1Info::iova_pgsizes`] names. A mapping may end with the last
//! address there is, 2^64 - 1; a size that would go beyond is `EOVERFLOW`.

use crate::{request, InfoCapHeader};

/// Reads [`IommuType1Info`] (F117-F119).
pub const IOMMU_GET_INFO: u32 = request(12);
/// Adds a mapping: [`IommuType1DmaMap`] (F099-F108).
pub const IOMMU_MAP_DMA: u32 = request(13);
/// Removes mappings: [`IommuType1DmaUnmap`] (F109-F114).
pub const IOMMU_UNMAP_DMA: u32 = request(14);
/// Of another architecture's backend; type1 answers `ENOTTY`.
pub const IOMMU_ENABLE: u32 = request(15);
/// Of another architecture's backend; type1 answers `ENOTTY`.
pub const IOMMU_DISABLE: u32 = request(16);
/// Tracks which pages devices wrote to: [`IommuType1DirtyBitmap`]
/// (F132-F135).
pub const IOMMU_DIRTY_PAGES: u32 = request(17);

/// [`IommuType1Info::flags`]: `iova_pgsizes` is given. Always set.
pub const IOMMU_INFO_PGSIZES: u32 = 1 << 0;
/// [`IommuType1Info::flags`]: capabilities exist. Always set.
pub const IOMMU_INFO_CAPS: u32 = 1 << 1;

/// Answer of [`IOMMU_GET_INFO`]. The kernel writes the first `argsz` bytes of
/// it, at most all 24.
#[doc(alias = "vfio_iommu_type1_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IommuType1Info {
    /// In: bytes offered, at least 16. Out: bytes needed for all capabilities,
    /// if too few were offered.
    pub argsz: u32,
    /// Out: `IOMMU_INFO_*`.
    pub flags: u32,
    /// Out: bit n stands for pages of 2^n bytes. The lowest bit is the unit of
    /// all addresses and sizes.
    pub iova_pgsizes: u64,
    /// Out: where the first capability begins; 0 if they did not fit.
    pub cap_offset: u32,
    /// Always 0.
    pub pad: u32,
}

/// [`InfoCapHeader::id`] of [`IommuType1InfoCapIovaRange`].
pub const IOMMU_TYPE1_INFO_CAP_IOVA_RANGE: u32 = 1;
/// [`InfoCapHeader::id`] of [`IommuType1InfoCapMigration`].
pub const IOMMU_TYPE1_INFO_CAP_MIGRATION: u32 = 2;
/// [`InfoCapHeader::id`] of [`IommuType1InfoDmaAvail`].
pub const IOMMU_TYPE1_INFO_DMA_AVAIL: u32 = 3;

/// Addresses that may be mapped.
#[doc(alias = "vfio_iova_range")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IovaRange {
    /// First address.
    pub start: u64,
    /// Last address, part of the range.
    pub end: u64,
}

/// Capability: where mappings may lie. A mapping must fit into one of the
/// ranges. Absent if only emulated devices are there: then anything goes.
#[doc(alias = "vfio_iommu_type1_info_cap_iova_range")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IommuType1InfoCapIovaRange {
    /// Id [`IOMMU_TYPE1_INFO_CAP_IOVA_RANGE`], version 1.
    pub header: InfoCapHeader,
    /// Length of `iova_ranges`.
    pub nr_iovas: u32,
    /// Always 0.
    pub reserved: u32,
    /// The ranges, lowest first.
    pub iova_ranges: [IovaRange; 0],
}

/// Capability: dirty page tracking works.
#[doc(alias = "vfio_iommu_type1_info_cap_migration")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IommuType1InfoCapMigration {
    /// Id [`IOMMU_TYPE1_INFO_CAP_MIGRATION`], version 1.
    pub header: InfoCapHeader,
    /// Always 0.
    pub flags: u32,
    /// Page sizes that one bit can stand for: bit n for 2^n bytes. Four unused
    /// bytes precede it on 64-bit machines.
    pub pgsize_bitmap: u64,
    /// Bytes of the largest bitmap that may be asked for.
    pub max_dirty_bitmap_size: u64,
}

/// Capability: how many mappings can still be added.
#[doc(alias = "vfio_iommu_type1_info_dma_avail")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IommuType1InfoDmaAvail {
    /// Id [`IOMMU_TYPE1_INFO_DMA_AVAIL`], version 1.
    pub header: InfoCapHeader,
    /// Mappings left.
    pub avail: u32,
}

/// [`IommuType1DmaMap::flags`]: devices may read.
pub const DMA_MAP_FLAG_READ: u32 = 1 << 0;
/// [`IommuType1DmaMap::flags`]: devices may write.
pub const DMA_MAP_FLAG_WRITE: u32 = 1 << 1;
/// [`IommuType1DmaMap::flags`]: give an existing mapping a new user address
/// (F115). Excludes the other two.
pub const DMA_MAP_FLAG_VADDR: u32 = 1 << 2;

/// Argument of [`IOMMU_MAP_DMA`].
#[doc(alias = "vfio_iommu_type1_dma_map")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IommuType1DmaMap {
    /// Bytes offered, at least 32.
    pub argsz: u32,
    /// `DMA_MAP_FLAG_*`.
    pub flags: u32,
    /// Where the memory is in the caller's address space.
    pub vaddr: u64,
    /// Where devices shall see it.
    pub iova: u64,
    /// Bytes, not 0.
    pub size: u64,
}

/// A bitmap in the caller's memory: bit k, counted from the lowest of the
/// first 64-bit word, stands for the k-th page.
#[doc(alias = "vfio_bitmap")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    /// Bytes that one bit stands for; the smallest page size.
    pub pgsize: u64,
    /// Bytes of the bitmap, whole 64-bit words.
    pub size: u64,
    /// Its address. In C this is a pointer, so it has 4 bytes for a 32-bit
    /// caller; the kernel takes the layout given here from everybody.
    pub data: u64,
}

/// [`IommuType1DmaUnmap::flags`]: a [`Bitmap`] follows; say which pages were
/// written before they go (F136).
pub const DMA_UNMAP_FLAG_GET_DIRTY_BITMAP: u32 = 1 << 0;
/// [`IommuType1DmaUnmap::flags`]: remove everything; `iova` and `size` are 0
/// (F112).
pub const DMA_UNMAP_FLAG_ALL: u32 = 1 << 1;
/// [`IommuType1DmaUnmap::flags`]: remove nothing, but stop using the user
/// address of these mappings until a new one is given (F114).
pub const DMA_UNMAP_FLAG_VADDR: u32 = 1 << 2;

/// Argument of [`IOMMU_UNMAP_DMA`].
#[doc(alias = "vfio_iommu_type1_dma_unmap")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IommuType1DmaUnmap {
    /// Bytes offered: at least 24, or 48 with a bitmap.
    pub argsz: u32,
    /// `DMA_UNMAP_FLAG_*`.
    pub flags: u32,
    /// First address.
    pub iova: u64,
    /// In: bytes. Out: bytes really unmapped, which may be fewer or (version
    /// 1) more. Not written if the request fails.
    pub size: u64,
    /// A [`Bitmap`], if `flags` says so.
    pub data: [u8; 0],
}

/// [`IommuType1DirtyBitmap::flags`]: begin to track.
pub const IOMMU_DIRTY_PAGES_FLAG_START: u32 = 1 << 0;
/// [`IommuType1DirtyBitmap::flags`]: end it.
pub const IOMMU_DIRTY_PAGES_FLAG_STOP: u32 = 1 << 1;
/// [`IommuType1DirtyBitmap::flags`]: read and clear:
/// [`IommuType1DirtyBitmapGet`] follows.
pub const IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: u32 = 1 << 2;

/// Begins the argument of [`IOMMU_DIRTY_PAGES`].
#[doc(alias = "vfio_iommu_type1_dirty_bitmap")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IommuType1DirtyBitmap {
    /// Bytes offered: 8, or 48 to read.
    pub argsz: u32,
    /// Exactly one of `IOMMU_DIRTY_PAGES_FLAG_*`.
    pub flags: u32,
    /// [`IommuType1DirtyBitmapGet`], to read.
    pub data: [u8; 0],
}

/// What to read with [`IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP`].
#[doc(alias = "vfio_iommu_type1_dirty_bitmap_get")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IommuType1DirtyBitmapGet {
    /// First address.
    pub iova: u64,
    /// Bytes. No mapping may lie across either end.
    pub size: u64,
    /// Where to put the bits.
    pub bitmap: Bitmap,
}

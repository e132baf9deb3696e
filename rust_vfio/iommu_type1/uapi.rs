// SPDX-License-Identifier: GPL-2.0

//! The numbers and structures of the user ABI of type1 containers (contract 3.0 and 6).
//!
//! C header: `include/uapi/linux/vfio.h`. Structures come from the bindings where possible. The
//! capabilities of GET_INFO have padding that has no name in the C structures. Here it is a field,
//! so that it is zero when it is copied to user space.

use core::mem::{
    offset_of,
    size_of, //
};

use kernel::prelude::*;

use crate::{
    bindings,
    iommu_type1::logic::dirty::MAX_BITMAP_BYTES,
    kernel::uaccess::{
        UapiStruct,
        UserAddr, //
    }, //
};

pub(crate) use crate::bindings::{
    vfio_iommu_type1_dma_map as DmaMap,
    vfio_iommu_type1_info as Info,
    VFIO_DMA_MAP_FLAG_READ as MAP_READ,
    VFIO_DMA_MAP_FLAG_VADDR as MAP_VADDR,
    VFIO_DMA_MAP_FLAG_WRITE as MAP_WRITE,
    VFIO_DMA_UNMAP_FLAG_ALL as UNMAP_ALL,
    VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP as UNMAP_GET_DIRTY_BITMAP,
    VFIO_DMA_UNMAP_FLAG_VADDR as UNMAP_VADDR,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP as DIRTY_GET_BITMAP,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_START as DIRTY_START,
    VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP as DIRTY_STOP,
    VFIO_IOMMU_INFO_CAPS as INFO_CAPS,
    VFIO_IOMMU_INFO_PGSIZES as INFO_PGSIZES, //
};

/// The arguments of CHECK_EXTENSION. The first two are also types for SET_IOMMU.
pub(crate) mod extension {
    use crate::bindings;

    pub(crate) const TYPE1: usize = bindings::VFIO_TYPE1_IOMMU as usize;
    pub(crate) const TYPE1_V2: usize = bindings::VFIO_TYPE1v2_IOMMU as usize;
    pub(crate) const DMA_CC: usize = bindings::VFIO_DMA_CC_IOMMU as usize;
    pub(crate) const UNMAP_ALL: usize = bindings::VFIO_UNMAP_ALL as usize;
    pub(crate) const UPDATE_VADDR: usize = bindings::VFIO_UPDATE_VADDR as usize;
}

// SAFETY: The structure has only integers, whose sizes add up to its size: there is no padding.
unsafe impl UapiStruct for DmaMap {}

// SAFETY: The structure has only integers, whose sizes add up to its size: the padding at the end
// is a field.
unsafe impl UapiStruct for Info {}

/// The fixed part of an UNMAP_DMA. With `UNMAP_GET_DIRTY_BITMAP` a [`DirtyBitmap`] follows.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DmaUnmap {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) iova: u64,
    pub(crate) size: u64,
}

// SAFETY: The structure has only integers, whose sizes add up to its size: there is no padding.
unsafe impl UapiStruct for DmaUnmap {}

const _: () = {
    assert!(size_of::<DmaUnmap>() == size_of::<bindings::vfio_iommu_type1_dma_unmap>());
    assert!(offset_of!(DmaUnmap, iova) == offset_of!(bindings::vfio_iommu_type1_dma_unmap, iova));
    assert!(offset_of!(DmaUnmap, size) == offset_of!(bindings::vfio_iommu_type1_dma_unmap, size));
};

/// The fixed part of a DIRTY_PAGES. With `DIRTY_GET_BITMAP` a [`DirtyRange`] follows.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DirtyPages {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
}

// SAFETY: The structure has only integers, whose sizes add up to its size: there is no padding.
unsafe impl UapiStruct for DirtyPages {}

/// The description of a bitmap in user space (`struct vfio_bitmap`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DirtyBitmap {
    /// The number of bytes for which a bit stands.
    pub(crate) page: u64,
    /// The size of the bitmap in bytes.
    pub(crate) size: u64,
    /// The user address of the first word.
    pub(crate) data: usize,
}

// SAFETY: The structure has only integers. Only where a `usize` has 32 bits can there be padding,
// at the end; the structure is only copied from user space, which initialises all bytes.
unsafe impl UapiStruct for DirtyBitmap {}

impl UserAddr {
    /// Copies `words` to this address. Sleeps.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all bytes can be written.
    pub(crate) fn write_words(self, words: &[u64]) -> Result {
        // SAFETY: The pointer and the size are those of the slice `words`, which is borrowed for
        // longer. All bytes of an integer are initialised, and an `u8` needs no alignment.
        let bytes =
            unsafe { core::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words)) };
        self.write_bytes(bytes)
    }
}

/// A range of I/O addresses and the bitmap for its dirty pages
/// (`struct vfio_iommu_type1_dirty_bitmap_get`). Only copied from user space.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DirtyRange {
    pub(crate) iova: u64,
    /// The size of the range in bytes.
    pub(crate) size: u64,
    pub(crate) bitmap: DirtyBitmap,
}

// SAFETY: The structure has only integers, and a `DirtyBitmap`, for which see above: it is only
// copied from user space, which initialises all bytes.
unsafe impl UapiStruct for DirtyRange {}

const _: () = {
    use bindings::{
        vfio_bitmap as Bitmap,
        vfio_iommu_type1_dirty_bitmap as Pages,
        vfio_iommu_type1_dirty_bitmap_get as Get, //
    };

    assert!(size_of::<DirtyPages>() == size_of::<Pages>());
    assert!(offset_of!(DirtyPages, flags) == offset_of!(Pages, flags));
    assert!(size_of::<DirtyBitmap>() == size_of::<Bitmap>());
    assert!(offset_of!(DirtyBitmap, size) == offset_of!(Bitmap, size));
    assert!(offset_of!(DirtyBitmap, data) == offset_of!(Bitmap, data));
    assert!(offset_of!(DirtyRange, size) == offset_of!(Get, size));
    assert!(offset_of!(DirtyRange, bitmap) == offset_of!(Get, bitmap));
};

/// The size in bytes of the part of [`Info`] for which `argsz` must have room.
pub(crate) const INFO_MIN: usize = offset_of!(Info, cap_offset);

/// The header of a capability (`struct vfio_info_cap_header`).
#[derive(Clone, Copy)]
#[repr(C)]
struct CapHeader {
    id: u16,
    version: u16,
    /// The offset of the next capability in bytes from the beginning of [`Info`], or 0 for the
    /// last.
    next: u32,
}

/// The capability with the limits of dirty tracking
/// (`struct vfio_iommu_type1_info_cap_migration`).
#[derive(Clone, Copy)]
#[repr(C)]
struct MigrationCap {
    header: CapHeader,
    flags: u32,
    _padding: u32,
    page_sizes: u64,
    max_bitmap_bytes: u64,
}

/// The capability with the number of mappings that can be added
/// (`struct vfio_iommu_type1_info_dma_avail`).
#[derive(Clone, Copy)]
#[repr(C)]
struct DmaAvailCap {
    header: CapHeader,
    available: u32,
    _padding: u32,
}

/// The capability with the addresses that can be mapped
/// (`struct vfio_iommu_type1_info_cap_iova_range`). An [`AddressRange`] for each range follows.
#[derive(Clone, Copy)]
#[repr(C)]
struct IovaRangeCap {
    header: CapHeader,
    count: u32,
    _reserved: u32,
}

/// A range of I/O addresses that can be mapped, both ends inclusive (`struct vfio_iova_range`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct AddressRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

// SAFETY: The structure has only integers, whose sizes add up to its size: there is no padding.
unsafe impl UapiStruct for AddressRange {}

/// The capabilities of GET_INFO that follow [`Info`], without the ranges at the end.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Capabilities {
    migration: MigrationCap,
    dma_avail: DmaAvailCap,
    iova_range: IovaRangeCap,
}

// SAFETY: The structure has only integers. Its size is 64, as asserted below, which is the sum of
// their sizes: all padding is a field.
unsafe impl UapiStruct for Capabilities {}

const _: () = {
    use bindings::{
        vfio_iommu_type1_info_cap_iova_range as IovaRange,
        vfio_iommu_type1_info_cap_migration as Migration,
        vfio_iommu_type1_info_dma_avail as DmaAvail, //
    };

    assert!(size_of::<MigrationCap>() == size_of::<Migration>());
    assert!(offset_of!(MigrationCap, flags) == offset_of!(Migration, flags));
    assert!(offset_of!(MigrationCap, page_sizes) == offset_of!(Migration, pgsize_bitmap));
    assert!(
        offset_of!(MigrationCap, max_bitmap_bytes) == offset_of!(Migration, max_dirty_bitmap_size)
    );
    assert!(size_of::<DmaAvailCap>() == size_of::<DmaAvail>().next_multiple_of(8));
    assert!(offset_of!(DmaAvailCap, available) == offset_of!(DmaAvail, avail));
    assert!(size_of::<IovaRangeCap>() == size_of::<IovaRange>());
    assert!(offset_of!(IovaRangeCap, count) == offset_of!(IovaRange, nr_iovas));
    assert!(size_of::<AddressRange>() == size_of::<bindings::vfio_iova_range>());
    assert!(size_of::<Capabilities>() == 64);
};

impl Capabilities {
    /// Creates the capabilities for `ranges` ranges, with the smallest page size in bytes and the
    /// number of mappings that can be added.
    pub(crate) fn new(smallest_page: u64, available: u32, ranges: u32) -> Self {
        // This returns an offset from the beginning of `Info`.
        // CAST: The sum is less than 100.
        let at = |offset: usize| (size_of::<Info>() + offset) as u32;
        Self {
            migration: MigrationCap {
                header: CapHeader {
                    id: bindings::VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION as u16,
                    version: 1,
                    next: at(offset_of!(Self, dma_avail)),
                },
                flags: 0,
                _padding: 0,
                page_sizes: smallest_page,
                max_bitmap_bytes: MAX_BITMAP_BYTES,
            },
            dma_avail: DmaAvailCap {
                header: CapHeader {
                    id: bindings::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL as u16,
                    version: 1,
                    next: match ranges {
                        0 => 0,
                        _ => at(offset_of!(Self, iova_range)),
                    },
                },
                available,
                _padding: 0,
            },
            iova_range: IovaRangeCap {
                header: CapHeader {
                    id: bindings::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE as u16,
                    version: 1,
                    next: 0,
                },
                count: ranges,
                _reserved: 0,
            },
        }
    }

    /// Returns the size in bytes of the capabilities for `ranges` ranges, without the ranges
    /// themselves: if there are none, the last capability is left out.
    pub(crate) fn fixed_bytes(ranges: u32) -> usize {
        match ranges {
            0 => offset_of!(Self, iova_range),
            _ => size_of::<Self>(),
        }
    }
}

/// Checks that addresses and sizes fit native words.
///
/// # Errors
///
/// `EOVERFLOW` if one does not.
pub(crate) fn fits_native(numbers: &[u64]) -> Result {
    for number in numbers {
        usize::try_from(*number).map_err(|_| EOVERFLOW)?;
    }
    Ok(())
}

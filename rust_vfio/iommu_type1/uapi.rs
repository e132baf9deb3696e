// SPDX-License-Identifier: GPL-2.0

//! The numbers and structures of the user ABI of type1 containers (contract 3.0 and 6).
//!
//! C header: `include/uapi/linux/vfio.h`. Structures come from the bindings where that is
//! possible. The capabilities of GET_INFO have padding that the C structures do not name; here it
//! is a field, so that it is certainly zero when it goes to user space.

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

/// What CHECK_EXTENSION asks for; the first two are also the types that can be set.
pub(crate) mod extension {
    use crate::bindings;

    pub(crate) const TYPE1: usize = bindings::VFIO_TYPE1_IOMMU as usize;
    pub(crate) const TYPE1_V2: usize = bindings::VFIO_TYPE1v2_IOMMU as usize;
    pub(crate) const DMA_CC: usize = bindings::VFIO_DMA_CC_IOMMU as usize;
    pub(crate) const UNMAP_ALL: usize = bindings::VFIO_UNMAP_ALL as usize;
    pub(crate) const UPDATE_VADDR: usize = bindings::VFIO_UPDATE_VADDR as usize;
}

// SAFETY: Integers, without padding.
unsafe impl UapiStruct for DmaMap {}

// SAFETY: Integers; the padding at the end has a name.
unsafe impl UapiStruct for Info {}

/// The fixed part of an UNMAP_DMA. A [`DirtyBitmap`] follows it with one of the flags.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DmaUnmap {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) iova: u64,
    pub(crate) size: u64,
}

// SAFETY: Integers, without padding.
unsafe impl UapiStruct for DmaUnmap {}

const _: () = {
    assert!(size_of::<DmaUnmap>() == size_of::<bindings::vfio_iommu_type1_dma_unmap>());
    assert!(offset_of!(DmaUnmap, iova) == offset_of!(bindings::vfio_iommu_type1_dma_unmap, iova));
    assert!(offset_of!(DmaUnmap, size) == offset_of!(bindings::vfio_iommu_type1_dma_unmap, size));
};

/// What every DIRTY_PAGES begins with. A [`DirtyRange`] follows it with one of the flags.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DirtyPages {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
}

// SAFETY: Integers, without padding.
unsafe impl UapiStruct for DirtyPages {}

/// A bitmap in user memory, which takes one bit per page of `page` bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DirtyBitmap {
    pub(crate) page: u64,
    /// In bytes.
    pub(crate) size: u64,
    /// The user address of the first word.
    pub(crate) data: usize,
}

// SAFETY: Integers, without padding.
unsafe impl UapiStruct for DirtyBitmap {}

impl UserAddr {
    /// Writes `words` one after the other.
    ///
    /// # Errors
    ///
    /// `EFAULT` if any byte cannot be written.
    pub(crate) fn write_words(self, words: &[u64]) -> Result {
        // SAFETY: The same memory; integers consist of initialised bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words)) };
        self.write_bytes(bytes)
    }
}

/// The addresses whose dirty pages are asked for, and where they go.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DirtyRange {
    pub(crate) iova: u64,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) bitmap: DirtyBitmap,
}

// SAFETY: Integers, without padding.
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

/// The part of [`Info`] that every caller has room for.
pub(crate) const INFO_MIN: usize = offset_of!(Info, cap_offset);

/// What every capability begins with.
#[derive(Clone, Copy)]
#[repr(C)]
struct CapHeader {
    id: u16,
    version: u16,
    /// Where the next capability is, from the beginning of [`Info`]; 0 if there is none.
    next: u32,
}

/// What dirty tracking can do.
#[derive(Clone, Copy)]
#[repr(C)]
struct MigrationCap {
    header: CapHeader,
    flags: u32,
    _padding: u32,
    page_sizes: u64,
    max_bitmap_bytes: u64,
}

/// How many mappings can be added.
#[derive(Clone, Copy)]
#[repr(C)]
struct DmaAvailCap {
    header: CapHeader,
    available: u32,
    _padding: u32,
}

/// Which addresses can be mapped. An [`AddressRange`] for each range follows.
#[derive(Clone, Copy)]
#[repr(C)]
struct IovaRangeCap {
    header: CapHeader,
    count: u32,
    _reserved: u32,
}

/// A range of addresses that can be mapped, both ends included.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct AddressRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

// SAFETY: Integers, without padding.
unsafe impl UapiStruct for AddressRange {}

/// The capabilities of GET_INFO as they follow [`Info`], except for the ranges at the end.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Capabilities {
    migration: MigrationCap,
    dma_avail: DmaAvailCap,
    iova_range: IovaRangeCap,
}

// SAFETY: Integers; all padding is named, as the assertions below show.
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
    /// The capabilities of a container with these properties, for `ranges` ranges.
    pub(crate) fn new(smallest_page: u64, available: u32, ranges: u32) -> Self {
        // An offset from the beginning of `Info`. CAST: Small constants.
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

    /// How many bytes of this structure there are if there are `ranges` ranges: without any, the
    /// last capability is left out.
    pub(crate) fn fixed_bytes(ranges: u32) -> usize {
        match ranges {
            0 => offset_of!(Self, iova_range),
            _ => size_of::<Self>(),
        }
    }
}

/// Whether addresses and sizes can be expressed in words of the machine.
///
/// # Errors
///
/// `EOVERFLOW` if not.
pub(crate) fn fits_native(numbers: &[u64]) -> Result {
    for number in numbers {
        usize::try_from(*number).map_err(|_| EOVERFLOW)?;
    }
    Ok(())
}

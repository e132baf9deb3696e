// SPDX-License-Identifier: GPL-2.0
//! Which pages devices have written to.

use std::mem;

use rustix::io::Result;
use vfio_uapi::{
    self as uapi, Bitmap, IommuType1DirtyBitmap, IommuType1DirtyBitmapGet, IommuType1DmaUnmap,
};

use crate::{
    container::Container,
    memory::Memory,
    request::{bytes_of, Arg},
    PAGE,
};

/// A bitmap in front of an inaccessible page, where the kernel may write it.
#[derive(Debug)]
pub struct DirtyPages {
    arg: Arg,
    pages: usize,
}

impl DirtyPages {
    /// Room for this many pages, none of them dirty.
    pub fn new(pages: usize) -> Self {
        Self {
            // Longer than one word, so aligned as a word: `Arg` ends at a page.
            arg: Arg::zeroed(pages.div_ceil(64) * 8),
            pages,
        }
    }

    /// A bitmap that holds this to begin with.
    pub fn from_words(words: &[u64]) -> Self {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Self {
            arg: Arg::from_bytes(&bytes),
            pages: words.len() * 64,
        }
    }

    /// Room for this many pages, all bits set to begin with.
    pub fn full(pages: usize) -> Self {
        Self {
            pages,
            ..Self::from_words(&vec![u64::MAX; pages.div_ceil(64)])
        }
    }

    /// What a request says about it.
    pub fn bitmap(&self) -> Bitmap {
        Bitmap {
            pgsize: PAGE as u64,
            size: self.pages.div_ceil(64) as u64 * 8,
            data: self.arg.address() as u64,
        }
    }

    /// All words.
    pub fn words(&self) -> Vec<u64> {
        let bytes = self.arg.bytes();
        bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")))
            .collect()
    }

    /// The numbers of the pages that are dirty.
    pub fn list(&self) -> Vec<usize> {
        let words = self.words();
        (0..words.len() * 64)
            .filter(|page| words[page / 64] >> (page % 64) & 1 == 1)
            .collect()
    }

    /// Lets the kernel read it but not write it.
    pub fn make_read_only(&self) {
        self.arg.make_read_only();
    }
}

/// The argument of a request to begin or to end.
pub fn simple(flags: u32) -> Arg {
    Arg::new(&IommuType1DirtyBitmap {
        argsz: mem::size_of::<IommuType1DirtyBitmap>() as u32,
        flags,
        data: [],
    })
}

/// The argument of a request to read.
pub fn get(iova: u64, size: u64, bitmap: Bitmap) -> Arg {
    let range = IommuType1DirtyBitmapGet { iova, size, bitmap };
    let len = mem::size_of::<IommuType1DirtyBitmap>() + mem::size_of_val(&range);
    let head = IommuType1DirtyBitmap {
        argsz: len as u32,
        flags: uapi::IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
        data: [],
    };
    Arg::from_bytes(&[bytes_of(&head), bytes_of(&range)].concat())
}

/// The argument of a request to unmap that asks for a bitmap.
pub fn unmap(iova: u64, size: u64, bitmap: Bitmap) -> Arg {
    let len = mem::size_of::<IommuType1DmaUnmap>() + mem::size_of_val(&bitmap);
    let head = IommuType1DmaUnmap {
        argsz: len as u32,
        flags: uapi::DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
        iova,
        size,
        data: [],
    };
    Arg::from_bytes(&[bytes_of(&head), bytes_of(&bitmap)].concat())
}

impl Container {
    /// Begins to watch.
    pub fn dirty_start(&self) -> Result<()> {
        simple(uapi::IOMMU_DIRTY_PAGES_FLAG_START).send(self, uapi::IOMMU_DIRTY_PAGES)?;
        Ok(())
    }

    /// Ends it.
    pub fn dirty_stop(&self) -> Result<()> {
        simple(uapi::IOMMU_DIRTY_PAGES_FLAG_STOP).send(self, uapi::IOMMU_DIRTY_PAGES)?;
        Ok(())
    }

    /// Reads which of the pages from `iova` on are dirty.
    pub fn dirty_into(&self, iova: u64, out: &DirtyPages) -> Result<()> {
        let size = (out.pages * PAGE) as u64;
        get(iova, size, out.bitmap()).send(self, uapi::IOMMU_DIRTY_PAGES)?;
        Ok(())
    }

    /// The numbers of the dirty ones among this many pages from `iova` on.
    pub fn dirty(&self, iova: u64, pages: usize) -> Result<Vec<usize>> {
        let out = DirtyPages::new(pages);
        self.dirty_into(iova, &out)?;
        Ok(out.list())
    }

    /// Removes mappings and tells which of their pages are dirty. The result is
    /// the number of bytes removed.
    pub fn unmap_dirty(&self, iova: u64, out: &DirtyPages) -> Result<u64> {
        let arg = unmap(iova, (out.pages * PAGE) as u64, out.bitmap());
        arg.send(self, uapi::IOMMU_UNMAP_DMA)?;
        Ok(arg.get(mem::offset_of!(IommuType1DmaUnmap, size)))
    }

    /// Tells where the memory of a mapping is now, whose old address was
    /// forgotten before.
    pub fn map_vaddr(&self, memory: &Memory, iova: u64) -> Result<()> {
        let vaddr = memory.address() as u64;
        self.map_raw(uapi::DMA_MAP_FLAG_VADDR, vaddr, iova, memory.len() as u64)
    }
}

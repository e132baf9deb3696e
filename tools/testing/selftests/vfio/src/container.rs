// SPDX-License-Identifier: GPL-2.0
//! The container: an address space that devices share.

use std::{
    mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Result,
};
use vfio_uapi::{self as uapi, IommuType1DmaMap, IommuType1DmaUnmap, IommuType1Info, IovaRange};

use crate::{
    caps::{self, Cap},
    memory::Memory,
    request::{self, Arg},
};

/// Where the container file is.
pub const PATH: &str = "/dev/vfio/vfio";

/// Devices may read and write.
pub const READ_WRITE: u32 = uapi::DMA_MAP_FLAG_READ | uapi::DMA_MAP_FLAG_WRITE;

/// An open container file.
#[derive(Debug)]
pub struct Container {
    fd: OwnedFd,
}

/// What the backend says about itself.
#[derive(Clone, Debug)]
pub struct IommuInfo {
    /// The fixed part.
    pub head: IommuType1Info,
    /// The capabilities.
    pub caps: Vec<Cap>,
}

impl IommuInfo {
    /// The capability with this number.
    pub fn cap(&self, id: u32) -> Option<&Cap> {
        self.caps.iter().find(|cap| u32::from(cap.id) == id)
    }

    /// Where mappings may lie; `None` if anywhere.
    pub fn iova_ranges(&self) -> Option<Vec<IovaRange>> {
        let cap = self.cap(uapi::IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)?;
        let count = cap.get::<u32>(8) as usize;
        Some(
            (0..count)
                .map(|n| cap.get(16 + n * mem::size_of::<IovaRange>()))
                .collect(),
        )
    }

    /// How many mappings can still be added.
    pub fn dma_avail(&self) -> Option<u32> {
        Some(self.cap(uapi::IOMMU_TYPE1_INFO_DMA_AVAIL)?.get(8))
    }

    /// The smallest page that can be mapped.
    pub fn smallest_page(&self) -> u64 {
        1 << self.head.iova_pgsizes.trailing_zeros()
    }
}

impl Container {
    /// Opens a new container.
    pub fn open() -> Result<Self> {
        let fd = rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd })
    }

    /// The version of the ABI.
    pub fn api_version(&self) -> Result<u32> {
        request::with_number(&self.fd, uapi::GET_API_VERSION, 0)
    }

    /// Whether an extension is there: 0, or a positive number.
    pub fn check_extension(&self, extension: u32) -> Result<u32> {
        request::with_number(&self.fd, uapi::CHECK_EXTENSION, extension)
    }

    /// Chooses the backend.
    pub fn set_iommu(&self, backend: u32) -> Result<()> {
        request::with_number(&self.fd, uapi::SET_IOMMU, backend)?;
        Ok(())
    }

    /// Asks the backend about itself.
    pub fn info(&self) -> Result<IommuInfo> {
        let size = mem::size_of::<IommuType1Info>() as u32;
        let mut head = IommuType1Info {
            argsz: size,
            ..Default::default()
        };
        request::with_struct(&self.fd, uapi::IOMMU_GET_INFO, &mut head)?;
        if head.argsz <= size {
            return Ok(IommuInfo {
                head,
                caps: Vec::new(),
            });
        }
        // There is more than the fixed part, and now its size is known.
        let arg = Arg::with_tail(&head, (head.argsz - size) as usize);
        arg.send(&self.fd, uapi::IOMMU_GET_INFO)?;
        let head: IommuType1Info = arg.get(0);
        Ok(IommuInfo {
            head,
            caps: caps::chain(&arg.bytes(), head.cap_offset),
        })
    }

    /// Shows all of `memory` to devices at `iova`, to be read and written.
    pub fn map(&self, memory: &Memory, iova: u64) -> Result<()> {
        self.map_part(memory, 0, memory.len(), iova, READ_WRITE)
    }

    /// Shows a part of `memory` to devices.
    pub fn map_part(
        &self,
        memory: &Memory,
        offset: usize,
        size: usize,
        iova: u64,
        flags: u32,
    ) -> Result<()> {
        let vaddr = (memory.address() + offset) as u64;
        self.map_raw(flags, vaddr, iova, size as u64)
    }

    /// Maps whatever is at that address; see the note on safety of the crate.
    pub fn map_raw(&self, flags: u32, vaddr: u64, iova: u64, size: u64) -> Result<()> {
        let argsz = mem::size_of::<IommuType1DmaMap>() as u32;
        let mut arg = IommuType1DmaMap {
            argsz,
            flags,
            vaddr,
            iova,
            size,
        };
        request::with_struct(&self.fd, uapi::IOMMU_MAP_DMA, &mut arg)?;
        Ok(())
    }

    /// Removes mappings; the result is the number of bytes removed.
    pub fn unmap(&self, iova: u64, size: u64) -> Result<u64> {
        self.unmap_with(0, iova, size)
    }

    /// Removes all mappings; the result is the number of bytes removed.
    pub fn unmap_all(&self) -> Result<u64> {
        self.unmap_with(uapi::DMA_UNMAP_FLAG_ALL, 0, 0)
    }

    /// Removes mappings, with flags. A dirty bitmap cannot be had in this way.
    pub fn unmap_with(&self, flags: u32, iova: u64, size: u64) -> Result<u64> {
        let argsz = mem::size_of::<IommuType1DmaUnmap>() as u32;
        let arg = Arg::new(&IommuType1DmaUnmap {
            argsz,
            flags,
            iova,
            size,
            data: [],
        });
        arg.send(&self.fd, uapi::IOMMU_UNMAP_DMA)?;
        Ok(arg.get(mem::offset_of!(IommuType1DmaUnmap, size)))
    }
}

impl From<OwnedFd> for Container {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsFd for Container {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

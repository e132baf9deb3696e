// SPDX-License-Identifier: GPL-2.0
//! iommufd: address spaces with numbers, which devices are attached to.
//!
//! The requests are those of the kernel's `linux/iommufd.h`, as far as the
//! tests need them. Unlike those of VFIO every structure begins with its size.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Result,
};

use crate::{
    memory::Memory,
    request::{self, Plain},
};

/// Where the file is.
pub const PATH: &str = "/dev/iommu";

/// A request: type `;` as in VFIO, and numbers that VFIO does not have.
const fn number(nr: u32) -> u32 {
    0x3b00 | nr
}

/// Requests.
mod nr {
    use super::number;

    pub(super) const DESTROY: u32 = number(0x80);
    pub(super) const IOAS_ALLOC: u32 = number(0x81);
    pub(super) const IOAS_MAP: u32 = number(0x85);
    pub(super) const IOAS_UNMAP: u32 = number(0x86);
    pub(super) const VFIO_IOAS: u32 = number(0x88);
    pub(super) const HWPT_ALLOC: u32 = number(0x89);
    pub(super) const IOAS_MAP_FILE: u32 = number(0x8f);
    pub(super) const NOIOMMU_GET_PA: u32 = number(0x95);
}

/// `iommu_ioas_map.flags`: at the given address, readable and writable.
const MAP_FIXED_READ_WRITE: u32 = 7;
/// The same, but devices may only read.
const MAP_FIXED_READ: u32 = 5;

const VFIO_IOAS_GET: u16 = 0;
const VFIO_IOAS_SET: u16 = 1;
const VFIO_IOAS_CLEAR: u16 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Destroy {
    size: u32,
    id: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct IoasAlloc {
    size: u32,
    flags: u32,
    out_ioas_id: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct IoasMap {
    size: u32,
    flags: u32,
    ioas_id: u32,
    reserved: u32,
    user_va: u64,
    length: u64,
    iova: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct IoasMapFile {
    size: u32,
    flags: u32,
    ioas_id: u32,
    fd: i32,
    start: u64,
    length: u64,
    iova: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct IoasUnmap {
    size: u32,
    ioas_id: u32,
    iova: u64,
    length: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct VfioIoas {
    size: u32,
    ioas_id: u32,
    op: u16,
    reserved: u16,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct HwptAlloc {
    size: u32,
    flags: u32,
    dev_id: u32,
    pt_id: u32,
    out_hwpt_id: u32,
    reserved: u32,
    data_type: u32,
    data_len: u32,
    data_uptr: u64,
    fault_id: u32,
    reserved2: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct NoiommuGetPa {
    size: u32,
    flags: u32,
    ioas_id: u32,
    reserved: u32,
    iova: u64,
    length: u64,
    out_phys: u64,
}

// SAFETY: Structures of numbers whose members leave no gaps.
unsafe impl Plain for Destroy {}
// SAFETY: As above.
unsafe impl Plain for IoasAlloc {}
// SAFETY: As above.
unsafe impl Plain for IoasMap {}
// SAFETY: As above.
unsafe impl Plain for IoasMapFile {}
// SAFETY: As above.
unsafe impl Plain for IoasUnmap {}
// SAFETY: As above.
unsafe impl Plain for VfioIoas {}
// SAFETY: As above.
unsafe impl Plain for HwptAlloc {}
// SAFETY: As above.
unsafe impl Plain for NoiommuGetPa {}

/// The size of a structure, as its first member wants it.
const fn size<T>() -> u32 {
    mem::size_of::<T>() as u32
}

/// An open iommufd.
#[derive(Debug)]
pub struct Iommufd {
    fd: OwnedFd,
}

impl Iommufd {
    /// Opens a new one.
    pub fn open() -> Result<Self> {
        let fd = rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Makes an address space, and returns its number.
    pub fn ioas(&self) -> Result<u32> {
        let mut alloc = IoasAlloc {
            size: size::<IoasAlloc>(),
            ..Default::default()
        };
        request::with_struct(&self.fd, nr::IOAS_ALLOC, &mut alloc)?;
        Ok(alloc.out_ioas_id)
    }

    /// Destroys whatever has this number.
    pub fn destroy(&self, id: u32) -> Result<()> {
        let size = size::<Destroy>();
        request::with_struct(&self.fd, nr::DESTROY, &mut Destroy { size, id })?;
        Ok(())
    }

    /// Makes a page table of an address space for a device, and returns its
    /// number.
    pub fn page_table(&self, device: u32, ioas: u32) -> Result<u32> {
        let mut alloc = HwptAlloc {
            size: size::<HwptAlloc>(),
            dev_id: device,
            pt_id: ioas,
            ..Default::default()
        };
        request::with_struct(&self.fd, nr::HWPT_ALLOC, &mut alloc)?;
        Ok(alloc.out_hwpt_id)
    }

    /// Lets devices of an address space read and write all of `memory` from
    /// address `iova` on. The kernel keeps the memory until it is unmapped.
    pub fn map(&self, ioas: u32, memory: &Memory, iova: u64) -> Result<()> {
        self.map_part(ioas, memory, 0, memory.len(), iova)
    }

    /// The same, but the devices may only read.
    pub fn map_read_only(&self, ioas: u32, memory: &Memory, iova: u64) -> Result<()> {
        self.map_at(ioas, memory.address(), memory.len(), iova, MAP_FIXED_READ)
    }

    /// The same as [`Iommufd::map`] for `size` bytes from `offset` on.
    pub fn map_part(
        &self,
        ioas: u32,
        memory: &Memory,
        offset: usize,
        size: usize,
        iova: u64,
    ) -> Result<()> {
        self.map_at(
            ioas,
            memory.address() + offset,
            size,
            iova,
            MAP_FIXED_READ_WRITE,
        )
    }

    fn map_at(
        &self,
        ioas_id: u32,
        address: usize,
        length: usize,
        iova: u64,
        flags: u32,
    ) -> Result<()> {
        let mut map = IoasMap {
            size: size::<IoasMap>(),
            flags,
            ioas_id,
            reserved: 0,
            user_va: address as u64,
            length: length as u64,
            iova,
        };
        request::with_struct(&self.fd, nr::IOAS_MAP, &mut map)?;
        Ok(())
    }

    /// Lets devices of an address space read and write the first `length` bytes of a
    /// memfd from address `iova` on.
    pub fn map_file(&self, ioas_id: u32, file: impl AsFd, length: u64, iova: u64) -> Result<()> {
        let mut map = IoasMapFile {
            size: size::<IoasMapFile>(),
            flags: MAP_FIXED_READ_WRITE,
            ioas_id,
            fd: file.as_fd().as_raw_fd(),
            start: 0,
            length,
            iova,
        };
        request::with_struct(&self.fd, nr::IOAS_MAP_FILE, &mut map)?;
        Ok(())
    }

    /// Unmaps what lies in a range, and returns how many bytes that were.
    pub fn unmap(&self, ioas_id: u32, iova: u64, length: u64) -> Result<u64> {
        let mut unmap = IoasUnmap {
            size: size::<IoasUnmap>(),
            ioas_id,
            iova,
            length,
        };
        request::with_struct(&self.fd, nr::IOAS_UNMAP, &mut unmap)?;
        Ok(unmap.length)
    }

    /// The address space that requests of containers are about. `ENODEV` if
    /// there is none.
    pub fn compat_ioas(&self) -> Result<u32> {
        self.vfio_ioas(VFIO_IOAS_GET, 0)
    }

    /// Lets requests of containers be about this address space.
    pub fn set_compat_ioas(&self, ioas: u32) -> Result<()> {
        self.vfio_ioas(VFIO_IOAS_SET, ioas).map(drop)
    }

    /// Lets requests of containers be about none.
    pub fn clear_compat_ioas(&self) -> Result<()> {
        self.vfio_ioas(VFIO_IOAS_CLEAR, 0).map(drop)
    }

    fn vfio_ioas(&self, op: u16, ioas_id: u32) -> Result<u32> {
        let mut args = VfioIoas {
            size: size::<VfioIoas>(),
            ioas_id,
            op,
            reserved: 0,
        };
        request::with_struct(&self.fd, nr::VFIO_IOAS, &mut args)?;
        Ok(args.ioas_id)
    }

    /// Where memory mapped for a device without an IOMMU is: the physical
    /// address, and how many bytes from there on are in one piece.
    pub fn physical_address(&self, ioas_id: u32, iova: u64, length: u64) -> Result<(u64, u64)> {
        let mut args = NoiommuGetPa {
            size: size::<NoiommuGetPa>(),
            ioas_id,
            iova,
            length,
            ..Default::default()
        };
        request::with_struct(&self.fd, nr::NOIOMMU_GET_PA, &mut args)?;
        Ok((args.out_phys, args.length))
    }
}

impl From<OwnedFd> for Iommufd {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsFd for Iommufd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

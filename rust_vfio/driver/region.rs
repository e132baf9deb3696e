// SPDX-License-Identifier: GPL-2.0

//! Regions: the parts of a device that user space reads, writes and maps.
//!
//! A region is data: its size, what handles accesses, whether it can be mapped, and capabilities. A
//! [`Region`] with a size cannot be made without a handler. Region `n` begins at offset `n << 40`
//! of the device's file, as with vfio-pci.
//!
//! ```compile_fail,E0277
//! # use kernel::prelude::*;
//! # use vfio::{region::Region, *};
//! struct Device;
//! struct Bank;
//!
//! #[vtable]
//! impl Driver for Device {
//!     // This needs `impl Registers<Device> for Bank`.
//!     const REGIONS: &'static [Region<Self>] = &[Region::registers::<Bank>(4096)];
//! #   const NAME: &'static CStr = c"device";
//! #   type Iommu = Emulated;
//! #   type Session = ();
//! #   type Pin = ();
//! #   type DirtyLog = dirty::NoLog;
//! #   type Migration = migration::NoMigration;
//! #   fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> { Ok::<(), Error>(()) }
//! }
//! ```

use core::mem::size_of;

use kernel::{
    error::to_result,
    mm::virt::{
        flags,
        VmaNew, //
    },
    page::PAGE_SIZE,
    prelude::*,
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

use crate::{
    bindings,
    driver::{
        access::Opened,
        data::Data,
        logic::regions::{
            self,
            accesses, //
        },
        pages::{
            self,
            Pages, //
        }, //
    }, //
};

pub use crate::driver::logic::regions::{
    Area,
    Width, //
};

/// A region of a device.
pub struct Region<D: Data> {
    size: u64,
    handler: Handler<D>,
    readable: bool,
    writable: bool,
    mappable: bool,
    areas: &'static [Area],
    kind: Option<(u32, u32)>,
    width: Option<Width>,
}

/// What handles the accesses to a region.
enum Handler<D: Data> {
    /// Nothing: there is no such region.
    Absent,
    /// The driver, register by register.
    Registers {
        read: fn(&Opened<'_, D>, u64, Width) -> Result<u64>,
        write: fn(&Opened<'_, D>, u64, Width, u64) -> Result,
    },
    /// Pages of RAM.
    Memory(for<'a> fn(&'a Opened<'_, D>) -> &'a Pages),
}

/// A region of registers. An access of user space is divided into as few aligned accesses to
/// registers as possible, in ascending order.
pub trait Registers<D: Data> {
    /// Returns the bytes at `offset`, the lowest one first, in as many low bytes of the result as
    /// `width` says.
    ///
    /// # Errors
    ///
    /// User space gets the error, unless bytes before these were read.
    fn read(device: &Opened<'_, D>, offset: u64, width: Width) -> Result<u64>;

    /// Stores the bytes of `value` from `offset` on. `width` says how many, and the others are
    /// zero.
    ///
    /// # Errors
    ///
    /// User space gets the error, unless bytes before these were written.
    fn write(device: &Opened<'_, D>, offset: u64, width: Width, value: u64) -> Result;
}

/// A region of RAM.
pub trait Memory<D: Data> {
    /// Returns its pages, of which there are enough for the size of the region.
    fn pages<'a>(device: &'a Opened<'_, D>) -> &'a Pages;
}

impl<D: Data> Region<D> {
    const fn new(size: u64, handler: Handler<D>) -> Self {
        assert!(size > 0 && size <= regions::LARGEST);
        Self {
            size,
            handler,
            readable: true,
            writable: true,
            mappable: false,
            areas: &[],
            kind: None,
            width: None,
        }
    }

    /// Creates a region that does not exist, to keep the numbers of those behind it.
    pub const fn absent() -> Self {
        Self {
            size: 0,
            handler: Handler::Absent,
            readable: false,
            writable: false,
            mappable: false,
            areas: &[],
            kind: None,
            width: None,
        }
    }

    /// Creates a region of `size` bytes of registers.
    pub const fn registers<R: Registers<D>>(size: u64) -> Self {
        let (read, write) = (R::read, R::write);
        Self::new(size, Handler::Registers { read, write })
    }

    /// Creates a region of `size` bytes of RAM, which user space can map.
    pub const fn memory<M: Memory<D>>(size: u64) -> Self {
        assert!(size % PAGE_SIZE as u64 == 0);
        let mut region = Self::new(size, Handler::Memory(M::pages));
        region.mappable = true;
        region
    }

    /// User space cannot write to it.
    pub const fn read_only(mut self) -> Self {
        self.writable = false;
        self
    }

    /// User space cannot map it.
    pub const fn not_mappable(mut self) -> Self {
        self.mappable = false;
        self.areas = &[];
        self
    }

    /// User space can map only these parts of it (`VFIO_REGION_INFO_CAP_SPARSE_MMAP`).
    pub const fn mappable_in(mut self, areas: &'static [Area]) -> Self {
        assert!(self.mappable);
        let mut at = 0;
        while at < areas.len() {
            let Area { offset, size } = areas[at];
            let page = PAGE_SIZE as u64;
            assert!(offset % page == 0 && size % page == 0 && size > 0);
            assert!(self.whole().contains(offset, size));
            at += 1;
        }
        self.areas = areas;
        self
    }

    /// All of its registers have this width. Other accesses are refused with `EINVAL`.
    pub const fn of_width(mut self, width: Width) -> Self {
        self.width = Some(width);
        self
    }

    /// What it is (`VFIO_REGION_INFO_CAP_TYPE`).
    pub const fn of_type(mut self, kind: u32, subkind: u32) -> Self {
        self.kind = Some((kind, subkind));
        self
    }

    fn flags(&self) -> u32 {
        let mut flags = 0;
        for (is_set, flag) in [
            (self.readable, bindings::VFIO_REGION_INFO_FLAG_READ),
            (self.writable, bindings::VFIO_REGION_INFO_FLAG_WRITE),
            (self.mappable, bindings::VFIO_REGION_INFO_FLAG_MMAP),
        ] {
            if is_set {
                flags |= flag;
            }
        }
        flags
    }

    /// Returns all of the region.
    const fn whole(&self) -> Area {
        Area {
            offset: 0,
            size: self.size,
        }
    }

    /// Returns whether user space may map these bytes.
    fn may_map(&self, offset: u64, len: u64) -> bool {
        let whole = [self.whole()];
        let areas = if self.areas.is_empty() {
            &whole
        } else {
            self.areas
        };
        self.mappable && areas.iter().any(|area| area.contains(offset, len))
    }
}

/// The bytes of a region at an offset of the device's file.
struct Place<'a, D: Data> {
    region: &'a Region<D>,
    offset: u64,
    /// The number of bytes from there to the end of the region.
    rest: u64,
}

impl<D: Data> Place<'static, D> {
    /// Returns the region at offset `pos` of the file.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    fn at(regions: &'static [Region<D>], pos: u64) -> Result<Self> {
        let (number, offset) = regions::place(pos);
        let region = regions.get(usize::try_from(number)?).ok_or(EINVAL)?;
        let rest = region.size.checked_sub(offset).ok_or(EINVAL)?;
        Ok(Self {
            region,
            offset,
            rest,
        })
    }
}

/// Calls `each` for one register after the other, and returns how many bytes that were. An error
/// behind the first one ends it early. If `only` is a width, other accesses are such an error.
fn for_each_register(
    offset: u64,
    len: usize,
    only: Option<Width>,
    mut each: impl FnMut(u64, Width) -> Result,
) -> Result<usize> {
    let mut done = 0;
    for (at, width) in accesses(offset, len) {
        let result = match only {
            Some(only) if width != only => Err(EINVAL),
            _ => each(at, width),
        };
        match result {
            Ok(()) => done += width as usize,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Handles `read()`: reads from the region at offset `pos`, and returns how many bytes.
///
/// # Errors
///
/// - `EINVAL` if there is no region at the offset, or it cannot be read.
/// - `EFAULT` if the memory of user space is not accessible.
/// - Any error of [`Registers::read`].
pub(crate) fn read<D: Data>(
    regions: &'static [Region<D>],
    device: &Opened<'_, D>,
    mut user: UserSliceWriter,
    pos: &mut i64,
) -> Result<isize> {
    let Place {
        region,
        offset,
        rest,
    } = Place::at(regions, u64::try_from(*pos)?)?;
    if !region.readable {
        return Err(EINVAL);
    }
    let len = user.len().min(usize::try_from(rest)?);
    let done = match &region.handler {
        Handler::Absent => return Err(EINVAL),
        Handler::Registers { read, .. } => {
            for_each_register(offset, len, region.width, |at, width| {
                let bytes = read(device, at, width)?.to_le_bytes();
                user.write_slice(bytes.get(..width as usize).ok_or(EINVAL)?)
            })?
        }
        Handler::Memory(pages) => pages(device).read(usize::try_from(offset)?, len, &mut user)?,
    };
    advance(pos, done)
}

/// Handles `write()`: writes to the region at offset `pos`, and returns how many bytes.
///
/// # Errors
///
/// - `EINVAL` if there is no region at the offset, or it cannot be written.
/// - `EFAULT` if the memory of user space is not accessible.
/// - Any error of [`Registers::write`].
pub(crate) fn write<D: Data>(
    regions: &'static [Region<D>],
    device: &Opened<'_, D>,
    mut user: UserSliceReader,
    pos: &mut i64,
) -> Result<isize> {
    let Place {
        region,
        offset,
        rest,
    } = Place::at(regions, u64::try_from(*pos)?)?;
    if !region.writable {
        return Err(EINVAL);
    }
    let len = user.len().min(usize::try_from(rest)?);
    let done = match &region.handler {
        Handler::Absent => return Err(EINVAL),
        Handler::Registers { write, .. } => {
            for_each_register(offset, len, region.width, |at, width| {
                let mut bytes = [0; size_of::<u64>()];
                user.read_slice(bytes.get_mut(..width as usize).ok_or(EINVAL)?)?;
                write(device, at, width, u64::from_le_bytes(bytes))
            })?
        }
        Handler::Memory(pages) => pages(device).write(usize::try_from(offset)?, len, &mut user)?,
    };
    advance(pos, done)
}

/// Moves a file's position by what was read or written, and returns that.
fn advance(pos: &mut i64, done: usize) -> Result<isize> {
    let done = isize::try_from(done)?;
    *pos = pos.saturating_add(done as i64);
    Ok(done)
}

/// Handles `mmap()`.
///
/// # Errors
///
/// - `EINVAL` if the area is private, or is not inside of what can be mapped of a region.
/// - `EPERM` if the region is read-only and the area is not.
/// - Any error of [`Pages::map`].
pub(crate) fn mmap<D: Data>(
    regions: &'static [Region<D>],
    device: &Opened<'_, D>,
    vma: &VmaNew,
) -> Result {
    if vma.flags() & flags::SHARED == 0 {
        return Err(EINVAL);
    }
    let len = vma.end() - vma.start();
    let pos = pages::file_offset(vma);
    let Place { region, offset, .. } = Place::at(regions, pos)?;
    if !region.may_map(offset, len as u64) {
        return Err(EINVAL);
    }
    if !region.writable {
        vma.try_clear_maywrite().map_err(|_| EPERM)?;
    }
    match &region.handler {
        Handler::Memory(pages) => pages(device).map(usize::try_from(offset)?, vma),
        Handler::Absent | Handler::Registers { .. } => Err(EINVAL),
    }
}

/// Fills the answer to VFIO_DEVICE_GET_REGION_INFO, whose index is set, and appends capabilities.
/// Of `count` regions those that `regions` lacks are empty.
///
/// # Errors
///
/// - `EINVAL` if there is no such region.
/// - `ENOMEM` if there is no memory.
pub(crate) fn info<D: Data>(
    regions: &[Region<D>],
    count: usize,
    info: &mut bindings::vfio_region_info,
    caps: &mut bindings::vfio_info_cap,
) -> Result {
    let number = usize::try_from(info.index)?;
    let absent = Region::absent();
    let region = match regions.get(number) {
        Some(region) => region,
        None if number < count => &absent,
        None => return Err(EINVAL),
    };
    info.offset = regions::begin(info.index);
    info.size = region.size;
    info.flags = region.flags();
    if !region.areas.is_empty() {
        // struct vfio_region_info_cap_sparse_mmap: the number of areas, a word that is reserved,
        // and the areas.
        // CAST: There are few.
        let mut body = KVec::new();
        body.extend_from_slice(&(region.areas.len() as u32).to_ne_bytes(), GFP_KERNEL)?;
        body.extend_from_slice(&0u32.to_ne_bytes(), GFP_KERNEL)?;
        for area in region.areas {
            body.extend_from_slice(&area.offset.to_ne_bytes(), GFP_KERNEL)?;
            body.extend_from_slice(&area.size.to_ne_bytes(), GFP_KERNEL)?;
        }
        capability(caps, bindings::VFIO_REGION_INFO_CAP_SPARSE_MMAP, &body)?;
    }
    if let Some((kind, subkind)) = region.kind {
        // struct vfio_region_info_cap_type.
        let mut body = [0; 8];
        let (first, second) = body.split_at_mut(4);
        first.copy_from_slice(&kind.to_ne_bytes());
        second.copy_from_slice(&subkind.to_ne_bytes());
        capability(caps, bindings::VFIO_REGION_INFO_CAP_TYPE, &body)?;
    }
    Ok(())
}

/// Appends a capability of version 1.
///
/// # Errors
///
/// `ENOMEM` if there is no memory.
fn capability(caps: &mut bindings::vfio_info_cap, id: u32, body: &[u8]) -> Result {
    let mut bytes = KVec::new();
    // struct vfio_info_cap_header: the number of the capability, its version, and what the core
    // fills in.
    bytes.extend_from_slice(&u16::try_from(id)?.to_ne_bytes(), GFP_KERNEL)?;
    bytes.extend_from_slice(&1u16.to_ne_bytes(), GFP_KERNEL)?;
    bytes.extend_from_slice(&0u32.to_ne_bytes(), GFP_KERNEL)?;
    bytes.extend_from_slice(body, GFP_KERNEL)?;
    // SAFETY: The core copies the bytes, which are as many as they say. The memory of a vector is
    // aligned for the header.
    to_result(unsafe {
        bindings::vfio_info_add_capability(caps, bytes.as_mut_ptr().cast(), bytes.len())
    })
}

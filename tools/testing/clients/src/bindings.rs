// SPDX-License-Identifier: GPL-2.0
//! Requests that are made of the structures of rust-vmm's `vfio-bindings`, for what
//! `vfio-ioctls` does not open: it knows only PCI and platform devices.

use std::{
    ffi::CString,
    fs::File,
    io::{Error, Result},
    mem::size_of,
    os::{
        fd::{AsRawFd, FromRawFd},
        raw::c_ulong,
    },
    path::Path,
};

use vfio_bindings::bindings::vfio::*;
use vfio_selftests::target::Target;
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ptr, ioctl_with_ref, ioctl_with_val};

/// Returns the number of a request.
const fn number(request: u32) -> c_ulong {
    // CAST: To a wider type.
    ((VFIO_TYPE as u32) << 8 | (VFIO_BASE + request)) as c_ulong
}

const SET_IOMMU: c_ulong = number(2);
const GROUP_SET_CONTAINER: c_ulong = number(4);
const GROUP_GET_DEVICE_FD: c_ulong = number(6);
const DEVICE_RESET: c_ulong = number(11);
const IOMMU_MAP_DMA: c_ulong = number(13);
const IOMMU_UNMAP_DMA: c_ulong = number(14);
const DEVICE_FEATURE: c_ulong = number(17);
const IOMMU_DIRTY_PAGES: c_ulong = number(17);
const MIG_GET_PRECOPY_INFO: c_ulong = number(21);

/// Returns the result of a request.
fn result(value: i32) -> Result<i32> {
    if value < 0 {
        return Err(Error::last_os_error());
    }
    Ok(value)
}

/// Returns the length of a structure, as the kernel wants it.
fn argsz<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("a structure is short")
}

fn open(path: impl AsRef<Path>) -> Result<File> {
    File::options().read(true).write(true).open(path)
}

/// A container.
pub(crate) struct Container(File);

/// One bit for each page.
pub(crate) type Bitmap = Vec<u64>;

const PAGE: u64 = 4096;

/// Allocates room for the bits of some pages.
fn bitmap(pages: u64) -> Bitmap {
    vec![0; usize::try_from(pages.div_ceil(64)).expect("few pages")]
}

/// The argument of a request on dirty pages.
#[repr(C)]
struct DirtyPages {
    head: vfio_iommu_type1_dirty_bitmap,
    get: vfio_iommu_type1_dirty_bitmap_get,
}

impl Container {
    /// Maps a range of addresses of this process.
    ///
    /// # Safety
    ///
    /// Devices write there: until it is unmapped it may only be accessed by copies.
    pub(crate) unsafe fn map(&self, iova: u64, size: u64, address: *const u8) -> Result<()> {
        let map = vfio_iommu_type1_dma_map {
            argsz: argsz::<vfio_iommu_type1_dma_map>(),
            flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
            vaddr: address as u64,
            iova,
            size,
        };
        // SAFETY: The kernel reads the structure. The caller vouches for the memory.
        result(unsafe { ioctl_with_ref(&self.0, IOMMU_MAP_DMA, &map) }).map(drop)
    }

    /// Unmaps a range, and returns how many bytes were mapped there.
    pub(crate) fn unmap(&self, iova: u64, size: u64) -> Result<u64> {
        let mut unmap = vfio_iommu_type1_dma_unmap {
            argsz: argsz::<vfio_iommu_type1_dma_unmap>(),
            iova,
            size,
            ..Default::default()
        };
        // SAFETY: The kernel reads and writes the structure.
        result(unsafe { ioctl_with_mut_ref(&self.0, IOMMU_UNMAP_DMA, &mut unmap) })?;
        Ok(unmap.size)
    }

    /// Begins to note which pages get dirty.
    pub(crate) fn start_tracking(&self) -> Result<()> {
        self.tracking(VFIO_IOMMU_DIRTY_PAGES_FLAG_START)
    }

    /// Ends that.
    pub(crate) fn stop_tracking(&self) -> Result<()> {
        self.tracking(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP)
    }

    fn tracking(&self, flags: u32) -> Result<()> {
        let head = vfio_iommu_type1_dirty_bitmap {
            argsz: argsz::<vfio_iommu_type1_dirty_bitmap>(),
            flags,
            ..Default::default()
        };
        // SAFETY: The kernel reads the structure.
        result(unsafe { ioctl_with_ref(&self.0, IOMMU_DIRTY_PAGES, &head) }).map(drop)
    }

    /// Takes which pages have got dirty since this was last asked.
    pub(crate) fn dirty(&self, iova: u64, pages: u64) -> Result<Bitmap> {
        let mut bits = bitmap(pages);
        let mut get = DirtyPages {
            head: vfio_iommu_type1_dirty_bitmap {
                argsz: argsz::<DirtyPages>(),
                flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
                ..Default::default()
            },
            get: vfio_iommu_type1_dirty_bitmap_get {
                iova,
                size: pages * PAGE,
                bitmap: vfio_bitmap {
                    pgsize: PAGE,
                    size: bits.len() as u64 * 8,
                    data: bits.as_mut_ptr(),
                },
            },
        };
        // SAFETY: The kernel reads the structure, and writes to the bits no more than it
        // says.
        result(unsafe { ioctl_with_mut_ref(&self.0, IOMMU_DIRTY_PAGES, &mut get) })?;
        Ok(bits)
    }
}

/// The argument of a request on a feature.
#[repr(C)]
struct Feature<T> {
    head: vfio_device_feature,
    data: T,
}

/// The data of a feature.
///
/// # Safety
///
/// Any bytes are a value of the type, and it has no gaps.
unsafe trait Data: Copy + Default {}

// SAFETY: Numbers only, as of the structures below.
unsafe impl Data for () {}
// SAFETY: As above.
unsafe impl Data for vfio_device_feature_migration {}
// SAFETY: As above.
unsafe impl Data for vfio_device_feature_mig_state {}
// SAFETY: As above.
unsafe impl Data for vfio_device_feature_mig_data_size {}

/// An open device, the only one of its group and in its container.
pub(crate) struct Device {
    // Closed in this order.
    file: File,
    _group: File,
    pub(crate) container: Container,
}

impl Device {
    /// Opens a device in a container of its own.
    pub(crate) fn open(target: &impl Target) -> anyhow::Result<Self> {
        let group = open(Path::new("/dev/vfio").join(target.group_name()?))?;
        let container = open("/dev/vfio/vfio")?;
        let name = CString::new(target.name())?;
        // SAFETY: The kernel reads a descriptor, a number, and a name that ends with a zero.
        let file = unsafe {
            let number = container.as_raw_fd();
            result(ioctl_with_ref(&group, GROUP_SET_CONTAINER, &number))?;
            result(ioctl_with_val(
                &container,
                SET_IOMMU,
                VFIO_TYPE1v2_IOMMU.into(),
            ))?;
            result(ioctl_with_ptr(&group, GROUP_GET_DEVICE_FD, name.as_ptr()))?
        };
        Ok(Self {
            // SAFETY: The request made this descriptor, and only we know of it.
            file: unsafe { File::from_raw_fd(file) },
            _group: group,
            container: Container(container),
        })
    }

    /// Returns the file, to read and write the regions.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Resets the device.
    pub(crate) fn reset(&self) -> Result<()> {
        // SAFETY: The request has no argument.
        result(unsafe { ioctl_with_val(&self.file, DEVICE_RESET, 0) }).map(drop)
    }

    /// Makes a request on a feature.
    ///
    /// # Safety
    ///
    /// Pointers in the data must be those of the feature.
    unsafe fn feature<T>(&self, flags: u32, data: T) -> Result<T> {
        let mut feature = Feature {
            head: vfio_device_feature {
                argsz: argsz::<Feature<T>>(),
                flags,
                ..Default::default()
            },
            data,
        };
        // SAFETY: The kernel reads and writes the structure, no more of it than `argsz`
        // says. The caller vouches for what the data point to.
        result(unsafe { ioctl_with_mut_ref(&self.file, DEVICE_FEATURE, &mut feature) })?;
        Ok(feature.data)
    }

    fn get<T: Data>(&self, feature: u32) -> Result<T> {
        // SAFETY: Such data have no pointers.
        unsafe { self.feature(VFIO_DEVICE_FEATURE_GET | feature, T::default()) }
    }

    fn set<T: Data>(&self, feature: u32, data: T) -> Result<T> {
        // SAFETY: Such data have no pointers.
        unsafe { self.feature(VFIO_DEVICE_FEATURE_SET | feature, data) }
    }

    /// Asks which parts of migration the device can do.
    pub(crate) fn migration(&self) -> Result<u32> {
        let data: vfio_device_feature_migration = self.get(VFIO_DEVICE_FEATURE_MIGRATION)?;
        u32::try_from(data.flags).map_err(Error::other)
    }

    /// Asks for the migration state that the device is in.
    pub(crate) fn state(&self) -> Result<u32> {
        let data: vfio_device_feature_mig_state = self.get(VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)?;
        Ok(data.device_state)
    }

    /// Takes the device to a migration state. If that begins to save or to resume there is
    /// a file.
    pub(crate) fn go(&self, state: u32) -> Result<Option<File>> {
        let data = vfio_device_feature_mig_state {
            device_state: state,
            data_fd: -1,
        };
        let data = self.set(VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, data)?;
        // SAFETY: The request made this descriptor, and only we know of it.
        Ok((data.data_fd >= 0).then(|| unsafe { File::from_raw_fd(data.data_fd) }))
    }

    /// Asks how many bytes come when the device is saved while it is stopped.
    pub(crate) fn data_size(&self) -> Result<u64> {
        let data: vfio_device_feature_mig_data_size =
            self.get(VFIO_DEVICE_FEATURE_MIG_DATA_SIZE)?;
        Ok(data.stop_copy_length)
    }

    /// Lets the device log which pages it writes, of a range.
    pub(crate) fn start_log(&self, iova: u64, pages: u64) -> Result<()> {
        let range = vfio_device_feature_dma_logging_range {
            iova,
            length: pages * PAGE,
        };
        let control = vfio_device_feature_dma_logging_control {
            page_size: PAGE,
            num_ranges: 1,
            __reserved: 0,
            ranges: &raw const range as u64,
        };
        let flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
        // SAFETY: One range is there, and the kernel reads it.
        unsafe { self.feature(flags, control) }.map(drop)
    }

    /// Ends that.
    pub(crate) fn stop_log(&self) -> Result<()> {
        self.set(VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, ())
    }

    /// Takes which pages of a range the device has written since this was last asked.
    pub(crate) fn log(&self, iova: u64, pages: u64) -> Result<Bitmap> {
        let mut bits = bitmap(pages);
        let report = vfio_device_feature_dma_logging_report {
            iova,
            length: pages * PAGE,
            page_size: PAGE,
            bitmap: bits.as_mut_ptr() as u64,
        };
        let flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
        // SAFETY: The bits have room for all pages.
        unsafe { self.feature(flags, report)? };
        Ok(bits)
    }
}

/// Asks how many bytes a device that is running has to tell for the first time, and how many have
/// changed since.
pub(crate) fn left(data: &File) -> Result<[u64; 2]> {
    let mut info = vfio_precopy_info {
        argsz: argsz::<vfio_precopy_info>(),
        ..Default::default()
    };
    // SAFETY: The kernel reads and writes the structure.
    result(unsafe { ioctl_with_mut_ref(data, MIG_GET_PRECOPY_INFO, &mut info) })?;
    Ok([info.initial_bytes, info.dirty_bytes])
}

// SPDX-License-Identifier: GPL-2.0

//! What user space and drivers say to each other, as far as bindgen cannot tell.
//!
//! C header: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h).

use kernel::{
    ioctl::_IO,
    prelude::*, //
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use crate::bindings;

/// Returns the number of the `n`th request of VFIO.
const fn request(n: u32) -> u32 {
    _IO(bindings::VFIO_TYPE as u32, bindings::VFIO_BASE + n)
}

pub(crate) const DEVICE_GET_INFO: u32 = request(7);
pub(crate) const DEVICE_GET_IRQ_INFO: u32 = request(9);
pub(crate) const DEVICE_SET_IRQS: u32 = request(10);
pub(crate) const DEVICE_RESET: u32 = request(11);
pub(crate) const MIG_GET_PRECOPY_INFO: u32 = request(21);

/// The number of regions of a PCI device: the end of `VFIO_PCI_*_REGION_INDEX`.
// CAST: A constant below ten, as the next.
pub(crate) const PCI_REGIONS: usize = bindings::VFIO_PCI_NUM_REGIONS as usize;

/// The number of kinds of interrupts of a PCI device: the end of `VFIO_PCI_*_IRQ_INDEX`.
pub(crate) const PCI_IRQS: usize = bindings::VFIO_PCI_NUM_IRQS as usize;

/// `struct vfio_device_info` without what was added later.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct DeviceInfo {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) num_regions: u32,
    pub(crate) num_irqs: u32,
}

/// `struct vfio_irq_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct IrqInfo {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) index: u32,
    pub(crate) count: u32,
}

/// `struct vfio_irq_set` without the data behind it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct IrqSet {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) index: u32,
    pub(crate) start: u32,
    pub(crate) count: u32,
}

/// `struct vfio_precopy_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct PrecopyInfo {
    pub(crate) argsz: u32,
    pub(crate) flags: u32,
    pub(crate) initial_bytes: u64,
    pub(crate) dirty_bytes: u64,
}

/// Marks structures of numbers without padding.
macro_rules! plain {
    ($($name:ident: $size:literal),* $(,)?) => {$(
        const _: () = assert!(size_of::<$name>() == $size);
        // SAFETY: The structure consists of numbers and has no padding.
        unsafe impl AsBytes for $name {}
        // SAFETY: As above: any bytes are valid.
        unsafe impl FromBytes for $name {}
    )*};
}
plain! { DeviceInfo: 16, IrqInfo: 16, IrqSet: 20, PrecopyInfo: 24 }

/// Reads a structure that begins with its size, `argsz`.
///
/// # Errors
///
/// - `EFAULT` if it cannot be read.
/// - `EINVAL` if user space says that it is smaller.
pub(crate) fn read<T: FromBytes>(arg: usize, argsz: impl Fn(&T) -> u32) -> Result<T> {
    let value = UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .reader()
        .read::<T>()?;
    if (argsz(&value) as usize) < size_of::<T>() {
        return Err(EINVAL);
    }
    Ok(value)
}

/// Writes a structure to where it came from.
///
/// # Errors
///
/// `EFAULT` if that cannot be written.
pub(crate) fn write<T: AsBytes>(arg: usize, value: &T) -> Result {
    UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .writer()
        .write(value)
}

// SPDX-License-Identifier: GPL-2.0
//! The device file: what kind of device it is, and its reset.
//!
//! A device file comes from [`crate::GROUP_GET_DEVICE_FD`] or from opening
//! `/dev/vfio/devices/vfioN` and binding it to an iommufd. Most requests are
//! answered by the driver of the device; its memory is reached with `pread`,
//! `pwrite` and `mmap` at the offsets that [`crate::RegionInfo`] gives.

use crate::{request, InfoCapHeader};

/// Reads [`DeviceInfo`].
pub const DEVICE_GET_INFO: u32 = request(7);

/// Resets the device. Only if [`DEVICE_FLAGS_RESET`] is there.
pub const DEVICE_RESET: u32 = request(11);

/// [`DeviceInfo::flags`]: [`DEVICE_RESET`] works.
pub const DEVICE_FLAGS_RESET: u32 = 1 << 0;
/// [`DeviceInfo::flags`]: a PCI device, so [`crate::pci`] applies.
pub const DEVICE_FLAGS_PCI: u32 = 1 << 1;
/// [`DeviceInfo::flags`]: a device of the platform bus.
pub const DEVICE_FLAGS_PLATFORM: u32 = 1 << 2;
/// [`DeviceInfo::flags`]: a device of the AMBA bus.
pub const DEVICE_FLAGS_AMBA: u32 = 1 << 3;
/// [`DeviceInfo::flags`]: an s390 channel device.
pub const DEVICE_FLAGS_CCW: u32 = 1 << 4;
/// [`DeviceInfo::flags`]: an s390 crypto adapter.
pub const DEVICE_FLAGS_AP: u32 = 1 << 5;
/// [`DeviceInfo::flags`]: a Freescale management complex device.
pub const DEVICE_FLAGS_FSL_MC: u32 = 1 << 6;
/// [`DeviceInfo::flags`]: capabilities exist; see [`DeviceInfo::cap_offset`].
pub const DEVICE_FLAGS_CAPS: u32 = 1 << 7;
/// [`DeviceInfo::flags`]: a device of the CDX bus.
pub const DEVICE_FLAGS_CDX: u32 = 1 << 8;

/// Answer of [`DEVICE_GET_INFO`].
#[doc(alias = "vfio_device_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// In: bytes offered. Out: bytes needed for all capabilities, if too few
    /// were offered.
    pub argsz: u32,
    /// Out: `DEVICE_FLAGS_*`.
    pub flags: u32,
    /// Out: regions are numbered from 0 to this, exclusive.
    pub num_regions: u32,
    /// Out: interrupt indices are numbered from 0 to this, exclusive.
    pub num_irqs: u32,
    /// Out: where the first capability begins, or 0.
    pub cap_offset: u32,
    /// Always 0.
    pub pad: u32,
}

/// [`InfoCapHeader::id`] of [`DeviceInfoCapPciAtomicComp`].
pub const DEVICE_INFO_CAP_PCI_ATOMIC_COMP: u32 = 5;

/// [`DeviceInfoCapPciAtomicComp::flags`]: 32-bit atomic operations complete.
pub const PCI_ATOMIC_COMP32: u32 = 1 << 0;
/// [`DeviceInfoCapPciAtomicComp::flags`]: 64-bit atomic operations complete.
pub const PCI_ATOMIC_COMP64: u32 = 1 << 1;
/// [`DeviceInfoCapPciAtomicComp::flags`]: 128-bit atomic operations complete.
pub const PCI_ATOMIC_COMP128: u32 = 1 << 2;

/// Capability: which PCIe atomic operations the path to the root can complete.
#[doc(alias = "vfio_device_info_cap_pci_atomic_comp")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfoCapPciAtomicComp {
    /// Id [`DEVICE_INFO_CAP_PCI_ATOMIC_COMP`], version 1.
    pub header: InfoCapHeader,
    /// `PCI_ATOMIC_COMP*`.
    pub flags: u32,
    /// Always 0.
    pub reserved: u32,
}

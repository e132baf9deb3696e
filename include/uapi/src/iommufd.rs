// SPDX-License-Identifier: GPL-2.0
//! Device files and iommufd (contract rows F039-F055).
//!
//! A device opened as `/dev/vfio/devices/vfioN` is dead until it is bound to
//! an iommufd. Then it can be attached to an address space of that iommufd.
//! Device files that came from a group refuse these requests.

use crate::request;

/// Binds the device to an iommufd: [`DeviceBindIommufd`]. Closing the device
/// file ends it; there is no request to do so earlier.
pub const DEVICE_BIND_IOMMUFD: u32 = request(18);

/// Attaches the device to an address space: [`DeviceAttachIommufdPt`]. A
/// second attach replaces the first; if it fails the first stays.
pub const DEVICE_ATTACH_IOMMUFD_PT: u32 = request(19);

/// Detaches it again: [`DeviceDetachIommufdPt`]. Not attached is no error.
pub const DEVICE_DETACH_IOMMUFD_PT: u32 = request(20);

/// [`DeviceBindIommufd::flags`]: `token_uuid_ptr` is given.
pub const DEVICE_BIND_FLAG_TOKEN: u32 = 1 << 0;

/// Argument of [`DEVICE_BIND_IOMMUFD`] (F041-F047).
#[doc(alias = "vfio_device_bind_iommufd")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceBindIommufd {
    /// Bytes offered: at least 16; the token pointer is taken as 0 if not all
    /// 24 are there. Bytes beyond 24 must be 0.
    pub argsz: u32,
    /// `DEVICE_BIND_FLAG_*`.
    pub flags: u32,
    /// In: the iommufd.
    pub iommufd: i32,
    /// Out: the id of the device among the objects of that iommufd.
    pub out_devid: u32,
    /// In: address of the 16 bytes that a virtual function's owner and the
    /// physical function's owner agreed on.
    pub token_uuid_ptr: u64,
}

/// [`DeviceAttachIommufdPt::flags`]: attach one PASID, not the device itself.
pub const DEVICE_ATTACH_PASID: u32 = 1 << 0;

/// Argument of [`DEVICE_ATTACH_IOMMUFD_PT`] (F048-F053).
#[doc(alias = "vfio_device_attach_iommufd_pt")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceAttachIommufdPt {
    /// Bytes offered: at least 12, or 16 with a PASID.
    pub argsz: u32,
    /// `DEVICE_ATTACH_*`.
    pub flags: u32,
    /// In: an address space or a page table of the iommufd. Out: the page
    /// table that is used now.
    pub pt_id: u32,
    /// In: the PASID, with [`DEVICE_ATTACH_PASID`].
    pub pasid: u32,
}

/// [`DeviceDetachIommufdPt::flags`]: detach one PASID, not the device itself.
pub const DEVICE_DETACH_PASID: u32 = 1 << 0;

/// Argument of [`DEVICE_DETACH_IOMMUFD_PT`] (F048, F052).
#[doc(alias = "vfio_device_detach_iommufd_pt")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceDetachIommufdPt {
    /// Bytes offered: at least 8, or 12 with a PASID.
    pub argsz: u32,
    /// `DEVICE_DETACH_*`.
    pub flags: u32,
    /// In: the PASID, with [`DEVICE_DETACH_PASID`].
    pub pasid: u32,
}

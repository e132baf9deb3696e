// SPDX-License-Identifier: GPL-2.0
//! The group file, `/dev/vfio/<iommu group>` (contract rows F015-F029).
//!
//! A group is the smallest set of devices that the IOMMU can keep apart from
//! the rest. One open file per group; a program that owns it owns the DMA of
//! all devices in it.

use crate::request;

/// Reads [`GroupStatus`] (F018, F019).
pub const GROUP_GET_STATUS: u32 = request(3);

/// Puts the group into a container, or connects it to an iommufd. The argument
/// points to the file descriptor, a 32-bit signed number (F020-F022).
pub const GROUP_SET_CONTAINER: u32 = request(4);

/// Takes the group out of its container. `EBUSY` while one of its devices is
/// open (F023). The argument is ignored.
pub const GROUP_UNSET_CONTAINER: u32 = request(5);

/// Opens a device of the group and returns the new file descriptor, which is
/// closed on exec. The argument points to the device's name with a NUL behind
/// it, for PCI the address such as `0000:00:03.0` (F024-F026).
pub const GROUP_GET_DEVICE_FD: u32 = request(6);

/// [`GroupStatus::flags`]: no driver of the kernel uses a device of the group,
/// so it can be put into a container.
pub const GROUP_FLAGS_VIABLE: u32 = 1 << 0;

/// [`GroupStatus::flags`]: the group is in a container or has an iommufd.
pub const GROUP_FLAGS_CONTAINER_SET: u32 = 1 << 1;

/// Answer of [`GROUP_GET_STATUS`].
#[doc(alias = "vfio_group_status")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// In: bytes offered, at least 8. Not changed.
    pub argsz: u32,
    /// Out: `GROUP_FLAGS_*`. What the caller put here is ignored.
    pub flags: u32,
}

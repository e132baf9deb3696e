// SPDX-License-Identifier: GPL-2.0

//! The kinds of groups, and so of devices (`enum vfio_group_type`; contract section 1.1).

/// How the DMA of a group's devices is translated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupType {
    /// By an IOMMU.
    Iommu,
    /// In software, by the driver of an emulated device.
    Emulated,
    /// Not at all.
    NoIommu,
}

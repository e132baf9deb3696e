// SPDX-License-Identifier: GPL-2.0

//! Kinds of groups, and so of devices.

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

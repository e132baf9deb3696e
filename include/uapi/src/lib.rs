// SPDX-License-Identifier: GPL-2.0
//! The user ABI of VFIO, as this project promises it.
//!
//! Everything a program needs to talk to `/dev/vfio`: request numbers, flags
//! and the layout of each structure, with their meaning, units and the rule
//! whether an end is part of a range. The text is ours; the values, sizes and
//! offsets are compared with the kernel's `include/uapi/linux/vfio.h` by the
//! crate `vfio-uapi-check` next to this one.
//!
//! # Names
//!
//! A constant has the name of the C macro without `VFIO_`; a structure has the
//! C name without `vfio_`, in camel case. So `VFIO_DMA_MAP_FLAG_READ` is
//! [`DMA_MAP_FLAG_READ`] and `struct vfio_iommu_type1_dma_map` is
//! [`IommuType1DmaMap`]. Each structure carries its C name as a search alias.
//!
//! # The three kinds of file
//!
//! | File | How it is opened | Where its requests are |
//! |---|---|---|
//! | container | `/dev/vfio/vfio` | [`container`], [`type1`] |
//! | group | `/dev/vfio/<iommu group>` | [`group`] |
//! | device | from a group, or `/dev/vfio/devices/vfioN` | [`device`], [`region`], [`irq`], [`pci`], [`feature`], [`migration`], [`iommufd`] |
//!
//! # Sizes
//!
//! Most structures begin with `argsz`, the number of bytes the caller offers.
//! Too small a number is `EINVAL`; a larger one is fine, and information
//! requests use the room behind the structure for a chain of capabilities
//! ([`InfoCapHeader`]).
//!
//! Some members of a structure are an array whose length is only known at run
//! time. It is written as an array of length 0 at the place where it begins.

#![no_std]
#![forbid(unsafe_code)]

pub mod container;
pub mod device;
pub mod feature;
pub mod group;
pub mod iommufd;
pub mod irq;
pub mod migration;
pub mod pci;
pub mod region;
pub mod type1;

pub use self::{
    container::*, device::*, feature::*, group::*, iommufd::*, irq::*, migration::*, pci::*,
    region::*, type1::*,
};

/// The letter that marks VFIO requests, `';'`.
pub const TYPE: u32 = b';' as u32;

/// The number of the first VFIO request.
pub const BASE: u32 = 100;

/// Builds a request number. VFIO encodes neither a size nor a direction in it:
/// structures may grow, and `argsz` says how much of one is there.
pub(crate) const fn request(n: u32) -> u32 {
    (TYPE << 8) | (BASE + n)
}

/// Begins each capability behind an information structure.
///
/// Capabilities form a chain: the structure's `cap_offset` leads to the first
/// and `next` from each to the following one. All offsets count from the start
/// of the information structure, and each capability begins at a multiple of
/// 8. A caller that offers too little room finds `cap_offset` 0 and the size
/// that would have been enough in `argsz`.
#[doc(alias = "vfio_info_cap_header")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InfoCapHeader {
    /// What kind of capability this is; each information request has its own
    /// numbers.
    pub id: u16,
    /// Which layout the content has, for this `id`.
    pub version: u16,
    /// Where the next capability begins, or 0 in the last one.
    pub next: u32,
}

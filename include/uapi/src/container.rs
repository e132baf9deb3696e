// SPDX-License-Identifier: GPL-2.0
//! The container file, `/dev/vfio/vfio` (contract rows F001-F014).
//!
//! A container is one address space as devices see it. Groups are put into it,
//! then an IOMMU backend is chosen, and from then on the requests of that
//! backend are available ([`crate::type1`]).

use crate::request;

/// The version that [`GET_API_VERSION`] returns (F003).
pub const API_VERSION: u32 = 0;

/// Returns [`API_VERSION`]. The argument is ignored.
pub const GET_API_VERSION: u32 = request(0);

/// Asks whether an extension exists: a positive number if so, else 0 (F007,
/// F008). The argument is one of the extension numbers of this module. Once a
/// backend is chosen only that backend is asked.
pub const CHECK_EXTENSION: u32 = request(1);

/// Chooses the backend (F009-F012). The argument is the number of the backend,
/// such as [`TYPE1v2_IOMMU`]. `EINVAL` without a group in the container, or if
/// a backend was chosen before. Taking the last group out forgets the choice.
pub const SET_IOMMU: u32 = request(2);

/// Backend: maps ranges of memory, and unmaps with the rules of version 1,
/// where an unmap may remove more than was asked for (F111).
pub const TYPE1_IOMMU: u32 = 1;

/// Backend of another architecture. Not present here.
pub const SPAPR_TCE_IOMMU: u32 = 2;

/// Backend: like [`TYPE1_IOMMU`], but an unmap removes whole mappings inside
/// the range that was asked for, and nothing else (F110).
#[allow(non_upper_case_globals)] // The name of the C macro.
pub const TYPE1v2_IOMMU: u32 = 3;

/// Extension: every IOMMU in the container keeps device access coherent with
/// the CPU caches, whatever the device asks for (F121). May change as groups
/// come and go.
pub const DMA_CC_IOMMU: u32 = 4;

/// Extension of another architecture. Not present here.
pub const EEH: u32 = 5;

/// Number of a former backend. Always refused.
pub const RESERVED_TYPE1_NESTING_IOMMU: u32 = 6;

/// Backend of another architecture. Not present here.
#[allow(non_upper_case_globals)] // The name of the C macro.
pub const SPAPR_TCE_v2_IOMMU: u32 = 7;

/// Backend for devices without any IOMMU: no mapping, no protection. Only
/// after the administrator allowed it, with `CAP_SYS_RAWIO`, and it taints the
/// kernel (F141).
pub const NOIOMMU_IOMMU: u32 = 8;

/// Extension: [`crate::DMA_UNMAP_FLAG_ALL`] is understood (F112).
pub const UNMAP_ALL: u32 = 9;

/// Extension: mappings can be given a new user address (F114, F115). Denied
/// while an emulated device's group is in the container.
pub const UPDATE_VADDR: u32 = 10;

// SPDX-License-Identifier: GPL-2.0

//! Crate root of `vfio_iommu_type1.ko`, the IOMMU backend of VFIO containers.
//!
//! The backend meets the core at one place, a table of operations ([`iommu_type1::abi`]), so it
//! also works with the core that is written in C, and the C backend with ours. Layers, from the
//! bottom: `ffi` (safe wrappers, the only ones that name the raw bindings), `logic` (pure rules,
//! tested on the host), `iommu_type1`.

use kernel::prelude::*;

mod ffi {
    //! Safe wrappers of the kernel's C API, as far as this module needs them.

    pub(crate) mod bindings;
    pub(crate) mod driver_buffers;
    pub(crate) mod hugetlb;
    pub(crate) mod iommu;
    pub(crate) mod mm;
    pub(crate) mod pfnmap;
    pub(crate) mod pin;
    pub(crate) mod type1_uapi;
    // Shared with `vfio.ko`, which needs more of it.
    #[allow(dead_code)]
    pub(crate) mod uapi;
    pub(crate) mod unmap_listener;
}

// The host crate makes these modules public; here nobody outside sees them.
#[allow(unreachable_pub)]
mod logic {
    //! Rules that need no kernel.

    pub(crate) mod account;
    pub(crate) mod dirty;
    pub(crate) mod iova_ranges;
    pub(crate) mod runs;
    pub(crate) mod units;
    pub(crate) mod unmap_plan;
}

mod iommu_type1;

module! {
    type: Type1Module,
    name: "vfio_iommu_type1",
    authors: ["The rust_vfio developers"],
    description: "Type1 IOMMU driver for VFIO",
    license: "GPL v2",
}

/// The loaded module.
struct Type1Module {
    /// Ends when the module is unloaded.
    _registration: iommu_type1::abi::Registration,
}

impl kernel::Module for Type1Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Type1Module {
            _registration: iommu_type1::abi::Registration::new()?,
        })
    }
}

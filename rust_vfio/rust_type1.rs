// SPDX-License-Identifier: GPL-2.0

//! Crate root of `vfio_iommu_type1.ko`, the type1 IOMMU backend of VFIO containers.
//!
//! The only interface between the backend and the core (`vfio.ko`) is the kernel's table of
//! operations `struct vfio_iommu_driver_ops` ([`iommu_type1::exports`]). So the backend also works
//! with the core that is written in C, and our core with the C backend. The parts of the backend
//! are listed in [`iommu_type1`]. Some files of [`kernel`] and [`uapi`] are part of `vfio.ko` too;
//! `docs/architecture.md`, section 1, says which.
//!
//! # Lock order
//!
//! As in the crate root of `vfio.ko`; these are the locks of this module, and what is taken under
//! them. The core and drivers call this module under locks of their own.
//!
//! ```text
//! type1.state                  mutex
//!   (mmap_lock)
//!   (locks of the IOMMU core)
//! listener.registered          mutex
//!   (locks of drivers)
//!   type1.state                as above
//! ```
//!
//! Corresponds to `vfio_iommu_type1_init()` and `vfio_iommu_type1_cleanup()`.

use ::kernel::prelude::*;

mod bindings;
mod iommu_type1;

// The name hides the crate of the same name in this file only.
mod kernel {
    //! Safe wrappers of the kernel's C API that the kernel crate lacks.

    pub(crate) mod gup;
    pub(crate) mod iommu;
    pub(crate) mod mm;
    pub(crate) mod pages;
    pub(crate) mod pfnmap;
    pub(crate) mod scatterlist;
    #[allow(dead_code, reason = "`vfio.ko` needs the rest of it")]
    pub(crate) mod short_vec;
    pub(crate) mod slab;
    #[allow(dead_code, reason = "`vfio.ko` needs the rest of it")]
    pub(crate) mod task;
    pub(crate) mod text;
    pub(crate) mod tracepoint;
    #[allow(dead_code, reason = "`vfio.ko` needs more of it")]
    pub(crate) mod uaccess;
}

mod uapi {
    //! Numbers and structures of ioctls.

    #[allow(dead_code, reason = "`vfio.ko` needs the rest of it")]
    pub(crate) mod ioctls;
}

module! {
    type: Type1Module,
    name: "vfio_iommu_type1",
    authors: ["The rust_vfio developers"],
    description: "Type1 IOMMU driver for VFIO",
    license: "GPL v2",
}

/// The state of the loaded module.
struct Type1Module {
    /// The registration with the core, which ends when the module is unloaded.
    _registration: iommu_type1::exports::Registration,
}

impl ::kernel::Module for Type1Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Type1Module {
            _registration: iommu_type1::exports::Registration::new()?,
        })
    }
}

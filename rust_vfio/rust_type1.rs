// SPDX-License-Identifier: GPL-2.0

//! Crate root of `vfio_iommu_type1.ko`, the IOMMU backend of VFIO containers.
//!
//! The backend meets the core at one place, a table of operations ([`iommu_type1::exports`]), so it
//! also works with the core that is written in C, and the C backend with ours. What it consists of
//! is in [`iommu_type1`]; it shares [`kernel`](crate::kernel) and [`uapi`] with `vfio.ko`.

use ::kernel::prelude::*;

mod bindings;
mod iommu_type1;

// The name hides the crate of the same name in this file only.
mod kernel {
    //! Safe wrappers of the kernel's C API that the kernel crate does not have.

    pub(crate) mod iommu;
    pub(crate) mod mm;
    pub(crate) mod pages;
    pub(crate) mod pfnmap;
    #[allow(dead_code, reason = "`vfio.ko` needs more of it")]
    pub(crate) mod uaccess;
}

mod uapi {
    //! The ABI of user space.

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

/// The loaded module.
struct Type1Module {
    /// Ends when the module is unloaded.
    _registration: iommu_type1::exports::Registration,
}

impl ::kernel::Module for Type1Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Type1Module {
            _registration: iommu_type1::exports::Registration::new()?,
        })
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Crate root of `vfio_iommu_type1.ko`.

use kernel::prelude::*;

module! {
    type: Type1Module,
    name: "vfio_iommu_type1",
    authors: ["The rust_vfio developers"],
    description: "Type1 IOMMU driver for VFIO",
    license: "GPL v2",
}

struct Type1Module;

impl kernel::Module for Type1Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Type1Module)
    }
}

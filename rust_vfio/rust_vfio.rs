// SPDX-License-Identifier: GPL-2.0

//! Crate root of `vfio.ko`.

use kernel::prelude::*;

module! {
    type: VfioModule,
    name: "vfio",
    authors: ["The rust_vfio developers"],
    description: "VFIO - User Level meta-driver",
    license: "GPL v2",
}

struct VfioModule;

impl kernel::Module for VfioModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let _ = vfio_bindings::VFIO_BASE;
        Ok(VfioModule)
    }
}

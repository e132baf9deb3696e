// SPDX-License-Identifier: GPL-2.0

//! Exported functions to register and unregister IOMMU backends.
//!
//! The registry is in `container/backend.rs`. Corresponds to `vfio_register_iommu_driver()` and
//! `vfio_unregister_iommu_driver()` in `drivers/vfio/container.c`; contract section 4.8.

use kernel::error::from_result;

use crate::{
    bindings,
    container::backend,
    views::iommu_driver::IommuDriver, //
};

/// Registers the backend with the table `ops`. Sleeps. For the errnos see
/// [`backend::register_driver`].
///
/// # Safety
///
/// `ops` must be valid until it is unregistered, and as long as there is a reference to its module.
#[no_mangle]
unsafe extern "C" fn vfio_register_iommu_driver(
    ops: *const bindings::vfio_iommu_driver_ops,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    let driver = unsafe { IommuDriver::from_raw(ops) };
    from_result(|| backend::register_driver(driver).map(|()| 0))
}

/// Unregisters the backend with the table `ops`. Does nothing if it is not registered. Sleeps.
///
/// # Safety
///
/// `ops` must be valid.
#[no_mangle]
unsafe extern "C" fn vfio_unregister_iommu_driver(ops: *const bindings::vfio_iommu_driver_ops) {
    // SAFETY: By the safety requirements of this function.
    backend::unregister_driver(unsafe { IommuDriver::from_raw(ops) });
}

export! {
    vfio_register_iommu_driver,
    vfio_unregister_iommu_driver,
}

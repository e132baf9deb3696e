// SPDX-License-Identifier: GPL-2.0

//! The registry of IOMMU backends. Contract section 4.8.

use kernel::error::from_result;

use crate::{
    bindings,
    container::backend,
    views::iommu_driver::IommuDriver, //
};

/// # Safety
///
/// `ops` is valid until it is unregistered, and while its module is referenced.
#[no_mangle]
unsafe extern "C" fn vfio_register_iommu_driver(
    ops: *const bindings::vfio_iommu_driver_ops,
) -> kernel::ffi::c_int {
    // SAFETY: By the safety requirements of this function.
    let driver = unsafe { IommuDriver::from_raw(ops) };
    from_result(|| backend::register_driver(driver).map(|()| 0))
}

/// # Safety
///
/// `ops` is valid.
#[no_mangle]
unsafe extern "C" fn vfio_unregister_iommu_driver(ops: *const bindings::vfio_iommu_driver_ops) {
    // SAFETY: By the safety requirements of this function.
    backend::unregister_driver(unsafe { IommuDriver::from_raw(ops) });
}

export! {
    vfio_register_iommu_driver,
    vfio_unregister_iommu_driver,
}

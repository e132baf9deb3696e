// SPDX-License-Identifier: GPL-2.0

//! The exported function that checks VFIO_DEVICE_SET_IRQS for drivers.
//!
//! The policy is in `core/irqs.rs`. Corresponds to `vfio_set_irqs_validate_and_prepare()` in
//! `drivers/vfio/vfio_main.c`; contract section 4.6.

use kernel::{
    error::Error,
    ffi::c_int, //
};

use crate::{
    bindings,
    core::irqs,
    logic::irqs::IrqHeader, //
};

/// Checks a request for `num_irqs` interrupts of the kind `hdr.index`, which must be less than
/// `max_irq_type`, and sets `data_size` to the number of bytes of data behind `hdr`. Does not
/// sleep. For the errnos see [`irqs::validate_and_prepare`].
///
/// # Safety
///
/// `hdr` must be valid for reading, and `data_size` must be null or valid for writing. They must
/// not overlap, and nobody else may use them during the call.
#[no_mangle]
unsafe extern "C" fn vfio_set_irqs_validate_and_prepare(
    hdr: *mut bindings::vfio_irq_set,
    num_irqs: c_int,
    max_irq_type: c_int,
    data_size: *mut usize,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    let (hdr, data_size) = unsafe { (&*hdr, data_size.as_mut()) };
    let header = IrqHeader {
        argsz: hdr.argsz,
        flags: hdr.flags,
        index: hdr.index,
        start: hdr.start,
        count: hdr.count,
    };
    irqs::validate_and_prepare(header, num_irqs, max_irq_type, data_size)
        .map_or_else(Error::to_errno, |()| 0)
}

export! {
    vfio_set_irqs_validate_and_prepare,
}

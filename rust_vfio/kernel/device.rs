// SPDX-License-Identifier: GPL-2.0

//! Access to the C object behind a device of the driver core.
//!
//! In the kernel crate: `kernel::device::Device::as_raw()` exists, and would have to be public.

use kernel::device::Device;

use crate::bindings;

/// Returns the C object of `dev`.
pub(crate) fn as_raw(dev: &Device) -> *mut bindings::device {
    // CAST: `Device` is a transparent wrapper of the C object.
    (&raw const *dev).cast_mut().cast()
}

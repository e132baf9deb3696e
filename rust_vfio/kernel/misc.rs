// SPDX-License-Identifier: GPL-2.0

//! Misc devices with a fixed minor, node name and mode.
//!
//! C header: `include/linux/miscdevice.h`. The kernel crate's `MiscDeviceRegistration` only knows
//! dynamic minors and default nodes.

use kernel::{
    error::to_result,
    prelude::*,
    str::CStr,
    types::Opaque, //
};

use crate::{
    bindings,
    kernel::fops::{
        FileOps,
        FopsTable, //
    }, //
};

/// A registered misc device. Dropping it takes the node away.
#[pin_data(PinnedDrop)]
pub(crate) struct MiscDev {
    #[pin]
    inner: Opaque<bindings::miscdevice>,
}

// SAFETY: The C object is only touched by the misc core, which has its own lock.
unsafe impl Send for MiscDev {}
// SAFETY: As above.
unsafe impl Sync for MiscDev {}

impl MiscDev {
    /// Registers `/dev/<node>` with this minor and mode.
    pub(crate) fn register<T: FileOps>(
        minor: i32,
        name: &'static CStr,
        node: &'static CStr,
        mode: u16,
        fops: &'static FopsTable<T>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // SAFETY: The slot is valid for writing, pinned, and lives until the device is
            // deregistered in `drop`.
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| unsafe {
                slot.write(bindings::miscdevice {
                    minor,
                    name: name.as_char_ptr(),
                    fops: fops.as_ptr(),
                    nodename: node.as_char_ptr(),
                    mode,
                    ..pin_init::zeroed()
                });
                to_result(bindings::misc_register(slot))
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for MiscDev {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The device was registered by `register`.
        unsafe { bindings::misc_deregister(self.inner.get()) };
    }
}

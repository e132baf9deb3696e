// SPDX-License-Identifier: GPL-2.0

//! Misc devices with a fixed minor, and with the path and the mode of their device node. The misc
//! core has a lock of its own.
//!
//! In the kernel crate: `kernel::miscdevice::MiscDeviceOptions` has a name only. It would get
//! minor, node name and mode.
//!
//! C header: `include/linux/miscdevice.h`.

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

/// A registered misc device. Dropping it deregisters the device and removes the device node.
#[pin_data(PinnedDrop)]
pub(crate) struct MiscDev {
    #[pin]
    inner: Opaque<bindings::miscdevice>,
}

// SAFETY: Only the misc core uses the C object, under a lock of its own.
unsafe impl Send for MiscDev {}
// SAFETY: As above.
unsafe impl Sync for MiscDev {}

impl MiscDev {
    /// Creates an initialiser that registers `/dev/<node>` with this minor and mode. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the minor is taken, or any errno of the driver core.
    #[doc(alias = "misc_register")]
    pub(crate) fn register<T: FileOps>(
        minor: i32,
        name: &'static CStr,
        node: &'static CStr,
        mode: u16,
        fops: &'static FopsTable<T>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // SAFETY: `try_ffi_init` passes a slot that is valid for writing. It is pinned, so it
            // stays valid until the device is deregistered in `drop`. Names and table are static.
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
        // SAFETY: `register`, the only constructor, registered the device.
        unsafe { bindings::misc_deregister(self.inner.get()) };
    }
}

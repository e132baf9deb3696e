// SPDX-License-Identifier: GPL-2.0

//! The user's memory, for drivers of emulated devices: pinned pages and copies by IOVA.
//!
//! The backend of the device's session does the work. It is reached through a spinlock of the
//! group's only, because drivers call these functions with locks of their own and of the core held.
//!
//! Corresponds to the end of `drivers/vfio/vfio_main.c`; contract section 4.5.

use core::mem::size_of;

use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{
        AtomicFlag,
        Relaxed, //
    }, //
};

use crate::{
    ffi::{
        device::Device,
        iommu_driver::{
            DmaCopy,
            PinRequest, //
        }, //
    },
    group, //
};

/// Most pages that one call pins or unpins: as many pointers as fit into a page.
const MAX_PAGES: usize = PAGE_SIZE / size_of::<usize>();

/// Whether the device is open, which a driver must see to; warns once.
fn is_open(device: &Device) -> bool {
    static WARNED: AtomicFlag = AtomicFlag::new(false);
    let open = device.peek_open_count() > 0;
    kernel::warn_on!(!open && !WARNED.xchg(true, Relaxed));
    open
}

/// Pins pages of the user and returns how many.
///
/// # Errors
///
/// `EINVAL` for an empty request, a device that is not open, a driver that cannot be told of
/// unmapped IOVAs, or a device without a container; `E2BIG`; `ENOTTY`; the backend's errno.
pub(crate) fn pin_pages(device: &Device, request: &PinRequest) -> Result<i32> {
    if request.has_no_array() || request.count() == 0 || !is_open(device) {
        return Err(EINVAL);
    }
    if !device.driver_has_dma_unmap() {
        return Err(EINVAL);
    }
    let (backend, identity) = group::session_backend(device)?;
    match usize::try_from(request.count()) {
        Ok(count) if count <= MAX_PAGES => {}
        _ => return Err(E2BIG),
    }
    backend.driver()?.pin_pages(&identity, request)
}

/// Unpins `count` pages from IOVA `iova` on.
pub(crate) fn unpin_pages(device: &Device, iova: u64, count: i32) {
    if !is_open(device) || kernel::warn_on!(!device.driver_has_dma_unmap()) {
        return;
    }
    let Ok((backend, _)) = group::session_backend(device) else {
        return;
    };
    let valid = matches!(usize::try_from(count), Ok(count) if count > 0 && count <= MAX_PAGES);
    if kernel::warn_on!(!valid) {
        return;
    }
    if let Ok(driver) = backend.driver() {
        driver.unpin_pages(iova, count);
    }
}

/// Copies between the driver's buffer and the user's memory.
///
/// # Errors
///
/// `EINVAL` for an empty request, a device that is not open or has no container; `ENOTTY`; the
/// backend's errno.
pub(crate) fn rw(device: &Device, copy: &DmaCopy) -> Result {
    if copy.is_empty() || !is_open(device) {
        return Err(EINVAL);
    }
    let (backend, _) = group::session_backend(device)?;
    backend.driver()?.dma_rw(copy)
}

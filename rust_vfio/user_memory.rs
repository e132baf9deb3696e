// SPDX-License-Identifier: GPL-2.0

//! The user's memory, for drivers of emulated devices: pinned pages and copies by IOVA.
//!
//! The container's backend or iommufd does the work. Either is reached without a lock that sleeps,
//! because drivers call these functions with locks of their own and of the core held.
//!
//! Corresponds to the end of `drivers/vfio/vfio_main.c`; contract section 4.5.

use kernel::{
    prelude::*,
    sync::atomic::{
        AtomicFlag,
        Relaxed, //
    }, //
};

#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::group::{
    self,
    ActiveContainer, //
};
#[cfg(CONFIG_IOMMUFD)]
use crate::kernel::iommufd::IommufdAccess;
use crate::{
    core::provider::{
        Provider,
        Stage, //
    },
    views::{
        device::Device,
        user_dma::{
            DmaCopy,
            PinRequest, //
        }, //
    }, //
};

/// Most pages that one call pins or unpins: as many pointers as fit into a page.
#[cfg(CONFIG_VFIO_CONTAINER)]
const MAX_PAGES: usize = kernel::page::PAGE_SIZE / size_of::<usize>();

/// Whether the device is open, which a driver must see to; warns once.
fn is_open(device: &Device) -> bool {
    static WARNED: AtomicFlag = AtomicFlag::new(false);
    let open = device.peek_open_count() > 0;
    kernel::warn_on!(!open && !WARNED.xchg(true, Relaxed));
    open
}

/// What a call of a driver holds.
struct Called<'a>(core::marker::PhantomData<&'a Device>);

impl<'a> Stage for Called<'a> {
    #[cfg(CONFIG_VFIO_CONTAINER)]
    type Container = ActiveContainer;
    #[cfg(CONFIG_IOMMUFD)]
    type Iommufd = &'a IommufdAccess;
}

/// Returns who finds the user's memory for the device.
///
/// # Errors
///
/// `EINVAL` if nobody does.
fn provider(device: &Device) -> Result<Provider<Called<'_>>> {
    // The device has this only while its session is one of iommufd, whatever became of its group.
    #[cfg(CONFIG_IOMMUFD)]
    if let Some(access) = device.peek_iommufd_access() {
        return Ok(Provider::Iommufd(access));
    }
    #[cfg(CONFIG_VFIO_CONTAINER)]
    if let Some(active) = group::active_container(device) {
        return Ok(Provider::Container(active));
    }
    Err(EINVAL)
}

/// Whether a container takes a request for so many pages.
#[cfg(CONFIG_VFIO_CONTAINER)]
fn is_acceptable(count: i32) -> bool {
    matches!(usize::try_from(count), Ok(count) if count <= MAX_PAGES)
}

/// Pins pages of the user and returns how many.
///
/// # Errors
///
/// `EINVAL` for an empty request, a device that is not open, a driver that cannot be told of
/// unmapped IOVAs, or a device without access to memory; `E2BIG`; `ENOTTY`; the errno of the
/// backend or of iommufd.
pub(crate) fn pin_pages(device: &Device, request: &PinRequest) -> Result<i32> {
    if request.has_no_array() || request.count() == 0 || !is_open(device) {
        return Err(EINVAL);
    }
    if !device.driver_has_dma_unmap() {
        return Err(EINVAL);
    }
    match provider(device)? {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        Provider::Container(_) if !is_acceptable(request.count()) => Err(E2BIG),
        #[cfg(CONFIG_VFIO_CONTAINER)]
        Provider::Container(active) => active
            .backend()
            .driver()?
            .pin_pages(active.identity(), request),
        #[cfg(CONFIG_IOMMUFD)]
        Provider::Iommufd(access) => access.pin_pages(request),
    }
}

/// Unpins `count` pages from IOVA `iova` on.
pub(crate) fn unpin_pages(device: &Device, iova: u64, count: i32) {
    if !is_open(device) || kernel::warn_on!(!device.driver_has_dma_unmap()) {
        return;
    }
    match provider(device) {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        Ok(Provider::Container(active)) => {
            if kernel::warn_on!(count == 0 || !is_acceptable(count)) {
                return;
            }
            if let Ok(driver) = active.backend().driver() {
                driver.unpin_pages(iova, count);
            }
        }
        #[cfg(CONFIG_IOMMUFD)]
        Ok(Provider::Iommufd(access)) => access.unpin_pages(iova, count),
        Err(_) => {}
    }
}

/// Copies between the driver's buffer and the user's memory.
///
/// # Errors
///
/// `EINVAL` for an empty request, a device that is not open or has no access to memory; `ENOTTY`;
/// the errno of the backend or of iommufd.
pub(crate) fn rw(device: &Device, copy: &DmaCopy) -> Result {
    if copy.is_empty() || !is_open(device) {
        return Err(EINVAL);
    }
    match provider(device)? {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        Provider::Container(active) => active.backend().driver()?.dma_rw(copy),
        #[cfg(CONFIG_IOMMUFD)]
        Provider::Iommufd(access) => access.rw(copy),
    }
}

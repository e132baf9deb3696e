// SPDX-License-Identifier: GPL-2.0

//! The user's memory, for drivers of emulated devices: pinning of pages and copies, by IOVA.
//!
//! The backend of the container or the iommufd does the work. Finding it takes no lock and counts
//! nothing: drivers call these functions while they hold locks of their own, from `open_device`,
//! under the lock of the device's set, and often from several threads at once. The device stays
//! open during the call, and so does what is found.
//!
//! Corresponds to `vfio_pin_pages()`, `vfio_unpin_pages()` and `vfio_dma_rw()` in
//! `drivers/vfio/vfio_main.c`; contract 4.5.

use kernel::prelude::*;

#[cfg(CONFIG_IOMMUFD)]
use crate::kernel::iommufd::IommufdAccess;
#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::{
    container::backend::Backend,
    group,
    kernel::iommu_group::IommuGroup, //
};
use crate::{
    core::provider::{
        Provider,
        Stage, //
    },
    kernel::{
        returned::Failure,
        warn::warn_on_once, //
    },
    trace,
    views::{
        device::Device,
        user_dma::{
            DmaCopy,
            PinRequest, //
        }, //
    }, //
};

/// The most pages that one call pins or unpins: as many pointers as fit into a page.
#[cfg(CONFIG_VFIO_CONTAINER)]
const MAX_PAGES: usize = kernel::page::PAGE_SIZE / size_of::<usize>();

/// Returns whether the device is not open. Drivers must not call then, so each function here warns
/// by itself.
#[doc(alias = "vfio_assert_device_open")]
fn is_closed(device: &Device) -> bool {
    device.peek_open_count() == 0
}

/// The stage in which a provider is held for one call of a driver.
struct Called<'a>(core::marker::PhantomData<&'a Device>);

impl<'a> Stage for Called<'a> {
    #[cfg(CONFIG_VFIO_CONTAINER)]
    type Container = &'a Backend;
    #[cfg(CONFIG_IOMMUFD)]
    type Iommufd = &'a IommufdAccess;
}

/// Returns the provider through which the device reaches the user's memory. Takes no lock.
///
/// # Errors
///
/// `EINVAL` if it is open neither through a container nor as an emulated device of an iommufd.
fn provider(device: &Device) -> Result<Provider<Called<'_>>> {
    // The device has one of these two only while its session uses an iommufd. Its group may be in a
    // container by now, where another device is open, so they come first.
    #[cfg(CONFIG_IOMMUFD)]
    {
        if let Some(access) = device.peek_iommufd_access() {
            return Ok(Provider::Iommufd(access));
        }
        if device.peek_iommufd_bound() {
            return Err(EINVAL);
        }
    }
    #[cfg(CONFIG_VFIO_CONTAINER)]
    if let Some(backend) = group::active_backend(device) {
        return Ok(Provider::Container(backend));
    }
    Err(EINVAL)
}

/// Returns whether a request for `count` pages may be passed to a container.
#[cfg(CONFIG_VFIO_CONTAINER)]
fn is_acceptable(count: i32) -> bool {
    matches!(usize::try_from(count), Ok(count) if count <= MAX_PAGES)
}

/// Pins pages of the user's memory and returns how many.
///
/// May be called under locks of the driver that its `dma_unmap` does not take. Sleeps.
/// Corresponds to `vfio_pin_pages()`.
///
/// # Errors
///
/// Nothing is pinned then.
///
/// - `EINVAL` if there is no array or no page to pin.
/// - `EINVAL` (and a warning) if the device is not open.
/// - `EINVAL` if the driver has no `dma_unmap`, so it could not be told of unmapped IOVAs.
/// - `EINVAL` if the device is open neither through a container nor as an emulated device of an
///   iommufd.
/// - In a container: `E2BIG` if the number of pages is negative or their pointers exceed a page.
/// - In a container: `ENOTTY` if its backend cannot pin pages.
/// - Any failure of the backend's `pin_pages` (type1: contract 6.13) or of iommufd.
#[doc(alias = "vfio_pin_pages")]
#[doc(alias = "vfio_device_container_pin_pages")]
pub(crate) fn pin_pages(device: &Device, request: &PinRequest) -> Result<isize, Failure> {
    if request.has_no_array() || request.count() == 0 || kernel::warn_on!(is_closed(device)) {
        return Err(EINVAL.into());
    }
    if !device.driver_has_dma_unmap() {
        return Err(EINVAL.into());
    }
    let result = pin(device, request);
    trace::pin(
        device.bus_device(),
        request.iova(),
        request.count(),
        &result,
    );
    result
}

/// Passes the request to the provider.
///
/// # Errors
///
/// Those of [`pin_pages`] from the fourth on.
#[inline(always)]
fn pin(device: &Device, request: &PinRequest) -> Result<isize, Failure> {
    match provider(device)? {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        Provider::Container(_) if !is_acceptable(request.count()) => Err(E2BIG.into()),
        #[cfg(CONFIG_VFIO_CONTAINER)]
        Provider::Container(backend) => {
            let group = IommuGroup::of(device.bus_device()).ok_or(EINVAL)?;
            backend.driver()?.pin_pages(&group, request)
        }
        #[cfg(CONFIG_IOMMUFD)]
        Provider::Iommufd(access) => access.pin_pages(request),
    }
}

/// Unpins `count` pages from IOVA `iova` on; undoes [`pin_pages`].
///
/// Warns and does nothing if the device is not open, its driver has no `dma_unmap`, or, in a
/// container, `count` is less than 1 or too large. May be called from `dma_unmap`. Sleeps.
#[doc(alias = "vfio_unpin_pages")]
#[doc(alias = "vfio_device_container_unpin_pages")]
pub(crate) fn unpin_pages(device: &Device, iova: u64, count: i32) {
    if kernel::warn_on!(is_closed(device)) || kernel::warn_on!(!device.driver_has_dma_unmap()) {
        return;
    }
    trace::unpin(device.bus_device(), iova, count);
    match provider(device) {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        Ok(Provider::Container(backend)) => {
            if kernel::warn_on!(count == 0 || !is_acceptable(count)) {
                return;
            }
            if let Ok(driver) = backend.driver() {
                driver.unpin_pages(iova, count);
            }
        }
        #[cfg(CONFIG_IOMMUFD)]
        Ok(Provider::Iommufd(access)) => access.unpin_pages(iova, count),
        Err(_) => {}
    }
}

/// Copies between a buffer of the driver and the user's memory. Sleeps. Corresponds to
/// `vfio_dma_rw()`.
///
/// # Errors
///
/// What lies before an address that fails may have been copied.
///
/// - `EINVAL` if there is no buffer or no byte to copy.
/// - `EINVAL` (and a warning the first time) if the device is not open.
/// - `EINVAL` if the device is open neither through a container nor as an emulated device of an
///   iommufd.
/// - In a container: `ENOTTY` if its backend cannot copy.
/// - Any failure of the backend's `dma_rw` or of iommufd.
#[doc(alias = "vfio_dma_rw")]
#[doc(alias = "vfio_device_container_dma_rw")]
pub(crate) fn rw(device: &Device, copy: &DmaCopy) -> Result<(), Failure> {
    if copy.is_empty() || warn_on_once!(is_closed(device)) {
        return Err(EINVAL.into());
    }
    match provider(device)? {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        Provider::Container(backend) => backend.driver()?.dma_rw(copy),
        #[cfg(CONFIG_IOMMUFD)]
        Provider::Iommufd(access) => access.rw(copy),
    }
}

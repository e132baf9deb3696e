// SPDX-License-Identifier: GPL-2.0

//! The requests of drivers of emulated devices for user memory (pin, unpin, copy), and how they are
//! passed to iommufd.
//!
//! There is no lock here: a request is an argument, and iommufd has locks of its own. Corresponds
//! to the iommufd branches of `vfio_pin_pages()`, `vfio_unpin_pages()` and `vfio_dma_rw()` in
//! `drivers/vfio/vfio_main.c`; contract section 4.5.

#[cfg(CONFIG_IOMMUFD)]
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::bindings;
#[cfg(CONFIG_IOMMUFD)]
use crate::{
    kernel::{
        iommufd::IommufdAccess,
        returned::Failure, //
    },
    views::device::Device, //
};

/// A request to pin pages.
///
/// # Invariants
///
/// `pages` is null or has room for `count` pointers.
pub(crate) struct PinRequest {
    pub(super) iova: u64,
    pub(super) count: i32,
    pub(super) prot: i32,
    pub(super) pages: *mut *mut bindings::page,
}

impl PinRequest {
    /// Creates a request for `count` pages from IOVA `iova` on, to be accessed as `prot` says
    /// (flags of the IOMMU API). The pages go into the array `pages`.
    ///
    /// # Safety
    ///
    /// `pages` must be null or have room for `count` pointers.
    pub(crate) unsafe fn new(
        iova: u64,
        count: i32,
        prot: i32,
        pages: *mut *mut bindings::page,
    ) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            iova,
            count,
            prot,
            pages,
        }
    }

    /// Returns the number of pages as the driver passed it, which may be negative.
    pub(crate) fn count(&self) -> i32 {
        self.count
    }

    /// Returns the first IOVA.
    pub(crate) fn iova(&self) -> u64 {
        self.iova
    }

    /// Returns whether the driver passed no array for the pages.
    pub(crate) fn has_no_array(&self) -> bool {
        self.pages.is_null()
    }
}

/// A request to copy between a buffer of the driver and user memory.
///
/// # Invariants
///
/// `data` is null or valid for `len` bytes, for writing unless `write`.
pub(crate) struct DmaCopy {
    pub(super) iova: u64,
    pub(super) data: *mut kernel::ffi::c_void,
    pub(super) len: usize,
    pub(super) write: bool,
}

impl DmaCopy {
    /// Creates a request for the `len` bytes from IOVA `iova` on: to user memory if `write`, from
    /// it otherwise.
    ///
    /// # Safety
    ///
    /// `data` must be null or valid for `len` bytes, for writing unless `write`.
    pub(crate) unsafe fn new(
        iova: u64,
        data: *mut kernel::ffi::c_void,
        len: usize,
        write: bool,
    ) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            iova,
            data,
            len,
            write,
        }
    }

    /// Returns whether there is no buffer or the length is 0.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_null() || self.len == 0
    }
}

#[cfg(CONFIG_IOMMUFD)]
impl Device {
    /// Returns the access of an emulated device, or none if it is not bound. The lock of the set
    /// need not be held.
    ///
    /// Called for drivers that access user memory. They do so only while their device is open, and
    /// the member does not change meanwhile.
    pub(crate) fn peek_iommufd_access(&self) -> Option<&IommufdAccess> {
        // SAFETY: The object is valid, being a reference, and the member is an aligned pointer. The
        // read is volatile because another task may write it. An access that is found stays valid
        // while the device is open, and so during the driver's call.
        unsafe {
            let access = (&raw const (*self.as_raw()).iommufd_access).read_volatile();
            access.cast::<IommufdAccess>().as_ref()
        }
    }

    /// Returns whether a device with DMA of its own is bound to an iommufd. The lock of the set
    /// need not be held: called for drivers of open devices, and the answer does not change
    /// meanwhile.
    pub(crate) fn peek_iommufd_bound(&self) -> bool {
        // SAFETY: The object is valid, being a reference, and the member is an aligned pointer. The
        // read is volatile because another task may write it.
        let bound = unsafe { (&raw const (*self.as_raw()).iommufd_device).read_volatile() };
        !bound.is_null()
    }
}

/// Returns the IOVA of the first byte and the length in bytes of `count` pages, of which the first
/// one contains `iova`.
///
/// # Errors
///
/// - `EINVAL` if `iova` is larger than `usize::MAX`.
/// - `EOVERFLOW` if `count` is negative, or the length is larger than `usize::MAX`.
#[cfg(CONFIG_IOMMUFD)]
fn pages(iova: u64, count: i32) -> Result<(usize, usize)> {
    let iova = usize::try_from(iova).map_err(|_| EINVAL)?;
    let count = usize::try_from(count).map_err(|_| EOVERFLOW)?;
    let len = count.checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;
    Ok((iova & !(PAGE_SIZE - 1), len))
}

#[cfg(CONFIG_IOMMUFD)]
impl IommufdAccess {
    /// Pins pages and returns their number. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the IOVA is larger than `usize::MAX`.
    /// - `EOVERFLOW` if the number of pages is negative, or the range wraps.
    /// - `ENOENT` if no IOAS is attached, or a page of the range is not mapped.
    /// - `EINVAL` if memory of the range is being unmapped or is not aligned to pages.
    /// - `EPERM` if the mapping does not permit the access.
    /// - Any other errno with which iommufd fails to pin memory.
    #[doc(alias = "iommufd_access_pin_pages")]
    pub(crate) fn pin_pages(&self, request: &PinRequest) -> Result<isize, Failure> {
        let (iova, len) = pages(request.iova, request.count)?;
        // Without the flag, pages may be read-only.
        const WRITE: i32 = bindings::IOMMU_WRITE as i32;
        let flags = match request.prot & WRITE {
            0 => 0,
            _ => bindings::IOMMUFD_ACCESS_RW_WRITE,
        };
        // SAFETY: The access is valid, being a reference. By the type invariants of `PinRequest`
        // the array has room for each page of the range, and the caller has checked that it is not
        // null.
        Failure::check(unsafe {
            bindings::iommufd_access_pin_pages(self.as_raw(), iova, len, request.pages, flags)
        })?;
        // CAST: An `isize` has at least the bits of an `i32` in a kernel.
        Ok(request.count as isize)
    }

    /// Unpins `count` pages, of which the first one contains IOVA `iova`; undoes
    /// [`IommufdAccess::pin_pages`]. Warns if the range is not valid. Sleeps.
    #[doc(alias = "iommufd_access_unpin_pages")]
    pub(crate) fn unpin_pages(&self, iova: u64, count: i32) {
        match pages(iova, count) {
            // SAFETY: The access is valid, being a reference. iommufd checks the range, and warns
            // if its pages are not pinned.
            Ok((iova, len)) => unsafe {
                bindings::iommufd_access_unpin_pages(self.as_raw(), iova, len)
            },
            Err(_) => {
                kernel::warn_on!(true);
            }
        }
    }

    /// Copies between kernel memory and user memory. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the IOVA is larger than `usize::MAX`.
    /// - `EOVERFLOW` if the range wraps.
    /// - `ENOENT` if no IOAS is attached, or a byte of the range is not mapped.
    /// - `EINVAL` if memory of the range is being unmapped.
    /// - `EPERM` if the mapping does not permit the access.
    /// - `EFAULT`, or any other errno with which iommufd fails to access memory.
    #[doc(alias = "iommufd_access_rw")]
    pub(crate) fn rw(&self, copy: &DmaCopy) -> Result<(), Failure> {
        let iova = usize::try_from(copy.iova).map_err(|_| EINVAL)?;
        let mut flags = 0;
        if copy.write {
            flags |= bindings::IOMMUFD_ACCESS_RW_WRITE;
        }
        // SAFETY: The calling task is valid, and nobody else changes its `mm` while it runs.
        if unsafe { (*kernel::task::Task::current_raw()).mm.is_null() } {
            // A kernel thread has no address space; iommufd makes it use that of the user.
            flags |= bindings::IOMMUFD_ACCESS_RW_KTHREAD;
        }
        // SAFETY: The access is valid, being a reference. By the type invariants of `DmaCopy` the
        // buffer is valid for `len` bytes, and the caller has checked that it is not null.
        Failure::check(unsafe {
            bindings::iommufd_access_rw(self.as_raw(), iova, copy.data, copy.len, flags)
        })
    }
}

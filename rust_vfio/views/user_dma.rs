// SPDX-License-Identifier: GPL-2.0

//! What drivers of emulated devices ask of the user's memory, and how iommufd answers.

#[cfg(CONFIG_IOMMUFD)]
use kernel::{
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::bindings;
#[cfg(CONFIG_IOMMUFD)]
use crate::{
    kernel::iommufd::IommufdAccess,
    views::device::Device, //
};

/// What a driver asks to pin.
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
    /// Pages from IOVA `iova` on, to be accessed as `prot` says.
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

    /// How many pages, as the driver said it: perhaps a negative number.
    pub(crate) fn count(&self) -> i32 {
        self.count
    }

    /// Whether there is nowhere to put the pages.
    pub(crate) fn has_no_array(&self) -> bool {
        self.pages.is_null()
    }
}

/// What a driver asks to copy from or to the user's memory.
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
    /// `len` bytes at IOVA `iova`: to the user if `write`, else from there.
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

    /// Whether there is nothing to copy.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_null() || self.len == 0
    }
}

#[cfg(CONFIG_IOMMUFD)]
impl Device {
    /// What the device is bound with, if it is emulated and bound; without the set's lock.
    ///
    /// For drivers that use the memory of the user: they do so while their device is open, and
    /// the member does not change meanwhile.
    pub(crate) fn peek_iommufd_access(&self) -> Option<&IommufdAccess> {
        // SAFETY: An aligned pointer; the volatile read keeps the compiler from assuming that
        // nobody else writes it. A value that is not null stays valid while the device is open.
        unsafe {
            let access = (&raw const (*self.as_raw()).iommufd_access).read_volatile();
            access.cast::<IommufdAccess>().as_ref()
        }
    }
}

/// iommufd wants whole pages: their first byte, and how many bytes.
#[cfg(CONFIG_IOMMUFD)]
fn pages(iova: u64, count: i32) -> Result<(usize, usize)> {
    let iova = usize::try_from(iova).map_err(|_| EINVAL)?;
    let count = usize::try_from(count).map_err(|_| EOVERFLOW)?;
    let len = count.checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;
    Ok((iova & !(PAGE_SIZE - 1), len))
}

#[cfg(CONFIG_IOMMUFD)]
impl IommufdAccess {
    /// Pins pages and returns how many.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an address that is none, `EOVERFLOW` for a range that wraps, iommufd's errno.
    pub(crate) fn pin_pages(&self, request: &PinRequest) -> Result<i32> {
        let (iova, len) = pages(request.iova, request.count)?;
        // Pages that the device only reads may be read-only.
        const WRITE: i32 = bindings::IOMMU_WRITE as i32;
        let flags = match request.prot & WRITE {
            0 => 0,
            _ => bindings::IOMMUFD_ACCESS_RW_WRITE,
        };
        // SAFETY: The access is valid, and the array has a place for each page of the range.
        to_result(unsafe {
            bindings::iommufd_access_pin_pages(self.as_raw(), iova, len, request.pages, flags)
        })?;
        Ok(request.count)
    }

    /// The opposite of [`IommufdAccess::pin_pages`].
    pub(crate) fn unpin_pages(&self, iova: u64, count: i32) {
        match pages(iova, count) {
            // SAFETY: The access is valid; iommufd warns of pages that are not pinned.
            Ok((iova, len)) => unsafe {
                bindings::iommufd_access_unpin_pages(self.as_raw(), iova, len)
            },
            Err(_) => {
                kernel::warn_on!(true);
            }
        }
    }

    /// Copies between kernel memory and the user's memory at an IOVA.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an address that is none, iommufd's errno.
    pub(crate) fn rw(&self, copy: &DmaCopy) -> Result {
        let iova = usize::try_from(copy.iova).map_err(|_| EINVAL)?;
        let mut flags = 0;
        if copy.write {
            flags |= bindings::IOMMUFD_ACCESS_RW_WRITE;
        }
        // SAFETY: The calling task is valid, and `mm` is its own business.
        if unsafe { (*kernel::task::Task::current_raw()).mm.is_null() } {
            // A kernel thread has to borrow the memory of the user.
            flags |= bindings::IOMMUFD_ACCESS_RW_KTHREAD;
        }
        // SAFETY: The access is valid, and the buffer as long as the request says.
        to_result(unsafe {
            bindings::iommufd_access_rw(self.as_raw(), iova, copy.data, copy.len, flags)
        })
    }
}

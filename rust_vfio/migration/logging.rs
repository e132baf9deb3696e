// SPDX-License-Identifier: GPL-2.0

//! Logging of DMA by the device itself: which pages it has written to.
//!
//! User space names ranges, the core checks them and hands them to the driver as a C interval
//! tree, which lives for the call only. Reports go through a bitmap in user memory.
//!
//! Corresponds to the logging functions and `vfio_combine_iova_ranges()` of
//! `drivers/vfio/vfio_main.c`; contract sections 5.7 to 5.9. Deviation: empty ranges, and page
//! sizes that are not a power of two, are `EINVAL`.

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
    core::feature_call::FeatureCall,
    kernel::{
        interval_tree::{
            IntervalTree,
            OwnedTree, //
        },
        iova_bitmap::IovaBitmap,
        uaccess::UserAddr, //
    },
    logic::{
        combine::{
            self,
            Ranges, //
        },
        features::{
            Operation,
            SupportedOps, //
        },
        logging::{
            self,
            Error as LoggingError,
            PageSize, //
        }, //
    },
    uapi::feature::{
        LoggingControl,
        LoggingRange,
        LoggingReport, //
    },
    views::device::Device, //
};

/// As many ranges as fit into a page.
const MAX_RANGES: u32 = (PAGE_SIZE / size_of::<LoggingRange>()) as u32;

impl From<LoggingError> for Error {
    fn from(error: LoggingError) -> Self {
        match error {
            LoggingError::Invalid => EINVAL,
            LoggingError::TooMany => E2BIG,
            LoggingError::Overflow => EOVERFLOW,
        }
    }
}

/// VFIO_DEVICE_FEATURE_DMA_LOGGING_START. What the driver made of the page size goes back to the
/// caller.
///
/// # Errors
///
/// `ENOTTY` if the device cannot log, `EINVAL`, `E2BIG`, `EOVERFLOW`, `EFAULT`, `ENOMEM`, what the
/// driver returned.
pub(crate) fn start(device: &Device, call: &FeatureCall) -> Result {
    if !device.can_log_dma() {
        return Err(ENOTTY);
    }
    if call.check(SupportedOps::Set, size_of::<LoggingControl>())? == Operation::Nothing {
        return Ok(());
    }
    let mut control = call.data().read::<LoggingControl>()?;
    let count = control.num_ranges;
    let page_size = logging::check_start(count, MAX_RANGES, control.page_size)?;
    let mut ranges = read_ranges(user_addr(control.ranges)?, count, page_size)?;

    device.start_log(&mut ranges, count, &mut control.page_size)?;
    call.data().write(&control).inspect_err(|_| {
        // The caller does not know that it started.
        let _ = device.stop_log();
    })
}

/// Reads and checks `count` ranges.
fn read_ranges(addr: UserAddr, count: u32, page_size: PageSize) -> Result<OwnedTree> {
    let count = usize::try_from(count)?;
    let mut ranges = OwnedTree::with_capacity(count)?;
    for index in 0..count {
        let offset = index.checked_mul(size_of::<LoggingRange>()).ok_or(EINVAL)?;
        let range = addr.offset(offset).read::<LoggingRange>()?;
        let range = page_size.check_range(range.iova, range.length)?;
        ranges.insert(range.first, range.last)?;
    }
    Ok(ranges)
}

/// VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP.
///
/// # Errors
///
/// `ENOTTY` if the device cannot log, `EINVAL`, what the driver returned.
pub(crate) fn stop(device: &Device, call: &FeatureCall) -> Result {
    if !device.can_log_dma() {
        return Err(ENOTTY);
    }
    match call.check(SupportedOps::Set, 0)? {
        Operation::Nothing => Ok(()),
        Operation::Get | Operation::Set => device.stop_log(),
    }
}

/// VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: sets bits of the caller's bitmap; none is cleared.
///
/// # Errors
///
/// `ENOTTY` if the device cannot log, `EINVAL`, `EOVERFLOW`, `EFAULT`, `ENOMEM`, `EOPNOTSUPP` if
/// the kernel lacks the bitmaps, what the driver returned.
pub(crate) fn report(device: &Device, call: &FeatureCall) -> Result {
    if !device.can_log_dma() {
        return Err(ENOTTY);
    }
    if call.check(SupportedOps::Get, size_of::<LoggingReport>())? == Operation::Nothing {
        return Ok(());
    }
    let report = call.data().read::<LoggingReport>()?;
    let range = logging::check_report(report.iova, report.length, report.page_size)?;
    let page_size = usize::try_from(report.page_size)?;
    let bits = user_addr(report.bitmap)?;
    let mut bitmap = IovaBitmap::new(range.first, range.length(), page_size, bits)?;
    bitmap.for_each(|bitmap, iova, length| device.report_log(iova, length, bitmap))
}

/// A user address that came as an integer of 64 bits.
fn user_addr(raw: u64) -> Result<UserAddr> {
    Ok(UserAddr::new(usize::try_from(raw).map_err(|_| EFAULT)?))
}

impl Ranges for IntervalTree {
    /// The first address.
    type Id = usize;

    fn first(&self) -> Option<usize> {
        self.first()
    }

    fn next(&self, id: usize) -> Option<usize> {
        self.next(id)
    }

    fn bounds(&self, id: usize) -> (usize, usize) {
        (id, self.last_of(id).unwrap_or(id))
    }

    fn merge(&mut self, left: usize, right: usize) {
        self.merge(left, right);
    }
}

/// Merges ranges, closest ones first, until only `wanted` of `count` are left. For drivers whose
/// devices can log only so many.
///
/// If the tree has fewer ranges than the driver said, the kernel warns once.
#[doc(alias = "vfio_combine_iova_ranges")]
pub(crate) fn combine_ranges(ranges: &mut IntervalTree, count: u32, wanted: u32) {
    if combine::combine(ranges, count, wanted).is_err() {
        static WARNED: AtomicFlag = AtomicFlag::new(false);
        kernel::warn_on!(!WARNED.xchg(true, Relaxed));
    }
}

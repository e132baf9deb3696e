// SPDX-License-Identifier: GPL-2.0

//! Logging of DMA by the device itself: to which pages it has written.
//!
//! User space names ranges of IOVAs. The core checks them and passes them to the driver as a C
//! interval tree, which lives for the call only. Reports are written to a bitmap of user space.
//! The core takes no lock; the driver serialises its callbacks.
//!
//! Corresponds to `vfio_ioctl_device_feature_logging_start()`, `..._stop()`, `..._report()` and
//! `vfio_combine_iova_ranges()` in `drivers/vfio/vfio_main.c`; contract 5.7 to 5.9.

use core::mem::size_of;

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::{
    core::feature_call::FeatureCall,
    kernel::{
        interval_tree::{
            IntervalTree,
            OwnedTree, //
        },
        iova_bitmap::IovaBitmap,
        returned::Failure,
        uaccess::UserAddr,
        warn::warn_on_once, //
    },
    logic::{
        combine::{
            self,
            NothingLeft,
            Ranges, //
        },
        features::{
            Operation,
            SupportedOps, //
        },
        logging::{
            self,
            Error as LoggingError,
            StartCheck, //
        }, //
    },
    uapi::feature::{
        LoggingControl,
        LoggingRange,
        LoggingReport, //
    },
    views::device::Device, //
};

/// The most ranges that one request can name: as many as fit into a page.
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

/// Handles VFIO_DEVICE_FEATURE_DMA_LOGGING_START: starts logging, and tells user space the page
/// size (in bytes) that the driver uses.
///
/// Deviation: empty ranges, and page sizes that are not a power of two, are `EINVAL`, unless
/// something else is wrong. C lets them through to drivers.
///
/// # Errors
///
/// - `ENOTTY` if the device cannot log.
/// - `EINVAL` as [`FeatureCall::check`] says; the feature can only be written.
/// - `EFAULT` if the request cannot be read.
/// - `EINVAL` if it names no range.
/// - `E2BIG` if it names more ranges than fit into a page.
/// - `ENOMEM`.
/// - For each range: `EFAULT` if it cannot be read; `EINVAL` if the IOVA or the length has a bit of
///   the page size less 1; `EOVERFLOW` if its end exceeds the address space; `EINVAL` if it
///   overlaps an earlier one.
/// - `EINVAL` if the page size is not a power of two, or a range is empty.
/// - Any failure of the driver's `log_start`.
/// - `EFAULT` if the answer cannot be written. Logging is stopped then.
#[doc(alias = "vfio_ioctl_device_feature_logging_start")]
pub(crate) fn start(device: &Device, call: &FeatureCall) -> Result<(), Failure> {
    if !device.can_log_dma() {
        return Err(ENOTTY.into());
    }
    if call.check(SupportedOps::Set, size_of::<LoggingControl>())? == Operation::Nothing {
        return Ok(());
    }
    let mut control = call.data().read::<LoggingControl>()?;
    let count = control.num_ranges;
    let check = StartCheck::new(count, MAX_RANGES, control.page_size)?;
    let mut ranges = read_ranges(user_addr(control.ranges)?, count, check)?;

    device.start_log(&mut ranges, count, &mut control.page_size)?;
    call.data().write(&control).inspect_err(|_| {
        // User space was not told that logging has started.
        let _ = device.stop_log();
    })?;
    Ok(())
}

/// Reads the `count` ranges at the user address `addr`, and ends the checks of the request.
fn read_ranges(addr: UserAddr, count: u32, mut check: StartCheck) -> Result<OwnedTree> {
    let count = usize::try_from(count)?;
    let mut ranges = OwnedTree::with_capacity(count)?;
    for index in 0..count {
        let offset = index.checked_mul(size_of::<LoggingRange>()).ok_or(EINVAL)?;
        let range = addr.offset(offset).read::<LoggingRange>()?;
        let range = check.range(range.iova, range.length)?;
        // What overlaps an empty range is refused here, as in C, and the rest below.
        ranges.insert(range.first, range.last())?;
    }
    check.finish()?;
    Ok(ranges)
}

/// Handles VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP: stops logging.
///
/// # Errors
///
/// - `ENOTTY` if the device cannot log.
/// - `EINVAL` as [`FeatureCall::check`] says; the feature can only be written.
/// - Any failure of the driver's `log_stop`.
#[doc(alias = "vfio_ioctl_device_feature_logging_stop")]
pub(crate) fn stop(device: &Device, call: &FeatureCall) -> Result<(), Failure> {
    if !device.can_log_dma() {
        return Err(ENOTTY.into());
    }
    match call.check(SupportedOps::Set, 0)? {
        Operation::Nothing => Ok(()),
        Operation::Get | Operation::Set => device.stop_log(),
    }
}

/// Handles VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: sets the bits of written pages in the bitmap of
/// user space, and clears none.
///
/// Deviation: an empty range is `EINVAL`. C passes it on.
///
/// # Errors
///
/// - `ENOTTY` if the device cannot log.
/// - `EINVAL` as [`FeatureCall::check`] says; the feature can only be read.
/// - `EFAULT` if the request cannot be read.
/// - `EINVAL` if the page size is below 4096 bytes or not a power of two.
/// - `EOVERFLOW` if the end of the range exceeds the address space.
/// - `ENOMEM`.
/// - `EOPNOTSUPP` if the kernel is built without `CONFIG_IOMMUFD_DRIVER`.
/// - `EINVAL` if the range is empty.
/// - Any failure of the driver's `log_read_and_clear`.
#[doc(alias = "vfio_ioctl_device_feature_logging_report")]
pub(crate) fn report(device: &Device, call: &FeatureCall) -> Result<(), Failure> {
    if !device.can_log_dma() {
        return Err(ENOTTY.into());
    }
    if call.check(SupportedOps::Get, size_of::<LoggingReport>())? == Operation::Nothing {
        return Ok(());
    }
    let report = call.data().read::<LoggingReport>()?;
    let range = logging::check_report(report.iova, report.length, report.page_size)?;
    let page_size = usize::try_from(report.page_size)?;
    let bits = user_addr(report.bitmap)?;
    let mut bitmap = IovaBitmap::new(range.first, range.length, page_size, bits)?;
    bitmap.for_each(|bitmap, iova, length| match length {
        0 => Err(EINVAL.into()),
        _ => device.report_log(iova, length, bitmap),
    })
}

/// Converts a user address that came as an integer of 64 bits.
///
/// # Errors
///
/// `EFAULT` if addresses are shorter and this one does not fit.
fn user_addr(raw: u64) -> Result<UserAddr> {
    Ok(UserAddr::new(usize::try_from(raw).map_err(|_| EFAULT)?))
}

impl Ranges for IntervalTree {
    /// The first IOVA of the range.
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

/// Merges ranges of IOVAs, those with the smallest gap between them first, until only `wanted` of
/// `count` are left. For drivers whose devices can log a limited number of ranges.
///
/// Warns once if one range is wanted and there is none, and once if the tree has fewer ranges than
/// `count`. Does not sleep; the caller owns the tree.
#[doc(alias = "vfio_combine_iova_ranges")]
pub(crate) fn combine_ranges(ranges: &mut IntervalTree, count: u32, wanted: u32) {
    let result = combine::combine(ranges, count, wanted);
    warn_on_once!(result == Err(NothingLeft::Empty));
    warn_on_once!(result == Err(NothingLeft::TooFew));
}

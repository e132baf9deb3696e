// SPDX-License-Identifier: GPL-2.0

//! The part of VFIO_DEVICE_SET_IRQS that is the same for every driver: the checks.
//!
//! There is nothing to lock.
//!
//! Corresponds to `vfio_set_irqs_validate_and_prepare()` in `drivers/vfio/vfio_main.c`; contract
//! 4.6.

use kernel::prelude::*;

use crate::logic::irqs::IrqHeader;

/// Checks a request for a device that has `kinds` kinds of interrupts, and `vectors` vectors of
/// the kind that the request names.
///
/// Sets `data_len` to the number of bytes of data behind the header. A driver that never takes data
/// may pass `None`.
///
/// # Errors
///
/// - `EINVAL` if `argsz` is less than the header, the kind does not exist, `start` plus `count` is
///   not below `u32::MAX`, or an unknown flag is set. `data_len` is unchanged then.
/// - `EINVAL` if the first vector does not exist, nor all of the range. `data_len` is 0 from here
///   on.
/// - `EINVAL` unless the flags name exactly one layout of the data, or if `argsz` is too small
///   for the data.
/// - `EINVAL` if there may be data and `data_len` is `None`.
#[doc(alias = "vfio_set_irqs_validate_and_prepare")]
pub(crate) fn validate_and_prepare(
    header: IrqHeader,
    vectors: i32,
    kinds: i32,
    mut data_len: Option<&mut usize>,
) -> Result {
    // Drivers pass signed numbers. A negative one counts as 0.
    let vectors = u32::try_from(vectors).unwrap_or(0);
    let kinds = u32::try_from(kinds).unwrap_or(0);

    let checked = header.check(kinds).map_err(|_| EINVAL)?;
    if let Some(len) = data_len.as_deref_mut() {
        *len = 0;
    }
    if let Some(len) = checked.data_len(vectors).map_err(|_| EINVAL)? {
        *data_len.ok_or(EINVAL)? = usize::try_from(len)?;
    }
    Ok(())
}

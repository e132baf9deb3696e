// SPDX-License-Identifier: GPL-2.0

//! VFIO_DEVICE_SET_IRQS, as far as it is the same for every driver: checking the request.
//!
//! Corresponds to a function of `drivers/vfio/vfio_main.c`; contract section 4.6.

use kernel::prelude::*;

use crate::logic::irqs::IrqHeader;

/// Checks a request against a device that has `kinds` kinds of interrupts, and `vectors` vectors
/// of the kind in question.
///
/// `data_len` is where the number of bytes behind the header goes; a driver that never wants data
/// may do without.
///
/// # Errors
///
/// `EINVAL`. `data_len` is 0 then, or unchanged if the header is not even sound in itself.
#[doc(alias = "vfio_set_irqs_validate_and_prepare")]
pub(crate) fn validate_and_prepare(
    header: IrqHeader,
    vectors: i32,
    kinds: i32,
    mut data_len: Option<&mut usize>,
) -> Result {
    // A driver that has less than nothing has nothing.
    let vectors = u32::try_from(vectors).unwrap_or(0);
    let kinds = u32::try_from(kinds).unwrap_or(0);

    let checked = header.check(kinds).map_err(|_| EINVAL)?;
    if let Some(len) = data_len.as_deref_mut() {
        *len = 0;
    }
    let len = checked.data_len(vectors).map_err(|_| EINVAL)?;
    if checked.has_data() {
        *data_len.ok_or(EINVAL)? = usize::try_from(len)?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! The rule for `argsz`, the first field of every structure of the user ABI.
//!
//! It says how many bytes user space has reserved for the structure and what follows it. So
//! structures can grow: the fields of the oldest layout are mandatory, everything behind them is
//! optional. There is no upper limit.

/// `argsz` is less than the mandatory fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

/// Returns the number of bytes behind the first `mandatory` ones.
///
/// # Errors
///
/// [`TooShort`] if `argsz` is less than `mandatory`.
pub fn behind(argsz: u32, mandatory: u32) -> Result<u32, TooShort> {
    argsz.checked_sub(mandatory).ok_or(TooShort)
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(CONFIG_VFIO_RUST_KUNIT_TEST, kernel::macros::kunit_tests(vfio_argsz))]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_mandatory_part() {
        assert_eq!(behind(0, 8), Err(TooShort));
        assert_eq!(behind(7, 8), Err(TooShort));
        assert_eq!(behind(8, 8), Ok(0));
        assert_eq!(behind(20, 8), Ok(12));
        assert_eq!(behind(u32::MAX, 8), Ok(u32::MAX - 8));
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The rule for `argsz`, the first field of every structure of the user ABI.
//!
//! It says how many bytes the caller set aside, which lets structures grow: a kernel wants at least
//! the fields that the oldest layout had and treats everything behind them as optional. There is no
//! upper limit.

/// The caller set aside less than the mandatory fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

/// How many bytes the caller has behind the first `mandatory` ones.
///
/// # Errors
///
/// [`TooShort`] if there are not even those.
pub fn behind(argsz: u32, mandatory: u32) -> Result<u32, TooShort> {
    argsz.checked_sub(mandatory).ok_or(TooShort)
}

#[cfg(test)]
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

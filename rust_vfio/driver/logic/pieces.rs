// SPDX-License-Identifier: GPL-2.0

//! Bytes that lie in pages, page by page.

use core::ops::Range;

/// The bytes of a range that are in one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number of the page.
    pub page: usize,
    /// The offset of the first of them in the page.
    pub within: usize,
    /// Which bytes of the range these are.
    pub part: Range<usize>,
}

/// Returns the pieces of `len` bytes from `offset` on, in pages of `page_size` bytes, which is not
/// zero. Returns `None` if there are no such bytes, because their end is no number.
pub fn pieces(offset: usize, len: usize, page_size: usize) -> Option<impl Iterator<Item = Piece>> {
    offset.checked_add(len)?;
    let mut done = 0;
    Some(core::iter::from_fn(move || {
        let rest = len.checked_sub(done).filter(|rest| *rest != 0)?;
        // No overflow: this is less than the end.
        let at = offset.wrapping_add(done);
        let within = at.checked_rem(page_size)?;
        let first = done;
        done = first.wrapping_add(rest.min(page_size.wrapping_sub(within)));
        Some(Piece {
            page: at.checked_div(page_size)?,
            within,
            part: first..done,
        })
    }))
}

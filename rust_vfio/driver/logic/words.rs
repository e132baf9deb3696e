// SPDX-License-Identifier: GPL-2.0

//! Sets of pages as words of bits: page `n` is bit `n % 64` of word `n / 64`.

use super::range::Range;

/// The number of pages of a word.
const PAGES: u64 = u64::BITS as u64;

/// Returns the number of the word that has a page.
pub const fn word(page: u64) -> u64 {
    page / PAGES
}

/// Returns the bits of word `word` for the pages from `first` to `last`.
pub const fn bits(word: u64, first: u64, last: u64) -> u64 {
    let (begin, end) = (self::word(first), self::word(last));
    if word < begin || word > end {
        return 0;
    }
    let mut bits = u64::MAX;
    if word == begin {
        bits &= u64::MAX << (first % PAGES);
    }
    if word == end {
        bits &= u64::MAX >> (PAGES - 1 - last % PAGES);
    }
    bits
}

/// Returns the pages whose bits are set in word `word`, in ascending order.
pub fn pages(word: u64, bits: u64) -> impl Iterator<Item = u64> {
    let first = word.saturating_mul(PAGES);
    (0..PAGES)
        .filter(move |at| bits >> at & 1 != 0)
        .map(move |at| first.saturating_add(at))
}

/// Returns the first and the last page, of `page_size` bytes, that a range has as a whole, if there
/// is one.
pub fn whole(range: Range, page_size: u64) -> Option<(u64, u64)> {
    let rest = page_size.checked_sub(1)?;
    let first = range.first.checked_add(rest)?.checked_div(page_size)?;
    let last = range.last.checked_sub(rest)?.checked_div(page_size)?;
    (first <= last).then_some((first, last))
}

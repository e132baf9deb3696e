// SPDX-License-Identifier: GPL-2.0

//! Merging of ranges of addresses until few enough are left.
//!
//! A device can log DMA to a limited number of ranges. If user space asks for more, neighbours are
//! merged, always the two with the smallest gap between them, so that the device logs as few
//! addresses as possible beyond those that were asked for.
//!
//! The ranges are in a structure of the caller ([`Ranges`]): a C interval tree in the kernel.
//!
//! Corresponds to `vfio_combine_iova_ranges()` in `drivers/vfio/vfio_main.c`; contract 5.7.

/// Disjoint ranges of addresses in ascending order.
pub trait Ranges {
    /// What names one range for as long as it exists.
    type Id: Copy;

    /// Returns the lowest range.
    fn first(&self) -> Option<Self::Id>;

    /// Returns the range after `id`.
    fn next(&self, id: Self::Id) -> Option<Self::Id>;

    /// Returns the first and the last address of `id`, both inclusive.
    fn bounds(&self, id: Self::Id) -> (usize, usize);

    /// Extends `left` to the end of `right`, the range after it, and removes `right`.
    fn merge(&mut self, left: Self::Id, right: Self::Id);
}

/// Fewer ranges than the caller has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NothingLeft {
    /// One range was wanted, and there is none.
    Empty,
    /// More ranges should have been merged than there were.
    TooFew,
}

/// Merges ranges until only `wanted` of `count` are left.
///
/// Of several equally small gaps the one with the lowest address is closed first. `wanted` should
/// not be 0: all ranges become one, and the result is an error.
///
/// # Errors
///
/// - [`NothingLeft::Empty`] if `wanted` is 1 and there is no range.
/// - [`NothingLeft::TooFew`] if there are fewer ranges than `count`. Ranges may have been merged
///   then.
pub fn combine<R: Ranges>(ranges: &mut R, count: u32, wanted: u32) -> Result<(), NothingLeft> {
    if wanted == 1 {
        // The result is the same for all gaps, and this takes one walk.
        let first = ranges.first().ok_or(NothingLeft::Empty)?;
        while let Some(next) = ranges.next(first) {
            ranges.merge(first, next);
        }
        return Ok(());
    }
    for _ in wanted..count {
        let (left, right) = closest(ranges).ok_or(NothingLeft::TooFew)?;
        ranges.merge(left, right);
    }
    Ok(())
}

/// Returns the two neighbours with the smallest gap between them, or none if there is at most one
/// range.
fn closest<R: Ranges>(ranges: &R) -> Option<(R::Id, R::Id)> {
    let mut best = None;
    let mut left = ranges.first()?;
    while let Some(right) = ranges.next(left) {
        let (_, end) = ranges.bounds(left);
        let (start, _) = ranges.bounds(right);
        let gap = start.saturating_sub(end);
        match best {
            Some((smallest, _)) if gap >= smallest => {}
            _ => best = Some((gap, (left, right))),
        }
        left = right;
    }
    best.map(|(_, pair)| pair)
}

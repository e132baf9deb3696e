// SPDX-License-Identifier: GPL-2.0

//! Merging ranges until few enough are left.
//!
//! A device can log DMA to a limited number of ranges. When user space asks for more, neighbours
//! are merged, always the two with the smallest gap between them, so that as little as possible is
//! logged that nobody asked for.
//!
//! The ranges live in a structure of the caller ([`Ranges`]): a C interval tree in the kernel.
//!
//! C file: `vfio_main.c`.

/// Disjoint ranges in ascending order.
pub trait Ranges {
    /// Names one range for as long as it exists.
    type Id: Copy;

    /// The lowest range.
    fn first(&self) -> Option<Self::Id>;

    /// The range after `id`.
    fn next(&self, id: Self::Id) -> Option<Self::Id>;

    /// The first and the last address of `id`.
    fn bounds(&self, id: Self::Id) -> (usize, usize);

    /// Makes `left` reach to the end of `right`, the range after it, which ceases to exist.
    fn merge(&mut self, left: Self::Id, right: Self::Id);
}

/// There is nothing left to merge, although too many ranges are said to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NothingLeft;

/// Merges ranges until only `wanted` of `count` are left.
///
/// Of several smallest gaps the lowest goes first. `wanted` should not be 0: all ranges become one
/// and then there is nothing left.
///
/// # Errors
///
/// [`NothingLeft`] if there were fewer ranges than `count` says, or `wanted` is 1 and there is
/// none.
pub fn combine<R: Ranges>(ranges: &mut R, count: u32, wanted: u32) -> Result<(), NothingLeft> {
    if wanted == 1 {
        // Whatever the gaps are, it all ends up in the first one.
        let first = ranges.first().ok_or(NothingLeft)?;
        while let Some(next) = ranges.next(first) {
            ranges.merge(first, next);
        }
        return Ok(());
    }
    for _ in wanted..count {
        let (left, right) = closest(ranges).ok_or(NothingLeft)?;
        ranges.merge(left, right);
    }
    Ok(())
}

/// The two neighbours with the smallest gap.
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

// SPDX-License-Identifier: GPL-2.0

//! Merging ranges, against a model that knows every page.

use proptest::prelude::*;
use vfio_logic_tests::logic::combine::{
    combine,
    NothingLeft,
    Ranges, //
};

/// Ranges as `(first, last)`; an id is the first address, which merging keeps.
#[derive(Clone, Debug)]
struct List(Vec<(usize, usize)>);

impl List {
    fn position(&self, id: usize) -> usize {
        self.0.iter().position(|range| range.0 == id).unwrap()
    }
}

impl Ranges for List {
    type Id = usize;

    fn first(&self) -> Option<usize> {
        self.0.first().map(|range| range.0)
    }

    fn next(&self, id: usize) -> Option<usize> {
        self.0.get(self.position(id) + 1).map(|range| range.0)
    }

    fn bounds(&self, id: usize) -> (usize, usize) {
        self.0[self.position(id)]
    }

    fn merge(&mut self, left: usize, right: usize) {
        let (left, right) = (self.position(left), self.position(right));
        assert_eq!(left + 1, right);
        self.0[left].1 = self.0.remove(right).1;
    }
}

/// Alternating gaps and lengths, none of them 0.
fn lists() -> impl Strategy<Value = List> {
    prop::collection::vec((1_usize..6, 1_usize..6), 0..40).prop_map(|steps| {
        let mut at = 0;
        List(
            steps
                .into_iter()
                .map(|(gap, len)| {
                    let first = at + gap;
                    at = first + len;
                    (first, at - 1)
                })
                .collect(),
        )
    })
}

/// Closes gaps in the order of their size, lowest first, all at once. That it comes to the same as
/// one after the other is the point: merging two ranges does not change any other gap.
fn model(list: &List, wanted: usize) -> Vec<(usize, usize)> {
    let mut gaps: Vec<_> = list
        .0
        .windows(2)
        .map(|w| (w[1].0 - w[0].1, w[1].0))
        .collect();
    gaps.sort();
    gaps.truncate(list.0.len().saturating_sub(wanted));
    let closed: Vec<_> = gaps.into_iter().map(|(_, first)| first).collect();

    let mut merged: Vec<(usize, usize)> = Vec::new();
    for &(first, last) in &list.0 {
        match merged.last_mut() {
            Some(previous) if closed.contains(&first) => previous.1 = last,
            _ => merged.push((first, last)),
        }
    }
    merged
}

proptest! {
    #[test]
    fn closes_the_smallest_gaps(list in lists(), wanted in 1_usize..45) {
        let mut merged = list.clone();
        let result = combine(&mut merged, list.0.len() as u32, wanted as u32);
        let empty = wanted == 1 && list.0.is_empty();
        prop_assert_eq!(result.err(), empty.then_some(NothingLeft::Empty));
        prop_assert_eq!(&merged.0, &model(&list, wanted));
        prop_assert!(merged.0.len() <= wanted.max(1));
    }

    #[test]
    fn none_at_all_ends_in_one(list in lists()) {
        prop_assume!(!list.0.is_empty());
        let mut merged = list.clone();
        prop_assert_eq!(combine(&mut merged, list.0.len() as u32, 0), Err(NothingLeft::TooFew));
        prop_assert_eq!(merged.0.len(), 1);
    }

    #[test]
    fn a_wrong_count_is_noticed(list in lists(), extra in 1_u32..10, wanted in 2_u32..5) {
        prop_assume!(!list.0.is_empty());
        let mut merged = list.clone();
        let claimed = list.0.len() as u32 + extra;
        // One merge per surplus range, of which there are fewer than it was told.
        let possible = list.0.len() as u32 - 1;
        let result = combine(&mut merged, claimed, wanted);
        prop_assert_eq!(result.is_err(), claimed.saturating_sub(wanted) > possible);
    }
}

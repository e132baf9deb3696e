// SPDX-License-Identifier: GPL-2.0

//! Rules of the crate `vfio`, against models that know every byte, page or vector.

use proptest::prelude::*;
use vfio_logic_tests::{
    driver_logic::{
        irqs::{
            descriptors,
            Action,
            Which, //
        },
        pieces::pieces,
        range::Range,
        regions::{
            accesses,
            begin,
            place,
            Area,
            LARGEST, //
        },
        states::{
            step,
            State, //
        },
        words, //
    },
    logic::fsm::{
        self,
        Abilities, //
    }, //
};

/// Numbers that are close to each other and to the ends, and any.
fn edges() -> impl Strategy<Value = u64> {
    prop_oneof![10 => 0_u64..6, 5 => (u64::MAX - 6)..=u64::MAX, 1 => any::<u64>()]
}

fn ranges() -> impl Strategy<Value = Range> {
    (edges(), edges()).prop_map(|(one, other)| Range {
        first: one.min(other),
        last: one.max(other),
    })
}

/// The bytes of a range, in numbers in which none is too large.
fn bytes(range: Range) -> std::ops::RangeInclusive<u128> {
    u128::from(range.first)..=u128::from(range.last)
}

fn has(range: Range, byte: u64) -> bool {
    bytes(range).contains(&u128::from(byte))
}

proptest! {
    #[test]
    fn pieces_are_the_bytes_in_their_order(offset in 0_usize..100, len in 0_usize..100, page in 1_usize..20) {
        let mut next = 0;
        for piece in pieces(offset, len, page).unwrap() {
            prop_assert!(!piece.part.is_empty());
            prop_assert_eq!(piece.part.start, next);
            prop_assert!(piece.within + piece.part.len() <= page);
            prop_assert_eq!(piece.page * page + piece.within, offset + piece.part.start);
            next = piece.part.end;
        }
        prop_assert_eq!(next, len);
    }

    #[test]
    fn a_range_has_all_its_bytes_or_is_none(first in edges(), len in edges()) {
        let end = u128::from(first) + u128::from(len);
        let sound = len > 0 && end <= 1 << 64;
        match Range::new(first, len) {
            Some(range) => {
                prop_assert!(sound);
                prop_assert_eq!(range, Range::saturating(first, len).unwrap());
                prop_assert_eq!(*bytes(range).end() + 1, end);
            }
            None => prop_assert!(!sound),
        }
        match Range::saturating(first, len) {
            Some(range) => {
                prop_assert_eq!(range.first, first);
                prop_assert_eq!(*bytes(range).end() + 1, end.min(1 << 64));
            }
            None => prop_assert_eq!(len, 0),
        }
    }

    #[test]
    fn common_bytes_are_in_both(one in ranges(), other in ranges(), byte in edges()) {
        let both = has(one, byte) && has(other, byte);
        prop_assert_eq!(one.common(other).is_some_and(|common| has(common, byte)), both);
        prop_assert_eq!(one.common(other), other.common(one));
    }

    #[test]
    fn halves_are_the_whole_and_have_sizes(range in ranges(), byte in edges()) {
        let halves: Vec<_> = range.halves().into_iter().flatten().collect();
        let count = halves.iter().filter(|half| has(**half, byte)).count();
        prop_assert_eq!(count, usize::from(has(range, byte)));
        let sizes: u128 = halves.iter().map(|half| u128::from(half.size().unwrap())).sum();
        prop_assert_eq!(sizes, bytes(range).end() - bytes(range).start() + 1);
    }

    #[test]
    fn bits_are_the_pages_of_a_word(word in 0_u64..4, first in 0_u64..256, last in 0_u64..256) {
        let bits = words::bits(word, first, last);
        let expected: Vec<u64> = (first..=last).filter(|page| words::word(*page) == word).collect();
        prop_assert_eq!(words::pages(word, bits).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn whole_pages(first in 0_u64..50, len in 1_u64..50, size in 1_u64..10) {
        let range = Range::new(first, len).unwrap();
        let expected: Vec<u64> = (0..100)
            .filter(|page| has(range, page * size) && has(range, page * size + size - 1))
            .collect();
        let found = words::whole(range, size).map_or(vec![], |(first, last)| (first..=last).collect());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn whole_pages_at_the_ends(range in ranges()) {
        // Nothing overflows, and all pages are in the range.
        if let Some((first, last)) = words::whole(range, 4096) {
            let (end, first) = (u128::from(last) * 4096 + 4095, u128::from(first) * 4096);
            prop_assert!(bytes(range).contains(&first) && bytes(range).contains(&end));
        }
    }

    #[test]
    fn accesses_are_aligned_and_few(offset in edges(), len in 0_usize..40) {
        let mut next = u128::from(offset);
        let mut largest = Vec::new();
        for (at, width) in accesses(offset, len) {
            let width = width as u128;
            prop_assert_eq!(u128::from(at), next);
            prop_assert_eq!(next % width, 0);
            next += width;
            largest.push(width);
        }
        // All bytes that have an offset.
        prop_assert_eq!(next, (u128::from(offset) + len as u128).min(1 << 64));
        // Two neighbours are never what one access could have been.
        let mut at = u128::from(offset);
        for pair in largest.windows(2) {
            let both = pair[0] + pair[1];
            prop_assert!(pair[0] != pair[1] || both > 8 || at % both != 0);
            at += pair[0];
        }
    }

    #[test]
    fn an_area_contains_what_it_has_all_bytes_of(
        (offset, size, first, len) in (edges(), edges(), edges(), edges())
    ) {
        let (offset_wide, first_wide) = (u128::from(offset), u128::from(first));
        let expected = first_wide >= offset_wide
            && first_wide + u128::from(len) <= offset_wide + u128::from(size);
        prop_assert_eq!(Area { offset, size }.contains(first, len), expected);
    }

    #[test]
    fn regions_are_one_behind_the_other(number in 0_u32..1 << 24, offset in 0..LARGEST) {
        prop_assert_eq!(place(begin(number) + offset), (number.into(), offset));
    }

    #[test]
    fn vectors_that_a_request_means(
        start in prop_oneof![0_u32..10, (u32::MAX - 10)..=u32::MAX],
        marks in prop::collection::vec(0_u8..3, 0..12),
    ) {
        let count = marks.len() as u32;
        let numbers = |wanted: &dyn Fn(u8) -> bool| -> Vec<u32> {
            let all = (u64::from(start)..).zip(&marks);
            all.filter(|(_, mark)| wanted(**mark)).filter_map(|(at, _)| at.try_into().ok()).collect()
        };
        let marked: Vec<_> = Which::Marked.vectors(start, count, &marks).collect();
        prop_assert_eq!(marked, numbers(&|mark| mark != 0));
        let all: Vec<_> = Which::All.vectors(start, count, &[]).collect();
        prop_assert_eq!(all, numbers(&|_| true));
    }

    #[test]
    fn descriptors_come_back(fds in prop::collection::vec(any::<i32>(), 0..9)) {
        let data: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        prop_assert_eq!(descriptors(&data).collect::<Vec<_>>(), fds);
    }
}

/// All requests that the core lets through: with one layout of data.
#[test]
fn a_request_is_one_action() {
    for (action, layout, count, is_maskable) in (0..8)
        .flat_map(|action| [1, 2, 4].map(|layout| (action, layout)))
        .flat_map(|(action, layout)| (0..3).map(move |count| (action, layout, count)))
        .flat_map(|(action, layout, count)| [false, true].map(|is| (action, layout, count, is)))
    {
        let expected = match (action, layout) {
            (1 | 2, _) if !is_maskable => None,
            (1, 1) => Some(Action::Mask(Which::All)),
            (1, 2) => Some(Action::Mask(Which::Marked)),
            (2, 1) => Some(Action::Unmask(Which::All)),
            (2, 2) => Some(Action::Unmask(Which::Marked)),
            (2, 4) => Some(Action::UnmaskBy),
            (4, 1) if count == 0 => Some(Action::Disable),
            (4, 1) => Some(Action::Raise(Which::All)),
            (4, 2) => Some(Action::Raise(Which::Marked)),
            (4, 4) => Some(Action::Assign),
            _ => None,
        };
        let flags = action << 3 | layout;
        assert_eq!(
            Action::decode(flags, count, is_maskable),
            expected,
            "flags {flags:#x}, {count} vectors, {is_maskable}"
        );
    }
}

#[test]
fn pieces_without_an_end() {
    assert!(pieces(usize::MAX, 1, 4096).is_none());
    assert_eq!(pieces(usize::MAX - 1, 1, 4096).unwrap().count(), 1);
    assert_eq!(pieces(0, 1, 0).unwrap().count(), 0);
}

/// The steps of a device are just those that the core can ask it for.
#[test]
fn steps_are_those_of_the_core() {
    let all = Abilities::STOP_COPY
        .with(Abilities::P2P)
        .with(Abilities::PRE_COPY);
    let sets = [
        Abilities::STOP_COPY,
        Abilities::STOP_COPY.with(Abilities::P2P),
        Abilities::STOP_COPY.with(Abilities::PRE_COPY),
        all,
    ];
    let mut asked = [[false; 8]; 8];
    for abilities in sets {
        for from in 0..8 {
            for to in 0..8 {
                if let Ok(next) = fsm::next(abilities, from, to) {
                    asked[from as usize][next as usize] |= next as u32 != from;
                }
            }
        }
    }
    for from in 0..8 {
        for to in 0..8 {
            let states = [from, to].map(|number| State::from_number(number).unwrap());
            assert_eq!(states.map(|state| state as u32), [from, to]);
            assert_eq!(
                step(states[0], states[1]).is_some(),
                asked[from as usize][to as usize],
                "{states:?}"
            );
        }
    }
    assert_eq!(State::from_number(8), None);
}

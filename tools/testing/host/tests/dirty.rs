// SPDX-License-Identifier: GPL-2.0

//! Dirty bitmaps and charges against naive models.
//!
//! The model of a bitmap is a `bool` per page; that of an account counts pages.

use proptest::prelude::*;
use vfio_logic_tests::type1_logic::{
    account::{
        Accounted,
        AccountedBefore, //
    },
    dirty::{
        is_big_enough,
        pages_of,
        set,
        Bits,
        Place,
        MAX_BITMAP_BYTES, //
    },
    runs::left_in_entry,
    units::{
        Iova,
        IovaRange,
        PageCount,
        Pfn, //
    },
};

const PAGE: u64 = 0x1000;

/// Bits as a bitmap has them.
fn words(bits: &[bool]) -> Vec<u64> {
    bits.chunks(64)
        .map(|bits| {
            bits.iter()
                .enumerate()
                .fold(0, |word, (bit, set)| word | u64::from(*set) << bit)
        })
        .collect()
}

fn is_set(words: &[u64], bit: usize) -> bool {
    words[bit / 64] >> (bit % 64) & 1 != 0
}

/// What a mapping knows about its pages.
#[derive(Clone, Debug)]
enum Known {
    Nothing,
    All,
    Some(Vec<bool>),
}

impl Known {
    fn dirty(&self, page: usize) -> bool {
        match self {
            Known::Nothing => false,
            Known::All => true,
            Known::Some(bits) => bits.get(page).copied().unwrap_or(false),
        }
    }
}

fn known() -> impl Strategy<Value = Known> {
    prop_oneof![
        Just(Known::Nothing),
        Just(Known::All),
        prop::collection::vec(any::<bool>(), 0..300).prop_map(Known::Some),
    ]
}

/// Mappings one behind the other: a hole in pages, the size in pages, what is known.
fn mappings() -> impl Strategy<Value = Vec<(u64, u64, Known)>> {
    prop::collection::vec((0u64..100, 1u64..200, known()), 1..8)
}

proptest! {
    #[test]
    fn a_report_has_the_bits_of_every_mapping(
        list in mappings(),
        base in 0u64..1 << 40,
        split in 0u64..5,
    ) {
        let total: u64 = list.iter().map(|(hole, pages, _)| hole + pages).sum();
        let mut bitmap = vec![0u64; total.div_ceil(64) as usize];
        let mut model = vec![false; total as usize];

        let mut page = 0;
        for (hole, pages, known) in &list {
            page += hole;
            let first = Iova::new((base + page) * PAGE);
            let range = IovaRange::with_len(first, pages * PAGE).unwrap();
            let place = Place::new(Iova::new(base * PAGE), range, PAGE).unwrap();
            let known_words = match known {
                Known::Some(bits) => words(bits),
                _ => Vec::new(),
            };
            let bits = match known {
                Known::Nothing => Bits::None,
                Known::All => Bits::All,
                Known::Some(_) => Bits::Some(&known_words),
            };
            let words = &mut bitmap[place.word as usize..(place.word + place.words()) as usize];
            let kept = words[0] & place.below_first();
            // In two pieces, as it is done when the buffer is short.
            let (head, tail) = words.split_at_mut(split.min(place.words()) as usize);
            for (index, words) in [(0, head), (split.min(place.words()), tail)] {
                place.copy(bits, index, words);
                place.trim(index, words);
            }
            words[0] |= kept;
            if let Some(word) = place.only_word(bits) {
                prop_assert_eq!(place.words(), 1);
                prop_assert_eq!(words[0], word | kept);
            }
            for bit in 0..*pages {
                model[(page + bit) as usize] = known.dirty(bit as usize);
            }
            page += pages;
        }
        for (bit, dirty) in model.iter().enumerate() {
            prop_assert_eq!(is_set(&bitmap, bit), *dirty, "page {}", bit);
        }
    }

    #[test]
    fn setting_sets_exactly_the_range(
        before in prop::collection::vec(any::<bool>(), 1..400),
        a in 0usize..500,
        b in 0usize..500,
    ) {
        let (first, last) = (a.min(b), a.max(b));
        let mut bitmap = words(&before);
        set(&mut bitmap, first as u64, last as u64);
        for (bit, was) in before.iter().enumerate() {
            let wanted = *was || (first..=last).contains(&bit);
            prop_assert_eq!(is_set(&bitmap, bit), wanted, "bit {}", bit);
        }
    }

    #[test]
    fn a_bitmap_is_big_enough_if_every_page_has_a_bit(
        bytes in prop_oneof![0u64..200, MAX_BITMAP_BYTES - 9..MAX_BITMAP_BYTES + 9, any::<u64>()],
        pages in prop_oneof![0u64..2000, MAX_BITMAP_BYTES * 8 - 65..MAX_BITMAP_BYTES * 8 + 65, any::<u64>()],
    ) {
        // Bitmaps consist of words of 64 bits.
        let room = u128::from(bytes) / 8 * 64;
        let wanted = pages > 0 && bytes <= MAX_BITMAP_BYTES && u128::from(pages) <= room;
        prop_assert_eq!(is_big_enough(bytes, pages), wanted);
    }

    #[test]
    fn pages_are_counted_in_the_smallest_bit_of_their_size(bytes: u64, page: u64) {
        match pages_of(bytes, page) {
            None => prop_assert_eq!(page, 0),
            Some(pages) => prop_assert_eq!(pages, bytes / (page & page.wrapping_neg())),
        }
    }

    #[test]
    fn what_is_left_in_an_entry_ends_at_its_end(pfn in 0u64..1 << 40, order in 0u32..19) {
        let mask = !((1u64 << (order + 12)) - 1);
        let left = left_in_entry(Pfn::new(pfn), mask, 12).get();
        prop_assert!((1..=1 << order).contains(&left));
        prop_assert_eq!((pfn + left) % (1 << order), 0);
    }

    /// A mapping whose pages drivers pin one by one, which a domain gets and loses again.
    #[test]
    fn an_account_ends_where_it_began(
        pages in 1u64..50,
        pins in prop::collection::vec(any::<bool>(), 0..50),
        unpinned_meanwhile in 0usize..50,
    ) {
        let count = |count: usize| PageCount::new(count as u64);
        let mut account = 0u64;
        let mut accounted = Accounted::NOTHING;

        let mut pinned = pins.iter().take(pages as usize).filter(|pin| **pin).count();
        accounted.add(count(pinned));
        account += pinned as u64;

        // A domain comes: the whole mapping is pinned, page by page.
        let mut before = AccountedBefore::new(accounted);
        for _ in 0..pages {
            let due = before.cover(count(1));
            accounted.add(due);
            account += due.get();
        }
        account -= accounted.take(before.rest()).get();
        prop_assert_eq!(account, pages);
        prop_assert_eq!(accounted.pages(), PageCount::new(pages));

        // Unpinning costs nothing while it is there.
        pinned -= unpinned_meanwhile.min(pinned);

        // The domain goes, and then the other pins.
        account -= accounted.shrink_to(count(pinned)).get();
        prop_assert_eq!(account, pinned as u64);
        for _ in 0..pinned {
            account -= accounted.take(count(1)).get();
        }
        prop_assert_eq!(account, 0);
        prop_assert_eq!(accounted, Accounted::NOTHING);
    }
}

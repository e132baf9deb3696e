// SPDX-License-Identifier: GPL-2.0

//! The rules of the type1 backend against naive models.
//!
//! The models work address by address, in an address space of 64 addresses that is placed either
//! at the bottom or at the very top of the real one, so that every overflow would show.

use proptest::prelude::*;
use vfio_logic_tests::type1_logic::{
    iova_ranges::{
        allows,
        aperture_conflicts,
        carve,
        narrow, //
    },
    runs::{first_chunk, room_at, Extent, FrameKind, Run},
    units::{
        Iova,
        IovaRange,
        PageCount,
        Pfn, //
    },
    unmap_plan::{
        Target,
        Version, //
    },
};

const SPACE: u64 = 64;

/// Where the small address space is.
fn bases() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX - (SPACE - 1))]
}

/// A range in the small address space at `base`.
fn range_at(base: u64, first: u64, last: u64) -> IovaRange {
    IovaRange::new(Iova::new(base + first), Iova::new(base + last)).unwrap()
}

fn ends() -> impl Strategy<Value = (u64, u64)> {
    (0..SPACE, 0..SPACE).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn has(range: IovaRange, addr: u64) -> bool {
    range.first().get() <= addr && addr <= range.last().get()
}

fn all_have(ranges: &[IovaRange], addr: u64) -> bool {
    ranges.iter().any(|range| has(*range, addr))
}

fn collect(
    f: impl FnOnce(&mut dyn FnMut(IovaRange) -> Result<(), ()>) -> Result<(), ()>,
) -> Vec<IovaRange> {
    let mut out = Vec::new();
    f(&mut |range| {
        out.push(range);
        Ok(())
    })
    .unwrap();
    out
}

/// Cuts holes out of the whole small space, as attaching groups does.
fn carved(base: u64, holes: &[(u64, u64)]) -> Vec<IovaRange> {
    let mut list = vec![range_at(base, 0, SPACE - 1)];
    for (first, last) in holes {
        let hole = range_at(base, *first, *last);
        list = collect(|emit| carve(&list, hole, emit));
    }
    list
}

proptest! {
    #[test]
    fn carving_removes_exactly_the_holes(
        base in bases(),
        holes in prop::collection::vec(ends(), 0..6),
    ) {
        let list = carved(base, &holes);
        for addr in 0..SPACE {
            let in_hole = holes.iter().any(|(first, last)| (*first..=*last).contains(&addr));
            prop_assert_eq!(all_have(&list, base + addr), !in_hole);
        }
        prop_assert!(list.windows(2).all(|pair| pair[0].last() < pair[1].first()));
    }

    #[test]
    fn narrowing_keeps_what_the_aperture_has(
        base in bases(),
        holes in prop::collection::vec(ends(), 0..6),
        aperture in ends(),
    ) {
        let list = carved(base, &holes);
        prop_assume!(!list.is_empty());
        let aperture = range_at(base, aperture.0, aperture.1);
        let narrowed = collect(|emit| narrow(&list, aperture, emit));
        for addr in base..=base + (SPACE - 1) {
            let kept = all_have(&narrowed, addr);
            let wanted = all_have(&list, addr) && has(aperture, addr);
            // An element that would keep a single address at an end of the aperture is dropped.
            let end = addr == aperture.first().get() || addr == aperture.last().get();
            prop_assert!(kept == wanted || (!kept && end), "{addr:#x}");
        }
    }

    #[test]
    fn a_domain_conflicts_if_it_loses_a_mapping_or_everything(
        base in bases(),
        holes in prop::collection::vec(ends(), 0..4),
        aperture in ends(),
        mapping in ends(),
    ) {
        let list = carved(base, &holes);
        prop_assume!(!list.is_empty());
        let aperture = range_at(base, aperture.0, aperture.1);
        let mapping = range_at(base, mapping.0, mapping.1);
        let span = (list[0].first().get(), list[list.len() - 1].last().get());
        let lost = (span.0..=span.1)
            .any(|addr| has(mapping, addr) && !has(aperture, addr));
        let disjoint = (span.0..=span.1).all(|addr| !has(aperture, addr));
        prop_assert_eq!(
            aperture_conflicts(&list, aperture, |range| range.overlaps(mapping)),
            disjoint || lost
        );
    }

    #[test]
    fn only_one_element_can_allow_a_range(
        base in bases(),
        holes in prop::collection::vec(ends(), 0..6),
        range in ends(),
    ) {
        let list = carved(base, &holes);
        prop_assume!(!list.is_empty());
        let range = range_at(base, range.0, range.1);
        // Elements never touch, so every address being valid means one element has them all.
        let every = (range.first().get()..=range.last().get()).all(|addr| all_have(&list, addr));
        prop_assert_eq!(allows(&list, range), every);
    }

    #[test]
    fn ranges_are_sets(
        base in bases(),
        a in ends(),
        b in ends(),
        cut in 0..SPACE,
    ) {
        let (x, y) = (range_at(base, a.0, a.1), range_at(base, b.0, b.1));
        let both: Vec<u64> = (a.0..=a.1).filter(|addr| (b.0..=b.1).contains(addr)).collect();
        prop_assert_eq!(x.overlaps(y), !both.is_empty());
        prop_assert_eq!(x.intersection(y).map_or(0, IovaRange::bytes), both.len() as u64);
        prop_assert_eq!(x.contains(y), a.0 <= b.0 && b.1 <= a.1);
        let cut_at = Iova::new(base + cut);
        let below = (a.0..=a.1).filter(|addr| *addr < cut).count() as u64;
        let above = (a.0..=a.1).filter(|addr| *addr > cut).count() as u64;
        prop_assert_eq!(x.below(cut_at).map_or(0, IovaRange::bytes), below);
        prop_assert_eq!(x.above(cut_at).map_or(0, IovaRange::bytes), above);
    }

    #[test]
    fn joining_runs_keeps_every_frame(
        lengths in prop::collection::vec((1u64..600, any::<bool>(), any::<bool>()), 1..40),
    ) {
        // A list of (frame, reserved), described by runs that follow each other or do not.
        let mut frames = Vec::new();
        let mut next = 100;
        let mut list: Vec<Run> = Vec::new();
        for (pages, gap, reserved) in lengths {
            next += u64::from(gap);
            let backing = if reserved { FrameKind::Reserved } else { FrameKind::Pinned };
            let run = Run::new(Pfn::new(next), PageCount::new(pages), backing).unwrap();
            frames.extend((next..next + pages).map(|pfn| (pfn, reserved)));
            next += pages;
            match list.last().and_then(|last| last.joined(run)) {
                Some(joined) => *list.last_mut().unwrap() = joined,
                None => list.push(run),
            }
        }
        let again: Vec<(u64, bool)> = list
            .iter()
            .flat_map(|run| {
                let reserved = run.kind() == FrameKind::Reserved;
                let first = run.first().get();
                (first..first + run.pages().get()).map(move |pfn| (pfn, reserved))
            })
            .collect();
        prop_assert_eq!(&again, &frames);
        let charged: u64 = list.iter().map(|run| run.accounted().get()).sum();
        prop_assert_eq!(charged, frames.iter().filter(|(_, reserved)| !reserved).count() as u64);
        prop_assert!(list.windows(2).all(|pair| pair[0].joined(pair[1]).is_none()));
    }

    #[test]
    fn chunks_are_the_list_in_pieces(
        lengths in prop::collection::vec(
            prop_oneof![1u64..4, 1000u64..=Run::MAX_PAGES],
            0..2000,
        ),
    ) {
        let list: Vec<Extent> = lengths
            .iter()
            .map(|pages| Run::new(Pfn::new(7), PageCount::new(*pages), FrameKind::Pinned).unwrap())
            .map(Extent::from)
            .collect();
        let mut rest = list.as_slice();
        while !rest.is_empty() {
            let (count, pages) = first_chunk(rest.iter().copied());
            let (chunk, behind) = rest.split_at(count);
            prop_assert!(count == 1 || count > 1 && pages.get() <= Run::MAX_PAGES);
            prop_assert_eq!(pages.get(), chunk.iter().map(|run| run.pages().get()).sum::<u64>());
            // Nothing more would fit.
            if let Some(next) = behind.first() {
                prop_assert!(pages.plus(next.pages()).get() > Run::MAX_PAGES);
            }
            rest = behind;
        }
    }

    #[test]
    fn the_room_for_a_run_ends_at_a_multiple(page in 0u64..1 << 52) {
        let room = room_at(Iova::new(page << 12), 12).get();
        prop_assert!((1..=Run::MAX_PAGES).contains(&room));
        prop_assert_eq!((page + room) % Run::MAX_PAGES, 0);
    }

    #[test]
    fn unmap_requests_do_what_each_version_promises(
        base in bases(),
        marks in prop::collection::btree_set(0..SPACE, 0..12),
        request in ends(),
        v2 in any::<bool>(),
    ) {
        // Every other pair of marks is a mapping.
        let marks: Vec<u64> = marks.into_iter().collect();
        let mappings: Vec<IovaRange> = marks
            .chunks_exact(2)
            .map(|pair| range_at(base, pair[0], pair[1]))
            .collect();
        let version = if v2 { Version::V2 } else { Version::V1 };
        let range = range_at(base, request.0, request.1);
        let target = Target::Range(range);

        // As the module looks for them: the mapping that has the address, or the one behind it.
        let from = |iova: Iova| mappings.iter().copied().find(|m| m.last() >= iova);
        let cuts = [range.first(), range.last()]
            .into_iter()
            .filter_map(from)
            .any(|found| target.cuts(version, found));
        let removed: Vec<IovaRange> = mappings
            .iter()
            .copied()
            .filter(|mapping| mapping.last() >= range.first())
            .take_while(|mapping| target.takes(version, *mapping))
            .collect();

        let model_cuts = v2
            && mappings.iter().any(|m| m.overlaps(range) && !range.contains(*m));
        prop_assert_eq!(cuts, model_cuts);
        if cuts {
            return Ok(());
        }
        let starts_inside = mappings
            .iter()
            .any(|m| m.first() < range.first() && has(*m, range.first().get()));
        let model: Vec<IovaRange> = mappings
            .iter()
            .copied()
            .filter(|m| has(range, m.first().get()))
            .filter(|_| v2 || !starts_inside)
            .collect();
        prop_assert_eq!(removed, model);
    }
}

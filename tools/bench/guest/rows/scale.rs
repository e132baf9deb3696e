// SPDX-License-Identifier: GPL-2.0
//! A great many mappings: what each takes must hardly grow.

use anyhow::Result;
use vfio_bench::Chart;
use vfio_selftests::{
    module::{self, Parameter},
    PAGE,
};

use super::{
    many::{iova, map_page},
    Size,
};
use crate::{
    clock::timed,
    log::{row, Log, Rounds},
    stage::{shuffled, Attached, Open, Stage},
};

/// Numbers of mappings, how often they come and go in a round, and what they are called.
/// The first is what others are compared with.
const COUNTS: [Count; 3] = [
    Count(1 << 10, 16, "1 Ki"),
    Count(1 << 15, 1, "32 Ki"),
    Count(1 << 20, 1, "1 Mi"),
];
/// What needs many minutes.
const LONG: Count = Count(1 << 22, 1, "4 Mi");
/// So many are worth only one round.
const MANY: usize = 1 << 20;

/// So many mappings, that often, by this name.
#[derive(Clone, Copy)]
struct Count(usize, usize, &'static str);

/// More mappings than by default.
const LIMIT: &str = "5000000";
/// What one of many may take, by what one of few takes.
const GROWTH: f64 = 2.0;

/// Maps `count` pages in one random order and unmaps them in another.
fn fill_and_clear(
    count: usize,
    mut map: impl FnMut(usize) -> rustix::io::Result<()>,
    mut unmap: impl FnMut(u64) -> rustix::io::Result<u64>,
) -> Result<[u64; 2]> {
    let map = timed(|| shuffled(count).try_for_each(&mut map))?;
    let unmap = timed(|| {
        // Backwards, which is another order.
        shuffled(count).try_for_each(|n| unmap(iova(count - 1 - n)).map(drop))
    })?;
    Ok([map, unmap])
}

/// Measures what each of so many mappings takes, and tells it as well.
fn measure(
    log: &Log,
    Count(count, times, name): Count,
    mut map: impl FnMut(usize) -> rustix::io::Result<()>,
    mut unmap: impl FnMut(u64) -> rustix::io::Result<u64>,
) -> Result<Option<[f64; 2]>> {
    let mut last = None;
    let rows = ["map", "unmap"].map(|verb| {
        row(format!("{verb} one of {name} single pages"), "mapping")
            .of(count * times)
            .plotted(Chart::Mappings, verb, count)
    });
    let rounds = match count {
        ..MANY => Rounds::Usual,
        _ => Rounds::One,
    };
    log.measure_rounds(rows, rounds, || {
        let mut sums = [0; 2];
        for _ in 0..times {
            let took = fill_and_clear(count, &mut map, &mut unmap)?;
            sums = [sums[0] + took[0], sums[1] + took[1]];
        }
        last = Some(sums.map(|sum| sum as f64 / (count * times) as f64));
        Ok(sums)
    })?;
    Ok(last)
}

/// As far as it takes no minutes.
pub(super) fn iommufd(log: &Log, stage: &Stage) -> Result<()> {
    let Attached { iommufd, ioas, .. } = &Attached::edu()?;
    for count in COUNTS.into_iter().filter(|count| count.0 < MANY) {
        measure(
            log,
            count,
            |n| {
                let at = n * PAGE % stage.scattered.len();
                iommufd.map_part(*ioas, &stage.scattered, at, PAGE, iova(n))
            },
            |iova| iommufd.unmap(*ioas, iova, PAGE as u64),
        )?;
    }
    Ok(())
}

pub(super) fn run(log: &Log, stage: &Stage, size: Size) -> Result<()> {
    let _limit = Parameter::set(module::TYPE1, "dma_entry_limit", LIMIT)?;
    let open = Open::edu()?;
    let container = open.container();
    let long = (size == Size::Long).then_some(LONG);
    let mut few = None;
    for count in COUNTS.into_iter().chain(long) {
        let took = measure(
            log,
            count,
            |n| map_page(container, &stage.scattered, n),
            |iova| container.unmap(iova, PAGE as u64),
        )?;
        let (Some(few), Some(took)) = (few, took) else {
            few = took;
            continue;
        };
        if count.0 < MANY {
            continue;
        }
        for (at, verb) in ["map", "unmap"].into_iter().enumerate() {
            let name = format!("{verb} one of {}, by one of 1 Ki", count.2);
            log.tell(row(name, "ratio").bound(GROWTH), Ok(took[at] / few[at]))?;
        }
    }
    Ok(())
}

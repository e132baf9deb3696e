// SPDX-License-Identifier: GPL-2.0
//! Many small requests, and requests about many mappings.

use anyhow::{ensure, Result};
use vfio_bench::Chart;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::{Memory, HUGE_2M},
    PAGE,
};

use crate::{
    clock::timed,
    floor::Floor,
    log::{row, Log, Spec},
    stage::{shuffled, Attached, Open, Stage, IOVA},
};

/// Where mapping number `n` of one page lies.
pub(super) fn iova(n: usize) -> u64 {
    IOVA + (n * PAGE) as u64
}

/// Maps page number `n` of `memory`, counted round and round.
pub(super) fn map_page(container: &Container, memory: &Memory, n: usize) -> rustix::io::Result<()> {
    let offset = n * PAGE % memory.len();
    container.map_part(memory, offset, PAGE, iova(n), READ_WRITE)
}

/// Maps `count` pages one by one.
pub(super) fn map_pages(
    container: &Container,
    memory: &Memory,
    count: usize,
) -> rustix::io::Result<()> {
    (0..count).try_for_each(|n| map_page(container, memory, n))
}

/// The same page again and again.
const AGAIN: usize = 1000;
/// Mappings that are removed by one request for their range.
const RANGE: usize = 20_000;
/// As many mappings as there may be unless somebody says otherwise.
pub(super) const FULL: usize = 65_535;
/// Mappings of 2 MiB that are replaced one by one, in 2 GiB.
const REPLACED: usize = 1024;

fn one_page() -> [Spec; 2] {
    ["map", "unmap"]
        .map(|verb| row(format!("{verb} one 4 KiB page"), "call").plotted(Chart::Mappings, verb, 1))
}

fn one_by_one() -> [Spec; 2] {
    ["map", "unmap"].map(|verb| row(format!("{verb} 65 535 single pages, each"), "mapping"))
}

fn replaced() -> [Spec; 2] {
    ["map", "unmap"].map(|verb| row(format!("{verb} 2 MiB at random places in 2 GiB"), "call"))
}

pub(super) fn floor(log: &Log, stage: &Stage, floor: &Floor) -> Result<()> {
    log.measure(one_page(), || floor.measure(&stage.scattered, PAGE))?;
    log.measure(replaced(), || floor.measure(&stage.transparent, HUGE_2M))
}

/// One page again and again, and single pages that stay.
pub(super) fn iommufd(log: &Log, stage: &Stage) -> Result<()> {
    let Attached { iommufd, ioas, .. } = &Attached::edu()?;
    let map = |n: usize| {
        let offset = n * PAGE % stage.scattered.len();
        iommufd.map_part(*ioas, &stage.scattered, offset, PAGE, iova(n))
    };
    let unmap = |n: usize| iommufd.unmap(*ioas, iova(n), PAGE as u64);
    log.measure(one_page().map(|row| row.of(AGAIN)), || {
        let mut sums = [0; 2];
        for _ in 0..AGAIN {
            sums[0] += timed(|| map(0))?;
            sums[1] += timed(|| unmap(0))?;
        }
        Ok(sums)
    })?;
    log.measure(one_by_one().map(|row| row.of(FULL)), || {
        let map = timed(|| (0..FULL).try_for_each(map))?;
        let unmap = timed(|| (0..FULL).try_for_each(|n| unmap(n).map(drop)))?;
        Ok([map, unmap])
    })
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let open = Open::edu()?;
    let container = open.container();
    let memory = &stage.scattered;

    log.measure(one_page().map(|row| row.of(AGAIN)), || {
        let mut sums = [0; 2];
        for _ in 0..AGAIN {
            sums[0] += timed(|| map_page(container, memory, 0))?;
            sums[1] += timed(|| container.unmap(IOVA, PAGE as u64))?;
        }
        Ok(sums)
    })?;

    log.measure(
        [
            row("map 20 000 single pages, each", "mapping").of(RANGE),
            row("unmap 20 000 single pages in one call", "mapping").of(RANGE),
        ],
        || {
            let map = timed(|| map_pages(container, memory, RANGE))?;
            let unmap = timed(|| container.unmap(IOVA, (RANGE * PAGE) as u64))?;
            Ok([map, unmap])
        },
    )?;

    log.measure(one_by_one().map(|row| row.of(FULL)), || {
        let map = timed(|| map_pages(container, memory, FULL))?;
        let unmap =
            timed(|| (0..FULL).try_for_each(|n| container.unmap(iova(n), PAGE as u64).map(drop)))?;
        Ok([map, unmap])
    })?;

    log.measure(
        [row("unmap 65 535 single pages with UNMAP_ALL", "mapping").of(FULL)],
        || {
            map_pages(container, memory, FULL)?;
            Ok([timed(|| container.unmap_all())?])
        },
    )?;

    replace(log, container, &stage.transparent)
}

/// Replaces mappings in a large address space, as a virtual machine does whose
/// memory comes and goes. The same memory is mapped at several places, because
/// there is not that much of it.
fn replace(log: &Log, container: &Container, memory: &Memory) -> Result<()> {
    let place = |n: usize| IOVA + (n * HUGE_2M) as u64;
    let map = |n: usize| {
        let offset = n * HUGE_2M % memory.len();
        container.map_part(memory, offset, HUGE_2M, place(n), READ_WRITE)
    };
    (0..REPLACED).try_for_each(map)?;
    log.measure(replaced().map(|row| row.of(REPLACED)), || {
        let mut sums = [0; 2];
        for n in shuffled(REPLACED) {
            sums[1] += timed(|| container.unmap(place(n), HUGE_2M as u64))?;
            sums[0] += timed(|| map(n))?;
        }
        Ok(sums)
    })?;
    let removed = container.unmap_all()?;
    ensure!(
        removed == (REPLACED * HUGE_2M) as u64,
        "{removed} bytes unmapped"
    );
    Ok(())
}

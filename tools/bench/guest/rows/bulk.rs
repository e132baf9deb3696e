// SPDX-License-Identifier: GPL-2.0
//! Much memory in one request.

use anyhow::{ensure, Result};
use vfio_selftests::{container::Container, memory::Memory};

use crate::{
    clock::timed,
    floor::Floor,
    log::{row, Log, Spec},
    stage::{Open, Stage, IOVA},
};

/// A kind of memory, with what mapping and unmapping it may take.
struct Kind<'a> {
    name: &'static str,
    memory: &'a Memory,
    map: f64,
    unmap: f64,
}

fn kinds(stage: &Stage) -> [Kind<'_>; 5] {
    let kind = |name, memory, map, unmap| Kind {
        name,
        memory,
        map,
        unmap,
    };
    [
        kind(
            "64 MiB of scattered 4 KiB pages",
            &stage.scattered,
            0.9,
            0.7,
        ),
        kind("64 MiB of fresh 4 KiB pages", &stage.fresh, 0.9, 0.7),
        kind(
            "256 MiB of transparent huge pages",
            &stage.transparent,
            0.6,
            0.1,
        ),
        kind("256 MiB of 2 MiB hugetlb pages", &stage.hugetlb, 0.6, 0.1),
        kind("a 1 GiB hugetlb page", &stage.gigantic, 0.05, 0.1),
    ]
}

/// What mapping all of `memory` takes, and unmapping it again.
pub(crate) fn map_unmap(container: &Container, memory: &Memory) -> Result<[u64; 2]> {
    let map = timed(|| container.map(memory, IOVA))?;
    let mut removed = 0;
    let unmap = timed(|| {
        removed = container.unmap(IOVA, memory.len() as u64)?;
        rustix::io::Result::Ok(())
    })?;
    ensure!(removed == memory.len() as u64, "{removed} bytes unmapped");
    Ok([map, unmap])
}

fn rows(kind: &Kind<'_>) -> [Spec; 2] {
    [
        row(format!("map {}", kind.name), "call").ratio(kind.map),
        row(format!("unmap {}", kind.name), "call").ratio(kind.unmap),
    ]
}

pub(super) fn floor(log: &Log, stage: &Stage, floor: &Floor) -> Result<()> {
    kinds(stage).iter().try_for_each(|kind| {
        log.measure(rows(kind), || floor.measure(kind.memory, kind.memory.len()))
    })
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let open = Open::edu()?;
    for kind in kinds(stage) {
        log.measure(rows(&kind), || map_unmap(open.container(), kind.memory))?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Much memory in one request.

use std::ptr;

use anyhow::{ensure, Result};
use rustix::fd::OwnedFd;
use vfio_bench::Chart;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::Memory,
};

use crate::{
    clock::timed,
    floor::Floor,
    log::{row, Log, Spec},
    stage::{Attached, Open, Shared, Stage, IOVA},
};

/// A kind of memory, with what mapping and unmapping it may take.
struct Kind<'a> {
    name: &'static str,
    memory: &'a Memory,
    /// How much of it.
    len: usize,
    /// Of which file it is, if it is of one.
    file: Option<&'a OwnedFd>,
    map: f64,
    unmap: f64,
}

fn kinds(stage: &Stage) -> [Kind<'_>; 10] {
    fn whole<'a>(name: &'static str, memory: &'a Memory, map: f64, unmap: f64) -> Kind<'a> {
        Kind {
            name,
            memory,
            len: memory.len(),
            file: None,
            map,
            unmap,
        }
    }
    fn shared<'a>(name: &'static str, shared: &'a Shared, map: f64, unmap: f64) -> Kind<'a> {
        Kind {
            file: Some(&shared.file),
            ..whole(name, &shared.memory, map, unmap)
        }
    }
    let huge = |name, mib: usize, map, unmap| Kind {
        len: mib << 20,
        ..whole(name, &stage.transparent, map, unmap)
    };
    [
        whole(
            "64 MiB of scattered 4 KiB pages",
            &stage.scattered,
            0.5,
            0.3,
        ),
        whole("64 MiB of fresh 4 KiB pages", &stage.fresh, 0.48, 0.5),
        shared("64 MiB of 4 KiB pages of a file", &stage.shared, 0.52, 0.5),
        huge("2 MiB of transparent huge pages", 2, 1.0, 1.0),
        huge("16 MiB of transparent huge pages", 16, 1.0, 1.0),
        huge("64 MiB of transparent huge pages", 64, 1.0, 1.0),
        huge("256 MiB of transparent huge pages", 256, 0.36, 0.01),
        whole("256 MiB of 2 MiB hugetlb pages", &stage.hugetlb, 0.08, 0.01),
        shared(
            "256 MiB of 2 MiB hugetlb pages of a file",
            &stage.shared_hugetlb,
            0.08,
            0.01,
        ),
        whole("a 1 GiB hugetlb page", &stage.gigantic, 0.01, 0.01),
    ]
}

/// What mapping all of `memory` takes, and unmapping it again.
pub(crate) fn map_unmap(container: &Container, memory: &Memory) -> Result<[u64; 2]> {
    map_unmap_part(container, memory, memory.len())
}

/// The same for the first `len` bytes.
fn map_unmap_part(container: &Container, memory: &Memory, len: usize) -> Result<[u64; 2]> {
    let map = timed(|| container.map_part(memory, 0, len, IOVA, READ_WRITE))?;
    let mut removed = 0;
    let unmap = timed(|| {
        removed = container.unmap(IOVA, len as u64)?;
        rustix::io::Result::Ok(())
    })?;
    ensure!(removed == len as u64, "{removed} bytes unmapped");
    Ok([map, unmap])
}

fn rows(stage: &Stage, kind: &Kind<'_>) -> [Spec; 2] {
    [("map", kind.map), ("unmap", kind.unmap)].map(|(verb, most)| {
        let row = row(format!("{verb} {}", kind.name), "call").ratio(most);
        match ptr::eq(kind.memory, &stage.transparent) {
            true => row.plotted(Chart::Size, verb, kind.len),
            false => row,
        }
    })
}

pub(super) fn floor(log: &Log, stage: &Stage, floor: &Floor) -> Result<()> {
    kinds(stage).iter().try_for_each(|kind| {
        log.measure(rows(stage, kind), || floor.measure(kind.memory, kind.len))
    })
}

/// The same requests to iommufd. It can also map a file without looking at where a
/// process has it, which no other backend offers.
pub(super) fn iommufd(log: &Log, stage: &Stage) -> Result<()> {
    let Attached { iommufd, ioas, .. } = &Attached::edu()?;
    for kind in kinds(stage) {
        let len = kind.len as u64;
        let unmap = || iommufd.unmap(*ioas, IOVA, len);
        log.measure(rows(stage, &kind), || {
            let map = timed(|| iommufd.map_part(*ioas, kind.memory, 0, kind.len, IOVA))?;
            Ok([map, timed(unmap)?])
        })?;
        let Some(file) = kind.file else {
            continue;
        };
        let by_file = row(format!("map {}, by its descriptor", kind.name), "call");
        log.measure([by_file.without_target()], || {
            let map = timed(|| iommufd.map_file(*ioas, file, len, IOVA))?;
            unmap()?;
            Ok([map])
        })?;
    }
    Ok(())
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let open = Open::edu()?;
    for kind in kinds(stage) {
        log.measure(rows(stage, &kind), || {
            map_unmap_part(open.container(), kind.memory, kind.len)
        })?;
    }
    Ok(())
}

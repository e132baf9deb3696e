// SPDX-License-Identifier: GPL-2.0
//! Much memory in one request.

use anyhow::{ensure, Result};
use rustix::fd::OwnedFd;
use vfio_selftests::{container::Container, memory::Memory};

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
    /// Of which file it is, if it is of one.
    file: Option<&'a OwnedFd>,
    map: f64,
    unmap: f64,
}

fn kinds(stage: &Stage) -> [Kind<'_>; 7] {
    let private = |name, memory, map, unmap| Kind {
        name,
        memory,
        file: None,
        map,
        unmap,
    };
    fn shared<'a>(name: &'static str, shared: &'a Shared, map: f64, unmap: f64) -> Kind<'a> {
        Kind {
            name,
            memory: &shared.memory,
            file: Some(&shared.file),
            map,
            unmap,
        }
    }
    [
        private(
            "64 MiB of scattered 4 KiB pages",
            &stage.scattered,
            0.5,
            0.3,
        ),
        private("64 MiB of fresh 4 KiB pages", &stage.fresh, 0.48, 0.5),
        shared("64 MiB of 4 KiB pages of a file", &stage.shared, 0.52, 0.5),
        private(
            "256 MiB of transparent huge pages",
            &stage.transparent,
            0.36,
            0.01,
        ),
        private("256 MiB of 2 MiB hugetlb pages", &stage.hugetlb, 0.08, 0.01),
        shared(
            "256 MiB of 2 MiB hugetlb pages of a file",
            &stage.shared_hugetlb,
            0.08,
            0.01,
        ),
        private("a 1 GiB hugetlb page", &stage.gigantic, 0.01, 0.01),
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

/// The same requests to iommufd. It can also map a file without looking at where a
/// process has it, which no other backend offers.
pub(super) fn iommufd(log: &Log, stage: &Stage) -> Result<()> {
    let Attached { iommufd, ioas, .. } = &Attached::edu()?;
    for kind in kinds(stage) {
        let len = kind.memory.len() as u64;
        let unmap = || iommufd.unmap(*ioas, IOVA, len);
        log.measure(rows(&kind), || {
            let map = timed(|| iommufd.map(*ioas, kind.memory, IOVA))?;
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
        log.measure(rows(&kind), || map_unmap(open.container(), kind.memory))?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Memory that is not there yet: a program can bring it in before it maps it, or leave
//! that to the request. The memory lies elsewhere each time, in more pieces or in fewer, and
//! is free sooner or later; so these numbers cannot be compared.

use anyhow::Result;
use rustix::mm::Advice;
use vfio_selftests::memory::Memory;

use crate::{
    clock::timed,
    log::{row, Log, Rounds},
    stage::{Attached, Open, IOVA, SMALL},
};

/// Kinds of memory, all of it there at first.
fn kinds() -> Result<[(&'static str, Memory); 3]> {
    let all = [
        ("64 MiB of 4 KiB pages", Memory::anonymous(SMALL)?),
        (
            "64 MiB of transparent huge pages",
            Memory::transparent_huge(SMALL)?,
        ),
        ("64 MiB of 2 MiB hugetlb pages", Memory::hugetlb(SMALL)?),
    ];
    Ok(all)
}

/// Measures both ways, the first of which is the same for everybody.
fn measure(
    log: &Log,
    map: impl Fn(&Memory) -> rustix::io::Result<()>,
    unmap: impl Fn(u64) -> rustix::io::Result<u64>,
) -> Result<()> {
    for (name, memory) in kinds()? {
        let rows = [
            row(format!("bring in {name}"), "call").without_target(),
            row(format!("map {name} that are not there"), "call").without_target(),
        ];
        log.measure_rounds(rows, Rounds::One, || {
            memory.discard()?;
            let advice = Advice::LinuxPopulateWrite;
            let before = timed(|| memory.advise_part(0, memory.len(), advice))?;
            memory.discard()?;
            let absent = timed(|| map(&memory))?;
            unmap(memory.len() as u64)?;
            Ok([before, absent])
        })?;
    }
    Ok(())
}

pub(super) fn iommufd(log: &Log) -> Result<()> {
    let Attached { iommufd, ioas, .. } = &Attached::edu()?;
    measure(
        log,
        |memory| iommufd.map(*ioas, memory, IOVA),
        |len| iommufd.unmap(*ioas, IOVA, len),
    )
}

pub(super) fn run(log: &Log) -> Result<()> {
    let open = Open::edu()?;
    let container = open.container();
    measure(
        log,
        |memory| container.map(memory, IOVA),
        |len| container.unmap(IOVA, len),
    )
}

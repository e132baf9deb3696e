// SPDX-License-Identifier: GPL-2.0
//! Rounds of a migration: the bitmap of a large virtual machine of which little was
//! written, asked for by ranges of IOVAs, and with the requests that unmap it.
//!
//! Of devices that do DMA by themselves the backend does not know what they wrote, and
//! tells that it was all. So the only device here is an emulated one, of whose writes
//! it knows, and as in [`machines`](super::machines) all slots are the same memory.

use anyhow::{ensure, Result};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::{Memory, HUGE_1G},
    target::Target,
    uapi, PAGE,
};

use super::dirty::Requests;
use crate::{
    clock::timed,
    fixture::{Device, Fixture, Op},
    log::{row, Log, Rounds},
    stage::{shuffled, Stage, HUGE, IOVA},
};

/// The memory of the guest.
const GUEST: usize = 16 * HUGE_1G;
/// In how many mappings it is.
const SLOTS: usize = GUEST / HUGE;
/// How many of its pages are written in a round: one of a hundred.
const WRITTEN: usize = GUEST / PAGE / 100;

/// What we may take by what C takes. We fill memory by `rep stosb`, of which QEMU counts
/// each byte, and C by loops.
const CLEAR: f64 = 1.25;
const UNMAP: f64 = 1.1;

/// Where a slot is.
fn slot(n: usize) -> u64 {
    IOVA + (n * HUGE) as u64
}

fn map(container: &Container, memory: &Memory) -> rustix::io::Result<()> {
    (0..SLOTS).try_for_each(|n| container.map_part(memory, 0, HUGE, slot(n), READ_WRITE))
}

/// Lets the device write to pages anywhere.
fn write(device: &Device<'_>) -> rustix::io::Result<()> {
    shuffled(GUEST / PAGE).take(WRITTEN).try_for_each(|page| {
        let iova = IOVA + (page * PAGE) as u64;
        device.call(Op::Copy, &[iova, 8, 1, 0]).map(drop)
    })
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let rows = || {
        let name = "16 GiB in 64 mappings, 1 % of it dirty";
        [
            row(format!("dirty GET_BITMAP of each mapping: {name}"), "round").ratio(CLEAR),
            row(format!("unmap each with its dirty bitmap: {name}"), "round").ratio(UNMAP),
        ]
    };
    if !log.wants_any(&rows()) {
        return Ok(());
    }
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = device.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let target = Memory::anonymous(HUGE / PAGE / 8)?;
    let requests: Vec<_> = (0..SLOTS)
        .map(|n| Requests::about(slot(n), HUGE, &target))
        .collect();
    map(container, &stage.transparent)?;
    requests[0].start.send(container, uapi::IOMMU_DIRTY_PAGES)?;
    let bits = || {
        let bytes = target.read(0, target.len());
        bytes
            .iter()
            .map(|byte| byte.count_ones() as usize)
            .sum::<usize>()
    };
    // All of it is dirty at first.
    for request in &requests {
        request.get.send(container, uapi::IOMMU_DIRTY_PAGES)?;
    }
    log.measure_rounds(rows(), Rounds::Usual, || {
        let mut sums = [0; 2];
        let mut found = [0; 2];
        write(&device)?;
        for request in &requests {
            target.fill(0);
            sums[0] += timed(|| request.get.send(container, uapi::IOMMU_DIRTY_PAGES))?;
            found[0] += bits();
        }
        write(&device)?;
        for request in &requests {
            target.fill(0);
            sums[1] += timed(|| request.unmap.send(container, uapi::IOMMU_UNMAP_DMA))?;
            found[1] += bits();
        }
        ensure!(found == [WRITTEN; 2], "{found:?} pages are dirty");
        map(container, &stage.transparent)?;
        Ok(sums)
    })
}

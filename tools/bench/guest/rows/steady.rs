// SPDX-License-Identifier: GPL-2.0
//! The steady state of a driver in user space, as for an NVMe disk: among very many
//! mappings, buffers of all sizes are mapped for one transfer and unmapped again.

use anyhow::Result;
use vfio_selftests::{
    container::READ_WRITE,
    module::{self, Parameter},
    PAGE,
};

use crate::{
    clock::timed,
    log::{row, Log, Spec},
    stage::{shuffled, Attached, Open, Stage, IOVA, SMALL},
};

/// Mappings that stay.
const RESIDENT: usize = 65_536;
/// Transfers of a round.
const TRANSFERS: usize = 2048;
/// The smallest buffer is a page, and each further size twice as large: up to 1 MiB.
const SIZES: usize = 9;
/// From one mapping that stays to the next: a page, and the largest buffer fits behind it.
const STRIDE: usize = PAGE + (PAGE << (SIZES - 1));

/// A buffer to be mapped.
struct Transfer {
    /// Where it lies in the memory.
    at: usize,
    size: usize,
    iova: u64,
}

/// Where a mapping that stays is.
fn resident(n: usize) -> u64 {
    IOVA + (n * STRIDE) as u64
}

/// Which page of the memory it shows.
fn page(n: usize) -> usize {
    n * PAGE % SMALL
}

/// Transfers at random places: all sizes are equally frequent.
fn transfers() -> impl Iterator<Item = Transfer> {
    let places = shuffled(RESIDENT).zip(shuffled(SMALL / PAGE));
    places.take(TRANSFERS).map(|(place, page)| {
        let size = PAGE << (place % SIZES);
        Transfer {
            at: (page * PAGE).min(SMALL - size),
            size,
            iova: resident(place) + PAGE as u64,
        }
    })
}

fn rows() -> [Spec; 2] {
    ["map", "unmap"].map(|verb| {
        let name = format!("{verb} 4 KiB to 1 MiB at random among 64 Ki mappings");
        row(name, "call").of(TRANSFERS)
    })
}

/// Does all transfers, and tells how long they were mapped and unmapped.
fn measure(
    map: impl Fn(&Transfer) -> rustix::io::Result<()>,
    unmap: impl Fn(&Transfer) -> rustix::io::Result<u64>,
) -> Result<[u64; 2]> {
    let mut sums = [0; 2];
    for transfer in transfers() {
        sums[0] += timed(|| map(&transfer))?;
        sums[1] += timed(|| unmap(&transfer))?;
    }
    Ok(sums)
}

pub(super) fn iommufd(log: &Log, stage: &Stage) -> Result<()> {
    if !log.wants_any(&rows()) {
        return Ok(());
    }
    let Attached { iommufd, ioas, .. } = &Attached::edu()?;
    let map = |at, size, iova| iommufd.map_part(*ioas, &stage.fresh, at, size, iova);
    (0..RESIDENT).try_for_each(|n| map(page(n), PAGE, resident(n)))?;
    log.measure(rows(), || {
        measure(
            |transfer| map(transfer.at, transfer.size, transfer.iova),
            |transfer| iommufd.unmap(*ioas, transfer.iova, transfer.size as u64),
        )
    })
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    if !log.wants_any(&rows()) {
        return Ok(());
    }
    let most = (RESIDENT + 1).to_string();
    let _limit = Parameter::set(module::TYPE1, "dma_entry_limit", &most)?;
    let open = Open::edu()?;
    let container = open.container();
    let map = |at, size, iova| container.map_part(&stage.fresh, at, size, iova, READ_WRITE);
    (0..RESIDENT).try_for_each(|n| map(page(n), PAGE, resident(n)))?;
    log.measure(rows(), || {
        measure(
            |transfer| map(transfer.at, transfer.size, transfer.iova),
            |transfer| container.unmap(transfer.iova, transfer.size as u64),
        )
    })
}

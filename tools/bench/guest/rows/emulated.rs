// SPDX-License-Identifier: GPL-2.0
//! What drivers of emulated devices ask for: pages of the user, one by one.
//!
//! The driver is the fixture of the selftests. What it takes itself is part of
//! the numbers, for C as for us.

use anyhow::{ensure, Result};
use vfio_selftests::{target::Target, uapi, PAGE};

use crate::{
    clock::timed,
    fixture::{Fixture, Op},
    log::{row, Log},
    stage::{Stage, IOVA},
};

/// The most that one request may pin.
const MOST: u64 = 512;
/// Single requests of a round.
const AGAIN: usize = 500;

/// Devices may read and write: `IOMMU_READ | IOMMU_WRITE`.
const READ_WRITE: u64 = 3;

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = device.open(uapi::TYPE1v2_IOMMU)?;
    session.container.map(&stage.scattered, IOVA)?;
    let pin = |count: u64| {
        timed(|| match device.call(Op::Pin, &[IOVA, count, READ_WRITE])? {
            pinned if pinned as u64 == count => Ok(()),
            _ => Err(rustix::io::Errno::IO),
        })
    };
    let unpin = || timed(|| device.call(Op::Unpin, &[IOVA]));

    for (count, calls) in [(1, AGAIN), (MOST, 1)] {
        let name = if count == 1 { "one page" } else { "512 pages" };
        log.measure(
            [
                row(format!("pin {name} for an emulated device"), "call").of(calls),
                row(format!("unpin {name} of an emulated device"), "call").of(calls),
            ],
            || {
                let mut sums = [0; 2];
                for _ in 0..calls {
                    sums[0] += pin(count)?;
                    sums[1] += unpin()?;
                }
                Ok(sums)
            },
        )?;
    }

    for (name, write) in [("read", 0), ("write", 1)] {
        log.measure(
            [row(format!("dma_rw: {name} 8 bytes"), "call").of(AGAIN)],
            || {
                let mut sum = 0;
                for n in 0..AGAIN as u64 {
                    let iova = IOVA + n * PAGE as u64;
                    sum += timed(|| device.call(Op::Copy, &[iova, 8, write, n]))?;
                }
                Ok([sum])
            },
        )?;
    }
    let removed = session.container.unmap_all()?;
    ensure!(
        removed == stage.scattered.len() as u64,
        "{removed} bytes unmapped"
    );
    Ok(())
}

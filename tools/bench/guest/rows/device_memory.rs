// SPDX-License-Identifier: GPL-2.0
//! Memory of a device, mapped for devices to reach it.

use anyhow::{ensure, Result};
use vfio_selftests::{memory::HUGE_1G, pci, uapi};

use super::bulk::map_unmap;
use crate::{
    log::{row, Log},
    stage::Open,
};

pub(super) fn run(log: &Log) -> Result<()> {
    let open = Open::of(pci::IVSHMEM)?;
    // A BAR can be reached only if the device answers to it.
    pci::Config::of(&open.session.device)?.enable()?;
    let bar = open
        .session
        .device
        .map_region(uapi::PCI_BAR2_REGION_INDEX)?;
    ensure!(bar.len() == HUGE_1G, "a BAR of {} bytes", bar.len());
    log.measure(
        [
            row("map a 1 GiB BAR", "call"),
            row("unmap a 1 GiB BAR", "call"),
        ],
        || map_unmap(open.container(), &bar),
    )
}

// SPDX-License-Identifier: GPL-2.0
//! Memory of a device, mapped for devices to reach it.

use anyhow::{ensure, Result};
use vfio_selftests::{
    device::Device,
    memory::{Memory, HUGE_1G},
    pci, uapi,
};

use super::bulk::map_unmap;
use crate::{
    log::{row, Log},
    stage::Open,
};

/// Maps the BAR at an address that is a multiple of its size, as QEMU does, so that the
/// largest pages can be used.
fn bar(device: &Device) -> Result<Memory> {
    let region = device.region(uapi::PCI_BAR2_REGION_INDEX)?.head;
    let len = usize::try_from(region.size)?;
    ensure!(len == HUGE_1G, "a BAR of {len} bytes");
    let mut area = Memory::inaccessible(2 * len)?;
    let skip = area.address().next_multiple_of(len) - area.address();
    if skip > 0 {
        area = area.split(skip).1;
    }
    area.place_file(0, device, region.offset, len, true)?;
    Ok(area.split(len).0)
}

pub(super) fn run(log: &Log) -> Result<()> {
    let open = Open::of(pci::IVSHMEM)?;
    // A BAR can be reached only if the device answers to it.
    pci::Config::of(&open.session.device)?.enable()?;
    let bar = bar(&open.session.device)?;
    log.measure(
        [
            row("map a 1 GiB BAR", "call"),
            row("unmap a 1 GiB BAR", "call"),
        ],
        || map_unmap(open.container(), &bar),
    )
}

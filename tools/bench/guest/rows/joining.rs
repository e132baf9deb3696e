// SPDX-License-Identifier: GPL-2.0
//! A device that comes when the container is full of mappings: for its IOMMU a second
//! page table is filled with all of them.
//!
//! The first device is behind an IOMMU of the fixture, which is of another kind than the
//! machine's. It costs little, and what is measured is the machine's.

use anyhow::Result;
use vfio_selftests::{
    module::{self, Parameter},
    pci,
    target::Target,
    uapi, PAGE,
};

use super::many::{map_pages, FULL};
use crate::{
    clock::timed,
    fixture::Fixture,
    log::{row, Log},
    stage::{self, Stage},
};

/// What unmapping a page may take. C leaves the pages in a page table that goes.
const UNMAP: f64 = 720.0;

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let named = |verb| {
        let name = format!("{verb} a container with 65 535 single pages");
        row(name, "mapping").of(FULL)
    };
    let rows = [
        named("attach a group to"),
        named("detach a group from").bound(UNMAP),
    ];
    if !log.wants_any(&rows) {
        return Ok(());
    }
    let _allow = Parameter::set(module::TYPE1, "allow_unsafe_interrupts", "Y")?;
    let fixture = Fixture::open()?;
    let first = fixture.build().iommu(PAGE as u64, 0).create()?;
    let second = stage::bound(pci::EDU)?;
    let session = first.open(uapi::TYPE1v2_IOMMU)?;
    map_pages(&session.container, &stage.scattered, FULL)?;
    let group = second.open_group()?;
    log.measure(rows, || {
        let attach = timed(|| group.set_container(&session.container))?;
        let detach = timed(|| group.unset_container())?;
        Ok([attach, detach])
    })
}

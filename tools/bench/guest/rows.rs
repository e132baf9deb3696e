// SPDX-License-Identifier: GPL-2.0
//! The work, one file for each kind of it.

mod bulk;
mod calls;
mod device_memory;
mod dirty;
mod emulated;
mod faults;
mod footprint;
mod joining;
mod latency;
mod machines;
mod many;
mod migration;
mod scale;
mod sessions;
mod steady;

use anyhow::Result;

use crate::{floor::Floor, log::Log, stage::Stage};

/// How much time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Some minutes.
    Normal,
    /// As long as it takes.
    Long,
}

/// Measures the floor of those rows that have one.
pub(crate) fn floor(log: &Log, stage: &Stage, floor: &Floor) -> Result<()> {
    bulk::floor(log, stage, floor)?;
    many::floor(log, stage, floor)
}

/// Measures those rows that can be asked of iommufd as well.
pub(crate) fn iommufd(log: &Log, stage: &Stage) -> Result<()> {
    bulk::iommufd(log, stage)?;
    faults::iommufd(log)?;
    many::iommufd(log, stage)?;
    latency::iommufd(log, stage)?;
    steady::iommufd(log, stage)?;
    machines::iommufd(log, stage)?;
    scale::iommufd(log, stage)
}

/// Measures everything on the modules that are loaded.
pub(crate) fn run(log: &Log, stage: &Stage, size: Size) -> Result<()> {
    bulk::run(log, stage)?;
    faults::run(log)?;
    many::run(log, stage)?;
    device_memory::run(log)?;
    dirty::run(log, stage)?;
    migration::run(log, stage)?;
    emulated::run(log, stage)?;
    calls::run(log)?;
    latency::run(log, stage)?;
    sessions::run(log, stage)?;
    footprint::run(log, stage)?;
    steady::run(log, stage)?;
    joining::run(log, stage)?;
    machines::run(log, stage)?;
    scale::run(log, stage, size)
}

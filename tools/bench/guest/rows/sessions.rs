// SPDX-License-Identifier: GPL-2.0
//! From open to close, by groups and by nodes, and containers that are
//! address spaces of an iommufd.
//!
//! What `vfio-pci` does to a device that is opened is a thousand times more
//! than what is around it, so there are sessions with an emulated device too.

use std::os::fd::AsFd;

use anyhow::Result;
use vfio_selftests::{
    config,
    container::Container,
    device::Device,
    iommufd::Iommufd,
    pci::{self, Bound},
    target::Target,
    uapi, PAGE,
};

use super::{bulk::map_unmap, many::map_page};
use crate::{
    clock::timed,
    fixture::Fixture,
    log::{row, Log},
    stage::{self, Stage, IOVA},
};

/// Sessions of a round.
const SESSIONS: usize = 20;
/// Mappings of a round.
const AGAIN: usize = 1000;

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let edu = stage::bound(pci::EDU)?;
    sessions(log, "a PCI device", &edu)?;
    again(log, &edu)?;
    let fixture = Fixture::open()?;
    sessions(log, "an emulated device", &fixture.device()?)?;
    if config::has("IOMMUFD_VFIO_CONTAINER")? {
        iommufd_as_container(log, stage, &edu)?;
    }
    Ok(())
}

/// Opens and closes a device in both ways.
fn sessions(log: &Log, name: &str, target: &impl Target) -> Result<()> {
    log.measure(
        [row(format!("open and close {name} by its group"), "session").of(SESSIONS)],
        || {
            Ok([timed(|| {
                (0..SESSIONS).try_for_each(|_| target.open(uapi::TYPE1v2_IOMMU).map(drop))
            })?])
        },
    )?;

    if !config::has("VFIO_DEVICE_CDEV")? {
        return Ok(());
    }
    let iommufd = Iommufd::open()?;
    let ioas = iommufd.ioas()?;
    let node = target.node_path()?;
    log.measure(
        [row(format!("open and close {name} by its node"), "session").of(SESSIONS)],
        || {
            Ok([timed(|| {
                (0..SESSIONS).try_for_each(|_| -> rustix::io::Result<()> {
                    let device = Device::open(&node)?;
                    device.bind(&iommufd)?;
                    device.attach(ioas)?;
                    device.detach()
                })
            })?])
        },
    )
}

/// Resets a device, and closes and opens it again while its group stays.
fn again(log: &Log, edu: &Bound) -> Result<()> {
    let igb = stage::Open::of(pci::IGB)?;
    log.measure([row("reset a network card", "call")], || {
        Ok([timed(|| igb.session.device.reset())?])
    })?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let mut device = Some(session.device);
    let mut reopen = || {
        drop(device.take());
        device = Some(session.group.device(edu.name())?);
        rustix::io::Result::Ok(())
    };
    log.measure(
        [row("close and open a PCI device of an open group", "session").of(SESSIONS)],
        || Ok([timed(|| (0..SESSIONS).try_for_each(|_| reopen()))?]),
    )
}

/// An iommufd in the place of a container: the requests go to the kernel's
/// code, and only the way there is ours.
fn iommufd_as_container(log: &Log, stage: &Stage, edu: &Bound) -> Result<()> {
    let container = Container::from(Iommufd::open()?.as_fd().try_clone_to_owned()?);
    let group = edu.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    // Without a device nothing would be pinned.
    let device = group.device(edu.name())?;
    log.measure(
        [
            row("iommufd as container: map one 4 KiB page", "call").of(AGAIN),
            row("iommufd as container: unmap one 4 KiB page", "call").of(AGAIN),
        ],
        || {
            let mut sums = [0; 2];
            for _ in 0..AGAIN {
                sums[0] += timed(|| map_page(&container, &stage.scattered, 0))?;
                sums[1] += timed(|| container.unmap(IOVA, PAGE as u64))?;
            }
            Ok(sums)
        },
    )?;
    log.measure(
        [
            row("iommufd as container: map 64 MiB of 4 KiB pages", "call"),
            row("iommufd as container: unmap 64 MiB of 4 KiB pages", "call"),
        ],
        || map_unmap(&container, &stage.scattered),
    )?;
    drop((device, group));
    Ok(())
}

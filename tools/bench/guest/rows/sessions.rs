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
/// The largest number of sessions beside which short ones take place.
const OTHERS: usize = 15;
/// Mappings of a round.
const AGAIN: usize = 1000;

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let edu = stage::bound(pci::EDU)?;
    sessions(log, "a PCI device", &edu, || Ok(None::<()>))?;
    again(log, &edu)?;
    let fixture = Fixture::open()?;
    sessions(log, "an emulated device", &fixture.device()?, || {
        let device = fixture.device()?;
        let session = device.open(uapi::TYPE1v2_IOMMU)?;
        let file = match config::has("VFIO_DEVICE_CDEV")? {
            true => Some(Device::open(&device.node_path()?)?),
            false => None,
        };
        Ok(Some((file, session, device)))
    })?;
    if config::has("IOMMUFD_VFIO_CONTAINER")? {
        iommufd_as_container(log, stage, &edu)?;
    }
    Ok(())
}

/// What the sessions of a round take. The kernel hands out memory from small caches, and to
/// fill or empty one of them takes some hundred instructions. If that happens in the middle of a
/// session, it does in each, for as long as nothing else changes. So short sessions take place
/// beside different numbers of others, and the least counts.
fn least<T>(
    mut session: impl FnMut() -> Result<()>,
    mut other: impl FnMut() -> Result<Option<T>>,
) -> Result<u64> {
    let mut others = Vec::new();
    let mut least = u64::MAX;
    loop {
        least = least.min(timed(|| (0..SESSIONS).try_for_each(|_| session()))?);
        match other()? {
            Some(other) if others.len() < OTHERS => others.push(other),
            _ => return Ok(least),
        }
    }
}

/// Opens and closes a device in both ways, beside others if there are any.
fn sessions<T>(
    log: &Log,
    name: &str,
    target: &impl Target,
    other: impl Fn() -> Result<Option<T>>,
) -> Result<()> {
    let by_group = || target.open(uapi::TYPE1v2_IOMMU).map(drop);
    log.measure(
        [row(format!("open and close {name} by its group"), "session").of(SESSIONS)],
        || Ok([least(by_group, &other)?]),
    )?;

    if !config::has("VFIO_DEVICE_CDEV")? {
        return Ok(());
    }
    let iommufd = Iommufd::open()?;
    let ioas = iommufd.ioas()?;
    let node = target.node_path()?;
    let by_node = || {
        let device = Device::open(&node)?;
        device.bind(&iommufd)?;
        device.attach(ioas)?;
        Ok(device.detach()?)
    };
    log.measure(
        [row(format!("open and close {name} by its node"), "session").of(SESSIONS)],
        || Ok([least(by_node, &other)?]),
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

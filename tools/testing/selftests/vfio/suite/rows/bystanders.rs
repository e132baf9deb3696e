// SPDX-License-Identifier: GPL-2.0
//! Who must not wait while a container is busy with a group: rows F160-F163
//! and R-70.
//!
//! A real backend needs long to attach a group to a container with many
//! mappings, and to give them back. The fixture's backend needs as long as a
//! test wants: it stops in the middle, at a gate, until all bystanders are done.
//! So nothing is measured here. Somebody who waits for what is going on at the
//! gate waits in vain.

use std::thread;

use anyhow::Context;
use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    group::Group,
    target::{wait_for, Target},
    uapi, PAGE,
};

use crate::{
    fixture::{abi, Device, Fixture, Gate},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F160_attaching_a_group,
    F161_choosing_a_backend,
    F162_a_group_leaves,
    F163_mapping,
    R70_extensions_while_attaching.holds(Holds::OnlyRustCore),
];

const TYPE: u32 = abi::BACKEND_TYPE as u32;
const PAGE64: u64 = PAGE as u64;
/// The set of devices that are reset together.
const SET: u64 = 0x70;

/// Somebody who has nothing to do with what is going on.
type Bystander<'a> = (&'a str, &'a (dyn Fn() -> TestResult + Sync));

/// Opens all gates, also when a test fails, or its threads would never end.
struct OpenGates<'a>(&'a Fixture);

impl Drop for OpenGates<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.shut(None) {
            eprintln!("{error:#}");
        }
    }
}

/// Does something that comes to a gate, lets all bystanders finish meanwhile,
/// and then opens the gate.
fn meanwhile(
    fixture: &Fixture,
    gate: Gate,
    busy: impl FnOnce() -> rustix::io::Result<()> + Send,
    bystanders: &[Bystander<'_>],
) -> TestResult {
    let at = gate as usize;
    let before = fixture.shut(Some(gate))?;
    thread::scope(|scope| {
        let open = OpenGates(fixture);
        let busy = scope.spawn(busy);
        wait_for("somebody at the gate", || {
            busy.is_finished()
                || fixture
                    .shut(Some(gate))
                    .is_ok_and(|now| now.came[at] > before.came[at])
        })?;
        assert!(!busy.is_finished(), "did not come to the gate");
        for (what, act) in bystanders {
            let bystander = scope.spawn(act);
            wait_for(what, || bystander.is_finished())?;
            bystander
                .join()
                .expect("a thread")
                .with_context(|| (*what).to_owned())?;
        }
        let now = fixture.shut(Some(gate))?;
        assert_eq!(now.came[at], before.came[at] + 1);
        assert_eq!(now.went[at], before.went[at], "went through the gate");
        drop(open);
        busy.join().expect("a thread")?;
        Ok(())
    })
}

/// A device, and the file of its group.
struct Party<'a> {
    // Closed before the device goes.
    group: Group,
    device: Device<'a>,
}

impl<'a> Party<'a> {
    /// A device, and its group in a container.
    fn in_container(fixture: &'a Fixture, set: u64, container: &Container) -> anyhow::Result<Self> {
        let party = Self::outside(fixture, set)?;
        party.group.set_container(container)?;
        Ok(party)
    }

    /// A device, and its group in no container.
    fn outside(fixture: &'a Fixture, set: u64) -> anyhow::Result<Self> {
        let device = fixture.build().set(set).create()?;
        let group = device.open_group()?;
        Ok(Self { group, device })
    }

    /// GET_STATUS: the group is in a container.
    fn is_in(&self) -> TestResult {
        let both = uapi::GROUP_FLAGS_CONTAINER_SET | uapi::GROUP_FLAGS_VIABLE;
        assert_eq!(self.group.status()?, both);
        Ok(())
    }

    /// GET_DEVICE_FD, and the device is closed again.
    fn open(&self) -> TestResult {
        drop(self.group.device(self.device.name())?);
        Ok(())
    }

    /// GET_DEVICE_FD of a group whose container has no backend.
    fn cannot_open(&self) -> TestResult {
        let answer = self.group.device(self.device.name());
        assert_eq!(answer.map(drop), Err(Errno::INVAL));
        Ok(())
    }
}

/// A group that is in another container, and whose device is in [`SET`].
fn neighbour<'a>(fixture: &'a Fixture, container: &Container) -> anyhow::Result<Party<'a>> {
    let party = Party::in_container(fixture, SET, container)?;
    container.set_iommu(TYPE)?;
    Ok(party)
}

/// A request that the backend answers at once.
fn answers(container: &Container) -> TestResult {
    assert_eq!(container.unmap(0, PAGE64)?, PAGE64);
    Ok(())
}

/// SET_CONTAINER of a group keeps only that group and its container's list of
/// groups busy.
fn F160_attaching_a_group() -> TestResult {
    let fixture = Fixture::open()?;
    let [container, other] = [Container::open()?, Container::open()?];
    let member = Party::in_container(&fixture, SET, &container)?;
    container.set_iommu(TYPE)?;
    let neighbour = neighbour(&fixture, &other)?;
    let joiner = Party::outside(&fixture, SET)?;
    meanwhile(
        &fixture,
        Gate::Attach,
        || joiner.group.set_container(&container),
        &[
            ("the status of a member", &|| member.is_in()),
            ("opening a device of a member", &|| member.open()),
            ("a request of the container", &|| answers(&container)),
            ("the status of another container's group", &|| {
                neighbour.is_in()
            }),
            ("opening a device of the same set", &|| neighbour.open()),
        ],
    )?;
    joiner.is_in()?;
    joiner.open()
}

/// SET_IOMMU attaches all groups. Until it ends there is no backend.
fn F161_choosing_a_backend() -> TestResult {
    let fixture = Fixture::open()?;
    let [container, other] = [Container::open()?, Container::open()?];
    let neighbour = neighbour(&fixture, &other)?;
    let first = Party::in_container(&fixture, SET, &container)?;
    let second = Party::in_container(&fixture, SET, &container)?;
    meanwhile(
        &fixture,
        Gate::Attach,
        || container.set_iommu(TYPE),
        &[
            ("the status of a member", &|| first.is_in()),
            ("opening a device of a member", &|| first.cannot_open()),
            ("opening a device of the other one", &|| {
                second.cannot_open()
            }),
            ("a request of the container", &|| {
                assert_eq!(container.unmap(0, PAGE64), Err(Errno::INVAL));
                Ok(())
            }),
            ("opening a device of the same set", &|| neighbour.open()),
            ("a request of another container", &|| answers(&other)),
        ],
    )?;
    first.open()?;
    second.open()?;
    answers(&container)
}

/// UNSET_CONTAINER, the release of a group's file, and the end of the backend
/// with the last group.
fn F162_a_group_leaves() -> TestResult {
    let fixture = Fixture::open()?;
    let [container, other] = [Container::open()?, Container::open()?];
    let member = Party::in_container(&fixture, SET, &container)?;
    container.set_iommu(TYPE)?;
    let neighbour = neighbour(&fixture, &other)?;
    let leaver = Party::in_container(&fixture, SET, &container)?;
    let bystanders: [Bystander<'_>; 4] = [
        ("the status of a member", &|| member.is_in()),
        ("opening a device of a member", &|| member.open()),
        ("a request of the container", &|| answers(&container)),
        ("opening a device of the same set", &|| neighbour.open()),
    ];
    let unset = || leaver.group.unset_container();
    meanwhile(&fixture, Gate::Detach, unset, &bystanders)?;
    assert_eq!(leaver.group.status()?, uapi::GROUP_FLAGS_VIABLE);
    leaver.group.set_container(&container)?;
    let Party { group, device } = leaver;
    let close = || {
        drop(group);
        Ok(())
    };
    meanwhile(&fixture, Gate::Detach, close, &bystanders)?;
    drop(device);

    // The last one. Nobody is left in the container.
    let unset = || member.group.unset_container();
    meanwhile(
        &fixture,
        Gate::Release,
        unset,
        &[
            ("the status of another container's group", &|| {
                neighbour.is_in()
            }),
            ("opening a device of the same set", &|| neighbour.open()),
            ("a request of another container", &|| answers(&other)),
        ],
    )?;
    assert_eq!(container.unmap(0, PAGE64), Err(Errno::INVAL));
    Ok(())
}

/// While a request is under way groups come and go, and devices too.
fn F163_mapping() -> TestResult {
    let fixture = Fixture::open()?;
    let container = Container::open()?;
    let member = Party::in_container(&fixture, SET, &container)?;
    container.set_iommu(TYPE)?;
    let joiner = Party::outside(&fixture, SET)?;
    meanwhile(
        &fixture,
        Gate::Map,
        || container.map_raw(READ_WRITE, 0, 0, PAGE64),
        &[
            ("the status of a member", &|| member.is_in()),
            ("opening a device of a member", &|| member.open()),
            ("a request of the container", &|| answers(&container)),
            ("an extension of the container", &|| {
                assert_eq!(container.check_extension(TYPE)?, 1);
                Ok(())
            }),
            ("a group that joins", &|| {
                Ok(joiner.group.set_container(&container)?)
            }),
            ("opening a device of that", &|| joiner.open()),
            ("a group that leaves", &|| {
                Ok(joiner.group.unset_container()?)
            }),
        ],
    )
}

/// The C core asks the backend under the lock of the container's groups.
fn R70_extensions_while_attaching() -> TestResult {
    let fixture = Fixture::open()?;
    let container = Container::open()?;
    let _member = Party::in_container(&fixture, SET, &container)?;
    container.set_iommu(TYPE)?;
    let joiner = Party::outside(&fixture, SET)?;
    meanwhile(
        &fixture,
        Gate::Attach,
        || joiner.group.set_container(&container),
        &[("an extension of the container", &|| {
            assert_eq!(container.check_extension(TYPE)?, 1);
            Ok(())
        })],
    )
}

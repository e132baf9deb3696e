// SPDX-License-Identifier: GPL-2.0
//! Devices that belong to a virtual machine of KVM: rows F144, F145, R-24 and
//!

use std::{
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use vfio_selftests::{
    device::Device,
    group::Group,
    kvm::{self, Kvm},
    module,
    target::{wait_for, Target},
    uapi,
};

use crate::{
    bench,
    check::{fails, permutations},
    fixture::{self, Fixture, Kind, Op},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F144_driver_sees_the_machine_by_group,
    F144_driver_sees_the_machine_by_node,
    F145_last_reference_by_group,
    F145_last_reference_by_node,
    F145_last_reference_of_a_real_device,
    R24_machines_come_and_go_while_devices_open.limit(120),
    R25_dying_machine_by_group,
    R25_dying_machine_by_node,
];

/// The machine that the driver saw when it opened the device, and when it
/// closed it, since this was last asked.
fn seen(target: &fixture::Device<'_>) -> anyhow::Result<Vec<(Kind, u64)>> {
    let events = target.events()?;
    Ok(events
        .iter()
        .filter_map(|event| {
            [Kind::Open, Kind::Close]
                .into_iter()
                .find(|kind| *kind as u32 == event.kind)
                .map(|kind| (kind, event.a))
        })
        .collect())
}

/// Waits until there are no more virtual machines than before.
fn only(machines: usize) -> TestResult {
    wait_for("virtual machines to go", || kvm::machines() == machines)
}

fn F144_driver_sees_the_machine_by_group() -> TestResult {
    let kvm = Kvm::load()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let idle = kvm::machines();
    // Without a machine there is none.
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(target.status()?.kvm, 0);
    // One that is named now is for later sessions.
    let machine = kvm.machine()?;
    machine.add(&session.group)?;
    fails(machine.add(&session.group), Errno::EXIST);
    assert_eq!(target.status()?.kvm, 0);
    drop(session.device);
    assert_eq!(seen(&target)?, [(Kind::Open, 0), (Kind::Close, 0)]);

    let device = session.group.device(target.name())?;
    let linked = target.status()?.kvm;
    assert_ne!(linked, 0, "the session has no virtual machine");
    // It is the session's, whatever is named meanwhile.
    let second = session.group.device(target.name())?;
    machine.remove(&session.group)?;
    fails(machine.remove(&session.group), Errno::NOENT);
    let other = kvm.machine()?;
    other.add(&session.group)?;
    assert_eq!(target.status()?.kvm, linked);
    drop(device);
    assert_eq!(target.status()?.kvm, linked);
    drop(machine);
    assert_eq!(kvm::machines(), idle + 2);
    drop(second);
    assert_eq!(target.status()?.kvm, 0);
    only(idle + 1)?;
    assert_eq!(
        seen(&target)?,
        [(Kind::Open, linked), (Kind::Close, linked)]
    );
    // The other one is next.
    let device = session.group.device(target.name())?;
    let linked = target.status()?.kvm;
    assert_ne!(linked, 0);
    drop(device);
    assert_eq!(
        seen(&target)?,
        [(Kind::Open, linked), (Kind::Close, linked)]
    );
    drop((other, session.group, session.container));
    only(idle)
}

fn F144_driver_sees_the_machine_by_node() -> TestResult {
    let iommufd = bench::iommufd()?;
    let kvm = Kvm::load()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let idle = kvm::machines();
    let device = target.open_by_node()?;
    let machine = kvm.machine()?;
    machine.add(&device)?;
    // The file knows it, the device does not.
    assert_eq!(target.status()?.kvm, 0);
    device.bind(&iommufd)?;
    let linked = target.status()?.kvm;
    assert_ne!(linked, 0, "the session has no virtual machine");
    machine.remove(&device)?;
    assert_eq!(target.status()?.kvm, linked);
    drop(device);
    assert_eq!(target.status()?.kvm, 0);
    assert_eq!(
        seen(&target)?,
        [(Kind::Open, linked), (Kind::Close, linked)]
    );
    // A file that was told to forget it before it is bound has none.
    let device = target.open_by_node()?;
    machine.add(&device)?;
    machine.remove(&device)?;
    device.bind(&iommufd)?;
    assert_eq!(target.status()?.kvm, 0);
    drop(device);
    assert_eq!(seen(&target)?, [(Kind::Open, 0), (Kind::Close, 0)]);
    drop(machine);
    only(idle)
}

/// What keeps a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Keeper {
    /// Its own file.
    Machine,
    /// The file by which it was told of the device.
    Link,
    /// The open device.
    Device,
}

/// Closes the three in each order. `open` opens a device of the machine;
/// `is_open` tells whether its session goes on.
fn close_in_any_order<F>(
    open: impl Fn(&kvm::Machine) -> anyhow::Result<F>,
    is_open: impl Fn() -> anyhow::Result<bool>,
    link_has_the_device: bool,
) -> TestResult {
    use Keeper::{Device, Link, Machine};
    let kvm = Kvm::load()?;
    let idle = kvm::machines();
    for order in permutations([Machine, Link, Device]) {
        let machine = kvm.machine()?;
        let mut device = Some(open(&machine)?);
        let [vm, link] = machine.into_files();
        let (mut vm, mut link) = (Some(vm), Some(link));
        for keeper in order {
            match keeper {
                Machine => drop(vm.take()),
                Link => drop(link.take()),
                Device => drop(device.take()),
            }
            // A file that KVM knows is open until KVM forgets it.
            let session = device.is_some() || link_has_the_device && link.is_some();
            let case = format!("{order:?} after {keeper:?}");
            assert_eq!(is_open()?, session, "{case}");
            if session || vm.is_some() || link.is_some() {
                assert_eq!(kvm::machines(), idle + 1, "{case}");
            } else {
                only(idle)?;
            }
        }
    }
    Ok(())
}

fn F145_last_reference_by_group() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    close_in_any_order(
        |machine| {
            let session = target.open(uapi::TYPE1v2_IOMMU)?;
            drop(session.device);
            machine.add(&session.group)?;
            let device = session.group.device(target.name())?;
            assert_ne!(target.status()?.kvm, 0, "no virtual machine");
            Ok((device, session.group, session.container))
        },
        || Ok(target.status()?.open_count > 0),
        false,
    )?;
    // The group goes with its last file, also if that was KVM's.
    drop(Group::open_when_free(&target.group_name()?)?);
    Ok(())
}

fn F145_last_reference_by_node() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    close_in_any_order(
        |machine| {
            let device = target.open_by_node()?;
            machine.add(&device)?;
            device.bind(&iommufd)?;
            assert_ne!(target.status()?.kvm, 0, "no virtual machine");
            Ok(device)
        },
        || Ok(target.status()?.open_count > 0),
        true,
    )
}

/// The same with a device whose driver is `vfio-pci`.
fn F145_last_reference_of_a_real_device() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.group_name()?;
    let kvm = Kvm::load()?;
    let idle = kvm::machines();
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    drop(session.device);
    let machine = kvm.machine()?;
    machine.add(&session.group)?;
    let device: Device = session.group.device(edu.name())?;
    drop((session.group, session.container));
    let [vm, link] = machine.into_files();
    drop(vm);
    drop(link);
    // Nothing but the open device keeps it.
    assert_eq!(kvm::machines(), idle + 1);
    fails(Group::open(&name), Errno::BUSY);
    drop(device);
    only(idle)?;
    drop(Group::open_when_free(&name)?);
    Ok(())
}

/// Stops the other threads, also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Machines are made, told of the group, told to forget it, or just destroyed,
/// while devices of the group are opened and closed.
fn R24_machines_come_and_go_while_devices_open() -> TestResult {
    let kvm = Kvm::load()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    drop(session.device);
    let group = &session.group;
    let idle = kvm::machines();
    let stop = AtomicBool::new(false);
    let (mut with, mut without) = (0, 0);
    thread::scope(|scope| -> TestResult {
        let ending = Stop(&stop);
        let destroyer = scope.spawn(|| -> TestResult {
            while !stop.load(Ordering::Relaxed) {
                let machine = kvm.machine()?;
                machine.add(group)?;
                thread::sleep(Duration::from_millis(1));
                // Without telling it to forget the group.
                drop(machine);
            }
            Ok(())
        });
        let changer = scope.spawn(|| -> TestResult {
            let machine = kvm.machine()?;
            while !stop.load(Ordering::Relaxed) {
                machine.add(group)?;
                thread::yield_now();
                machine.remove(group)?;
            }
            Ok(())
        });
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            let device = group.device(target.name())?;
            let linked = target.status()?.kvm;
            match linked {
                0 => without += 1,
                _ => with += 1,
            }
            thread::yield_now();
            // What it has it keeps.
            assert_eq!(target.status()?.kvm, linked);
            drop(device);
            assert_eq!(target.status()?.kvm, 0);
        }
        drop(ending);
        destroyer.join().expect("a thread")?;
        changer.join().expect("a thread")
    })?;
    println!("opened with a machine {with} times, without {without}");
    assert!(with > 0, "no session ever had a machine");
    // Nobody named one last: the next session has none.
    let device = group.device(target.name())?;
    assert_eq!(target.status()?.kvm, 0);
    drop(device);
    only(idle)
}

/// `begin` begins a session with the file that has this number, after it was
/// told of a dying machine.
fn dying<F>(
    target: &fixture::Device<'_>,
    number: RawFd,
    begin: impl FnOnce() -> anyhow::Result<F>,
) -> TestResult {
    // The functions that count are KVM's.
    let _kvm = Kvm::load()?;
    let users =
        || -> anyhow::Result<[u64; 2]> { Ok([module::users("kvm")?, module::users(kvm::MODULE)?]) };
    let before = users()?;
    target.events()?;
    target.call(Op::DyingKvm, &[number.try_into()?])?;
    let session = begin()?;
    assert_eq!(target.status()?.kvm, 0, "the session has a dying machine");
    assert_eq!(seen(target)?, [(Kind::Open, 0)]);
    // Nothing of KVM is held on to.
    assert_eq!(users()?, before);
    target.call(Op::ForgetKvm, &[])?;
    drop(session);
    assert_eq!(seen(target)?, [(Kind::Close, 0)]);
    assert_eq!(users()?, before);
    Ok(())
}

fn R25_dying_machine_by_group() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    drop(session.device);
    let group = &session.group;
    for _ in 0..2 {
        let number = group.as_fd().as_raw_fd();
        dying(&target, number, || Ok(group.device(target.name())?))?;
    }
    Ok(())
}

fn R25_dying_machine_by_node() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    for _ in 0..2 {
        let device = target.open_by_node()?;
        let number = device.as_fd().as_raw_fd();
        dying(&target, number, || {
            device.bind(&iommufd)?;
            Ok(device)
        })?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Files of VFIO and the ways to wait for files, or to use them in the
//! background: poll and epoll (F172), the old asynchronous interface (F173),
//! `io_uring` (F174).
//!
//! No file of VFIO can be waited for. What a device has to say comes by
//! eventfds.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{epoll, PollFd, PollFlags, Timespec},
    io::Errno,
};
use vfio_selftests::{
    aio::{self, Context},
    device::{Device, Event},
    edu::Edu,
    group::Group,
    memory::Memory,
    pci,
    target::{wait_for, Session, Target},
    uapi,
    uring::{Command, Request, Ring},
    PAGE,
};

use super::teardown::{begin_unbind, has_group};
use crate::{
    bench,
    check::{fails, fails_in},
    fixture::{
        abi::{self, VIRQ_HANDLER},
        Fixture, Kind, Knob, Op,
    },
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F172_poll_and_epoll,
    F172_eventfds_of_devices,
    F173_asynchronous_requests,
    F173_asynchronous_wait_for_an_interrupt,
    F174_requests_of_a_ring,
    F174_streams_in_a_ring,
    F174_ring_keeps_a_device,
    F174_unbind_waits_for_a_ring,
];

/// What a file is good for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Use {
    /// Requests only.
    Requests,
    /// Reading and writing too.
    Both,
    /// Reading only, as a stream.
    Reading,
    /// Writing only, as a stream.
    Writing,
}

/// Does something with a file of each kind.
fn with_each_file(work: impl Fn(&str, Use, BorrowedFd<'_>) -> TestResult) -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let empty = vfio_selftests::container::Container::open()?;
    let fixture = Fixture::open()?;
    // One file of a node is bound, the other is not.
    let (by_node, unbound) = (fixture.device()?, fixture.device()?);
    let (bound, _) = by_node.bind_to(&iommufd)?;
    let unbound = unbound_node(&unbound)?;
    // A group whose device is gone.
    let gone = fixture.device()?;
    let zombie = gone.open_group()?;
    gone.remove()?;
    let migrating = || {
        fixture
            .build()
            .flags(abi::MIGRATION)
            .knob(Knob::MigFlags, uapi::MIGRATION_STOP_COPY as i64)
            .create()
    };
    let (source, target) = (migrating()?, migrating()?);
    let there = source.open(uapi::TYPE1v2_IOMMU)?;
    let here = target.open(uapi::TYPE1v2_IOMMU)?;
    let data = |session: &Session, state| -> anyhow::Result<OwnedFd> {
        let file = session.device.set_migration_state(state)?;
        Ok(file.expect("a data file"))
    };
    let saving = data(&there, uapi::DEVICE_STATE_STOP_COPY)?;
    let resuming = data(&here, uapi::DEVICE_STATE_RESUMING)?;

    for (name, use_, file) in [
        ("empty container", Use::Requests, empty.as_fd()),
        ("container", Use::Requests, session.container.as_fd()),
        ("group", Use::Requests, session.group.as_fd()),
        ("group without devices", Use::Requests, zombie.as_fd()),
        ("device", Use::Both, session.device.as_fd()),
        ("device of a node", Use::Both, bound.as_fd()),
        ("unbound device", Use::Both, unbound.as_fd()),
        ("data that come", Use::Reading, saving.as_fd()),
        ("data that go", Use::Writing, resuming.as_fd()),
    ] {
        work(name, use_, file)?;
    }
    // Nothing of it did harm.
    assert_eq!(Edu::new(&session.device)?.factorial(5)?, 120);
    bound.info()?;
    there.device.info()?;
    Ok(())
}

/// The file of a node that is not bound.
fn unbound_node(target: &impl Target) -> anyhow::Result<Device> {
    let device = target.open_by_node()?;
    fails(device.info(), Errno::INVAL);
    Ok(device)
}

/// What every file that cannot be waited for is at all times.
const ALWAYS: PollFlags = PollFlags::IN
    .union(PollFlags::OUT)
    .union(PollFlags::RDNORM)
    .union(PollFlags::WRNORM);

fn F172_poll_and_epoll() -> TestResult {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    with_each_file(|name, _, file| {
        let mut fds = [PollFd::new(&file, PollFlags::all())];
        let long = Timespec {
            tv_sec: 30,
            tv_nsec: 0,
        };
        assert_eq!(rustix::event::poll(&mut fds, Some(&long))?, 1, "{name}");
        assert_eq!(fds[0].revents(), ALWAYS, "{name}");
        // Nothing else is ever the case.
        let mut fds = [PollFd::new(&file, PollFlags::PRI | PollFlags::RDHUP)];
        let now = Timespec::default();
        assert_eq!(rustix::event::poll(&mut fds, Some(&now))?, 0, "{name}");
        for flags in [
            epoll::EventFlags::IN,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
            epoll::EventFlags::empty(),
        ] {
            let data = epoll::EventData::new_u64(1);
            fails_in(name, epoll::add(&set, file, data, flags), Errno::PERM);
            fails_in(name, epoll::modify(&set, file, data, flags), Errno::PERM);
        }
        fails_in(name, epoll::delete(&set, file), Errno::PERM);
        Ok(())
    })
}

/// What is ready in a set of files, after so many seconds at most.
fn ready(set: &OwnedFd, seconds: i64) -> anyhow::Result<Vec<u64>> {
    let mut events = Vec::with_capacity(4);
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    epoll::wait(
        set,
        rustix::buffer::spare_capacity(&mut events),
        Some(&time),
    )?;
    Ok(events.iter().map(|event| event.data.u64()).collect())
}

fn F172_eventfds_of_devices() -> TestResult {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let watch = |event: &Event, number| {
        let data = epoll::EventData::new_u64(number);
        epoll::add(&set, event, data, epoll::EventFlags::IN)
    };
    // One that the device signals.
    let open = bench::open()?;
    let device = &open.session.device;
    let edu = Edu::new(device)?;
    let interrupt = Event::new()?;
    watch(&interrupt, 1)?;
    device.set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&interrupt])?;
    assert_eq!(ready(&set, 0)?, []);
    edu.raise_irq(0x10)?;
    assert_eq!(ready(&set, 20)?, [1]);
    assert_eq!(interrupt.wait(0)?, 1);
    edu.acknowledge_irq(0x10)?;
    assert_eq!(ready(&set, 0)?, []);

    // One that a driver listens to as well: it takes the signal for itself.
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let heard = Event::new()?;
    watch(&heard, 2)?;
    let number = heard.as_fd().as_raw_fd().try_into()?;
    target.call(Op::VirqEnable, &[0, number, VIRQ_HANDLER])?;
    for count in 1..4 {
        heard.signal()?;
        target.wait_count(Kind::VirqHandler, count)?;
        assert_eq!(ready(&set, 0)?, []);
    }
    target.call(Op::VirqDisable, &[0])?;
    heard.signal()?;
    assert_eq!(ready(&set, 20)?, [2]);
    assert_eq!(target.count(Kind::VirqHandler)?, 3);
    Ok(())
}

fn F173_asynchronous_requests() -> TestResult {
    use aio::Command;
    let context = Context::new()?;
    let memory = Memory::anonymous(PAGE)?;
    let reads = [Command::Read, Command::ReadVectored];
    let writes = [Command::Write, Command::WriteVectored];
    with_each_file(|name, use_, file| {
        let transfer = |command| context.transfer(command, file, &memory, 0);
        let cannot = |commands: &[Command], errno| {
            for command in commands {
                fails_in(&format!("{name}: {command:?}"), transfer(*command), errno);
            }
        };
        // A file that is not open for it, or one that has no such operation.
        let read = if use_ == Use::Writing {
            Errno::BADF
        } else {
            Errno::INVAL
        };
        let write = if use_ == Use::Reading {
            Errno::BADF
        } else {
            Errno::INVAL
        };
        cannot(&reads, read);
        cannot(&writes, write);
        cannot(&[Command::Sync], Errno::INVAL);
        // It is ready at once, or never.
        let in_out = libc::POLLIN | libc::POLLOUT;
        context.poll(file, in_out)?;
        assert_eq!(context.wait(20)?, Some(in_out as u64), "{name}");
        fails_in(name, context.poll(file, libc::POLLPRI), Errno::INVAL);
        Ok(())
    })
}

fn F173_asynchronous_wait_for_an_interrupt() -> TestResult {
    let context = Context::new()?;
    let open = bench::open()?;
    let device = &open.session.device;
    let edu = Edu::new(device)?;
    let event = Event::new()?;
    device.set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&event])?;
    context.poll(&event, libc::POLLIN)?;
    assert_eq!(context.wait(0)?, None);
    edu.raise_irq(0x20)?;
    assert_eq!(context.wait(20)?, Some(libc::POLLIN as u64));
    assert_eq!(event.wait(0)?, 1);
    edu.acknowledge_irq(0x20)?;
    // Closed while somebody waits: the device does not care.
    context.poll(&event, libc::POLLIN)?;
    drop(event);
    edu.raise_irq(0x20)?;
    edu.acknowledge_irq(0x20)?;
    assert_eq!(context.wait(20)?, Some(libc::POLLIN as u64));
    Ok(())
}

fn ring() -> anyhow::Result<Ring> {
    match Ring::new() {
        Err(Errno::NOSYS) => skip("this kernel has no io_uring"),
        ring => Ok(ring?),
    }
}

/// A request that transfers something.
fn transfer(command: Command, memory: &Memory, offset: u64) -> Request<'_> {
    Request {
        memory: Some(memory),
        offset,
        ..Request::new(command)
    }
}

fn F174_requests_of_a_ring() -> TestResult {
    let ring = ring()?;
    let memory = Memory::anonymous(4)?;
    let poll = |events: i16| Request {
        events: events as u32,
        ..Request::new(Command::Poll)
    };
    let in_out = libc::POLLIN | libc::POLLOUT;
    with_each_file(|name, use_, file| {
        let run = |request: Request<'_>| ring.run(file, &request);
        fails_in(name, run(Request::new(Command::Sync)), Errno::INVAL);
        fails_in(name, run(Request::new(Command::Pass)), Errno::OPNOTSUPP);
        assert_eq!(run(poll(in_out)), Ok(in_out as u32), "{name}");
        fails_in(name, run(poll(libc::POLLPRI)), Errno::INVAL);
        if use_ == Use::Requests || name == "unbound device" {
            for command in [Command::Read, Command::Write] {
                fails_in(name, run(transfer(command, &memory, 0)), Errno::INVAL);
            }
        }
        Ok(())
    })?;

    // A device that can be read and written can be so here.
    let open = bench::open()?;
    let device = &open.session.device;
    let edu = Edu::new(device)?;
    let config = device.region(uapi::PCI_CONFIG_REGION_INDEX)?.head.offset;
    assert_eq!(
        ring.run(device, &transfer(Command::Read, &memory, config)),
        Ok(4)
    );
    let id = u32::from(pci::EDU.1) << 16 | u32::from(pci::EDU.0);
    assert_eq!(memory.read_u32(0), id);
    // The register that inverts what it is given.
    let liveness = device.region(uapi::PCI_BAR0_REGION_INDEX)?.head.offset + 4;
    memory.write_u32(0, 0x1234_5678);
    assert_eq!(
        ring.run(device, &transfer(Command::Write, &memory, liveness)),
        Ok(4)
    );
    assert_eq!(
        ring.run(device, &transfer(Command::Read, &memory, liveness)),
        Ok(4)
    );
    assert_eq!(memory.read_u32(0), !0x1234_5678);
    // Without an offset it is that of the file, which moves on from 0 to the second
    // register.
    for register in [edu.id()?, !0x1234_5678] {
        assert_eq!(
            ring.run(device, &transfer(Command::Read, &memory, u64::MAX)),
            Ok(4)
        );
        assert_eq!(memory.read_u32(0), register);
    }
    let nowhere = Memory::inaccessible(4)?;
    fails(
        ring.run(device, &transfer(Command::Read, &nowhere, config)),
        Errno::FAULT,
    );
    let beyond = u64::from(uapi::PCI_NUM_REGIONS + 10) << 40;
    fails(
        ring.run(device, &transfer(Command::Read, &memory, beyond)),
        Errno::INVAL,
    );
    Ok(())
}

/// Data of a migration: there is no offset, so whatever is said is ignored.
fn F174_streams_in_a_ring() -> TestResult {
    let ring = ring()?;
    let fixture = Fixture::open()?;
    let migrating = || {
        fixture
            .build()
            .flags(abi::MIGRATION)
            .knob(Knob::MigFlags, uapi::MIGRATION_STOP_COPY as i64)
            .create()
    };
    let (source, target) = (migrating()?, migrating()?);
    let there = source.open(uapi::TYPE1v2_IOMMU)?;
    let here = target.open(uapi::TYPE1v2_IOMMU)?;
    there.device.write(0, b"by a ring")?;
    let saving = there
        .device
        .set_migration_state(uapi::DEVICE_STATE_STOP_COPY)?
        .expect("a file");
    let resuming = here
        .device
        .set_migration_state(uapi::DEVICE_STATE_RESUMING)?
        .expect("a file");
    let memory = Memory::anonymous(PAGE)?;
    let read = |offset| ring.run(&saving, &transfer(Command::Read, &memory, offset));
    let write = |offset| ring.run(&resuming, &transfer(Command::Write, &memory, offset));
    fails(
        ring.run(&saving, &transfer(Command::Write, &memory, 0)),
        Errno::BADF,
    );
    fails(
        ring.run(&resuming, &transfer(Command::Read, &memory, 0)),
        Errno::BADF,
    );
    assert_eq!(read(0), Ok(PAGE as u32));
    assert_eq!(read(u64::MAX), Ok(0));
    assert_eq!(write(u64::MAX), Ok(PAGE as u32));
    fails(write(0), Errno::INVAL);
    here.device
        .set_migration_state(uapi::DEVICE_STATE_RUNNING)?;
    assert_eq!(here.device.read::<9>(0)?, *b"by a ring");
    fails(write(0), Errno::NODEV);
    there
        .device
        .set_migration_state(uapi::DEVICE_STATE_RUNNING)?;
    fails(read(0), Errno::NODEV);
    Ok(())
}

/// A file that a ring has stays open when its descriptor is closed.
fn F174_ring_keeps_a_device() -> TestResult {
    let ring = ring()?;
    let edu = bench::bound_edu()?;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let config = device.region(uapi::PCI_CONFIG_REGION_INDEX)?.head.offset;
    let second = File::from(OwnedFd::from(group.device(edu.name())?));
    ring.register(&[
        device.as_fd(),
        group.as_fd(),
        container.as_fd(),
        second.as_fd(),
    ])?;
    drop((device, second));
    fails(group.unset_container(), Errno::BUSY);
    let memory = Memory::anonymous(4)?;
    for number in [0, 3] {
        let read = transfer(Command::Read, &memory, config);
        assert_eq!(ring.run_registered(number, &read), Ok(4));
        assert_eq!(memory.read_u32(0) as u16, pci::EDU.0);
    }
    drop((group, container));
    let name = edu.group_name()?;
    fails(Group::open(&name), Errno::BUSY);
    drop(ring);
    Group::open_when_free(&name)?;
    edu.open(uapi::TYPE1v2_IOMMU)?.device.info()?;
    Ok(())
}

fn F174_unbind_waits_for_a_ring() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let unbinding = begin_unbind(&edu, &session.device)?;
    // Not before: the process that unbinds would inherit the memory of the ring,
    // and so keep it.
    let ring = ring()?;
    ring.register(&[session.device.as_fd()])?;
    drop(session);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(has_group(&edu)?, "the device went while a ring had it");
    drop(ring);
    unbinding.join()?;
    wait_for("the driver to let go", || edu.driver().is_none())
}

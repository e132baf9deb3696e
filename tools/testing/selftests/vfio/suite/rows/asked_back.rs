// SPDX-License-Identifier: GPL-2.0
//! A PCI device is taken away while it is in use: the eventfd by which the user
//! is asked to give it back (F168), removal from the bus and back (F170), and
//! users that take it away from themselves (F171).

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::io::Errno;
use vfio_selftests::{
    device::{Device, Event},
    edu::Edu,
    kmsg,
    memory::Memory,
    pci::{Bound, PciDevice},
    process::Child,
    sysfs,
    target::{wait_for, Session, Target},
    uapi::{self, IrqSet},
    PAGE,
};

use super::{
    map::IOVA,
    teardown::{begin_unbind, has_group},
};
use crate::{
    bench,
    check::{fails, pinned_pages},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F168_request_eventfd,
    F168_requests_are_repeated.limit(120),
    F168_unbind_without_an_eventfd,
    F168_error_eventfd,
    F170_removed_while_in_use,
    F170_removed_while_only_the_group_is_open,
    F170_rescan_while_in_use,
    F171_unbind_in_a_thread_of_the_user,
    F171_user_is_killed_while_a_child_unbinds,
];

const REQUEST: u32 = uapi::PCI_REQ_IRQ_INDEX;
const ERROR: u32 = uapi::PCI_ERR_IRQ_INDEX;
/// What the kernel does at once, on a slow machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A request on the one vector of an index.
fn vector(index: u32, data: u32, bytes: &[u8]) -> (IrqSet, Vec<u8>) {
    let set = IrqSet {
        flags: data | uapi::IRQ_SET_ACTION_TRIGGER,
        index,
        count: 1,
        ..Default::default()
    };
    (set, bytes.to_vec())
}

/// What an index of this kind can do: one vector, an eventfd for it, and no
/// more.
fn check_index(device: &Device, index: u32) -> TestResult {
    let info = device.irq_info(index)?;
    assert_eq!(info.count, 1);
    assert_eq!(
        info.flags,
        uapi::IRQ_INFO_EVENTFD | uapi::IRQ_INFO_NORESIZE,
        "{:#x}",
        info.flags
    );
    let send = |(set, bytes): (IrqSet, Vec<u8>)| device.set_irqs(set, &bytes);
    let none = uapi::IRQ_SET_DATA_NONE;
    let boolean = uapi::IRQ_SET_DATA_BOOL;
    let eventfd = uapi::IRQ_SET_DATA_EVENTFD;
    // Without an eventfd there is nothing to signal, and nothing to take away.
    fails(send(vector(index, none, &[])), Errno::INVAL);
    send(vector(index, boolean, &[1]))?;
    fails(device.disable_irqs(index), Errno::INVAL);
    // No eventfd.
    let null = std::fs::File::open("/dev/null")?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&null).to_ne_bytes();
    fails(send(vector(index, eventfd, &number)), Errno::INVAL);
    let second = IrqSet {
        start: 1,
        ..vector(index, none, &[]).0
    };
    fails(device.set_irqs(second, &[]), Errno::INVAL);

    let event = Event::new()?;
    device.set_irq_eventfds(index, &[&event])?;
    assert_eq!(event.wait(0)?, 0);
    // It can be tried out.
    send(vector(index, none, &[]))?;
    assert_eq!(event.wait(0)?, 1);
    send(vector(index, boolean, &[1]))?;
    assert_eq!(event.wait(0)?, 1);
    send(vector(index, boolean, &[0]))?;
    assert_eq!(event.wait(0)?, 0);
    // Another eventfd takes its place, and in the end there is none.
    let other = Event::new()?;
    device.set_irq_eventfds(index, &[&other])?;
    send(vector(index, none, &[]))?;
    assert_eq!((event.wait(0)?, other.wait(0)?), (0, 1));
    send(vector(index, eventfd, &(-1_i32).to_ne_bytes()))?;
    fails(send(vector(index, none, &[])), Errno::INVAL);
    device.set_irq_eventfds(index, &[&event])?;
    device.disable_irqs(index)?;
    send(vector(index, boolean, &[1]))?;
    assert_eq!((event.wait(0)?, other.wait(0)?), (0, 0));
    Ok(())
}

fn F168_request_eventfd() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    check_index(&session.device, REQUEST)?;
    // It is asked through the eventfd when somebody wants the device back, ...
    let mut log = kmsg::Log::from_now()?;
    let unbinding = begin_unbind(&edu, &session.device)?;
    let relayed = log.with(&[edu.name(), "device request to user (#0)"])?;
    assert_eq!(relayed.len(), 1, "{relayed:?}");
    // ... which changes nothing for the user until it closes.
    assert_eq!(Edu::new(&session.device)?.factorial(6)?, 720);
    let start = Instant::now();
    drop(session);
    unbinding.join()?;
    assert!(start.elapsed() < AT_ONCE, "it took {:?}", start.elapsed());
    assert_eq!(edu.driver(), None);
    // Idle, it goes without asking anybody.
    let edu = edu.bind()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let event = Event::new()?;
    session.device.set_irq_eventfds(REQUEST, &[&event])?;
    drop(session);
    edu.unbind()?;
    assert_eq!(event.wait(0)?, 0);
    Ok(())
}

fn F168_requests_are_repeated() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let unbinding = begin_unbind(&edu, &session.device)?;
    // The user can still choose where the next request goes.
    let event = Event::new()?;
    session.device.set_irq_eventfds(REQUEST, &[&event])?;
    let start = Instant::now();
    assert_eq!(event.wait(40)?, 1, "it was asked once only");
    assert!(start.elapsed() > Duration::from_secs(5), "asked too often");
    drop(session);
    unbinding.join()?;
    assert_eq!(edu.driver(), None);
    Ok(())
}

fn F168_unbind_without_an_eventfd() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let mut log = kmsg::Log::from_now()?;
    let unbinding = Child::fork_without_files(|| edu.unbind())?;
    let mut said = Vec::new();
    wait_for("the kernel to say that it waits", || {
        let words = [edu.name(), "blocked until released by user"];
        said.extend(log.with(&words).unwrap_or_default());
        !said.is_empty()
    })?;
    assert_eq!(said[0].level, 4, "{said:?}");
    assert_eq!(Edu::new(&session.device)?.factorial(3)?, 6);
    assert!(has_group(&edu)?);
    let start = Instant::now();
    drop(session);
    unbinding.join()?;
    assert!(start.elapsed() < AT_ONCE, "it took {:?}", start.elapsed());
    assert_eq!(edu.driver(), None);
    Ok(())
}

/// Errors of the bus go to an eventfd of the same kind, whatever the bus is.
fn F168_error_eventfd() -> TestResult {
    for bound in [bench::bound_igb()?, bench::bound_edu()?] {
        let session = bound.open(uapi::TYPE1v2_IOMMU)?;
        check_index(&session.device, ERROR)?;
        // The two have nothing to do with each other.
        check_index(&session.device, REQUEST)?;
    }
    Ok(())
}

/// Brings devices that were removed back, also when a test fails.
struct Rescan;

impl Rescan {
    fn now() -> TestResult {
        sysfs::write("/sys/bus/pci/rescan", "1")
    }
}

impl Drop for Rescan {
    fn drop(&mut self) {
        if let Err(error) = Self::now() {
            eprintln!("{error:#}");
        }
    }
}

/// Where a device can be removed.
fn remove_file(device: &PciDevice) -> PathBuf {
    device.sysfs().join("remove")
}

/// A device that came back is found under its old name, and is as good as new.
fn works_again(name: &str) -> TestResult {
    let edu = PciDevice::at(name);
    anyhow::ensure!(edu.sysfs().exists(), "{name} did not come back");
    let edu = edu.bind()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(Edu::new(&session.device)?.factorial(4)?, 24);
    let memory = Memory::anonymous(2 * PAGE)?;
    memory.write(0, b"back again");
    session.container.map(&memory, IOVA)?;
    super::map::copy(&session.device, IOVA, IOVA + PAGE as u64, 10)?;
    assert_eq!(memory.read(PAGE, 10), b"back again");
    Ok(())
}

fn F170_removed_while_in_use() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.name().to_owned();
    let pinned = pinned_pages()?;
    let _rescan = Rescan;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(4 * PAGE)?;
    container.map(&memory, IOVA)?;
    let registers = device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
    registers.keep_from_children()?;
    let id = registers.read_u32(0);
    let asked = Event::new()?;
    device.set_irq_eventfds(REQUEST, &[&asked])?;

    let file = remove_file(&edu);
    let removing = Child::fork_without_files(|| sysfs::write(&file, "1"))?;
    assert!(asked.wait(40)? > 0, "nobody asked for the device");
    // It stays for its user, in all that makes it up.
    assert!(edu.sysfs().exists());
    assert_eq!(Edu::new(&device)?.factorial(5)?, 120);
    assert_eq!(registers.read_u32(0), id);
    assert_eq!(pinned_pages()?, pinned + 4);
    fails(group.device(&name), Errno::NODEV);
    drop(device);
    assert_eq!(registers.read_u32(0), id);
    assert!(edu.sysfs().exists(), "it went while it was mapped");
    drop(registers);
    removing.join()?;

    assert!(!edu.sysfs().exists());
    fails(group.status(), Errno::NODEV);
    fails(group.device(&name), Errno::NODEV);
    fails(container.info(), Errno::INVAL);
    assert_eq!(pinned_pages()?, pinned);
    // The old group stays dead when the device is back.
    Rescan::now()?;
    works_again(&name)?;
    fails(group.status(), Errno::NODEV);
    drop((group, container));
    works_again(&name)
}

fn F170_removed_while_only_the_group_is_open() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.name().to_owned();
    let pinned = pinned_pages()?;
    let _rescan = Rescan;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(4 * PAGE)?;
    container.map(&memory, IOVA)?;
    drop(device);
    // Returns: nobody has the device open.
    sysfs::write(remove_file(&edu), "1")?;
    assert!(!edu.sysfs().exists());
    fails(group.status(), Errno::NODEV);
    fails(group.unset_container(), Errno::INVAL);
    fails(group.set_container(&container), Errno::NODEV);
    fails(container.info(), Errno::INVAL);
    assert_eq!(pinned_pages()?, pinned);
    Rescan::now()?;
    works_again(&name)
}

/// Looking for new devices does not concern those that are there.
fn F170_rescan_while_in_use() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let registers = session.device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
    let before = (edu.iommu_group(), registers.read_u32(0));
    for file in [
        Path::new("/sys/bus/pci/rescan").to_owned(),
        edu.sysfs().join("rescan"),
    ] {
        sysfs::write(&file, "1")?;
        assert_eq!((edu.iommu_group(), registers.read_u32(0)), before);
        assert_eq!(Edu::new(&session.device)?.invert(9)?, !9);
    }
    Ok(())
}

/// Unbinds in a thread, and gives the device back in another one when asked to.
fn F171_unbind_in_a_thread_of_the_user() -> TestResult {
    for mapped in [false, true] {
        let edu = bench::bound_edu()?;
        let session = edu.open(uapi::TYPE1v2_IOMMU)?;
        let registers = session.device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
        let registers = mapped.then_some(registers);
        let asked = Event::new()?;
        session.device.set_irq_eventfds(REQUEST, &[&asked])?;
        thread::scope(|scope| -> TestResult {
            let unbinding = scope.spawn(|| edu.unbind());
            let result = give_back(&edu, &asked, session, registers);
            unbinding.join().expect("the thread that unbinds")?;
            result
        })?;
        assert_eq!(edu.driver(), None);
    }
    Ok(())
}

/// Closes everything once the device is asked for.
fn give_back(
    edu: &Bound,
    asked: &Event,
    session: Session,
    registers: Option<Memory>,
) -> TestResult {
    let count = asked.wait(40).context("wait for the request")?;
    assert!(count > 0, "nobody asked for the device");
    assert_eq!(Edu::new(&session.device)?.factorial(3)?, 6);
    let Session {
        device,
        group,
        container,
    } = session;
    drop(device);
    if let Some(registers) = registers {
        // The mapping is a use of its own.
        thread::sleep(Duration::from_millis(100));
        assert!(has_group(edu)?, "the device went while it was mapped");
        drop(registers);
    }
    // The node of the group goes a moment before the group does.
    wait_for("the group to go", || group.status() == Err(Errno::NODEV))?;
    assert!(!has_group(edu)?);
    fails(container.info(), Errno::INVAL);
    Ok(())
}

/// A process that has the device, and a child of it that has not, but unbinds
/// it. When the process is killed the child gets on.
fn F171_user_is_killed_while_a_child_unbinds() -> TestResult {
    let edu = bench::bound_edu()?;
    let pinned = pinned_pages()?;
    let (asked, done) = (Event::new()?, Event::new()?);
    let user = Child::fork(|| {
        let session = edu.open(uapi::TYPE1v2_IOMMU)?;
        let memory = Memory::anonymous(4 * PAGE)?;
        session.container.map(&memory, IOVA)?;
        let unbinding = begin_unbind(&edu, &session.device)?;
        asked.signal()?;
        // In vain: it is killed while it waits.
        unbinding.join()?;
        done.signal()?;
        Ok(())
    })?;
    assert_eq!(asked.wait(40)?, 1, "the device was not asked for");
    assert!(has_group(&edu)?);
    assert_eq!(pinned_pages()?, pinned + 4);
    user.kill()?;
    wait_for("the end of unbinding", || edu.driver().is_none())?;
    assert_eq!(done.wait(0)?, 0);
    wait_for("the group to go", || !has_group(&edu).unwrap_or(true))?;
    assert_eq!(pinned_pages()?, pinned);
    edu.bind()?.open(uapi::TYPE1v2_IOMMU)?.device.info()?;
    Ok(())
}

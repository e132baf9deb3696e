// SPDX-License-Identifier: GPL-2.0
//! Files of VFIO, and mappings of a device, that only somebody else has left: a
//! socket (F165), another process that took them (F166), a child (F167).

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    thread,
    time::Duration,
};

use rustix::io::Errno;
use vfio_selftests::{
    container::Container,
    device::{Device, Event},
    edu::Edu,
    group::Group,
    iommufd::Iommufd,
    memory::Memory,
    passing,
    pci::Bound,
    process::{in_child, Child},
    target::{wait_for, Session, Target},
    uapi, PAGE,
};

use super::{
    map::{copy, IOVA},
    teardown::{begin_unbind, has_group},
};
use crate::{
    bench,
    check::{fails, pinned_pages},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F165_files_in_a_socket_outlive_the_sender,
    F165_files_that_nobody_receives,
    F165_files_in_a_socket_that_holds_itself,
    F165_unbind_waits_for_files_in_a_socket,
    F166_files_taken_by_group,
    F166_files_taken_by_node,
    F167_region_mapping_of_a_child,
];

/// How many pages the first owner of the files maps.
const PAGES: usize = 4;
const LEN: u64 = (PAGES * PAGE) as u64;
/// What is in them.
const WORDS: &[u8] = b"from the first owner";
/// Where the next owner maps its own page.
const OWN: u64 = 0x40_0000;

/// Opens the device, and maps memory that has something in it.
fn open_and_map(edu: &Bound) -> anyhow::Result<(Session, Memory)> {
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(PAGES * PAGE)?;
    memory.write(0, WORDS);
    session.container.map(&memory, IOVA)?;
    Ok((session, memory))
}

/// Puts the three files of a session into a socket.
fn send(socket: &OwnedFd, session: &Session) -> TestResult {
    passing::send(
        socket,
        &[
            session.container.as_fd(),
            session.group.as_fd(),
            session.device.as_fd(),
        ],
    )
}

/// The files work for whoever has them now, and what the first owner mapped is
/// still mapped.
fn use_files(edu: &Bound, container: &Container, group: &Group, device: &Device) -> TestResult {
    let all = uapi::GROUP_FLAGS_VIABLE | uapi::GROUP_FLAGS_CONTAINER_SET;
    assert_eq!(group.status()?, all);
    assert_eq!(Edu::new(device)?.factorial(5)?, 120);
    group.device(edu.name())?.info()?;
    let own = Memory::anonymous(PAGE)?;
    container.map(&own, OWN)?;
    copy(device, IOVA, OWN, WORDS.len() as u64)?;
    assert_eq!(own.read(0, WORDS.len()), WORDS);
    assert_eq!(container.unmap(IOVA, LEN)?, LEN);
    assert_eq!(container.unmap_all()?, PAGE as u64);
    Ok(())
}

/// The group is free, and no page is held more than before.
fn all_is_free(edu: &Bound, pinned: i64) -> TestResult {
    Group::open_when_free(&edu.group_name()?)?;
    wait_for("the pages to be let go", || {
        pinned_pages().is_ok_and(|now| now == pinned)
    })
}

fn F165_files_in_a_socket_outlive_the_sender() -> TestResult {
    let edu = bench::bound_edu()?;
    let pinned = pinned_pages()?;
    let [receiver, sender] = passing::socket()?;
    in_child(|| {
        let (session, _memory) = open_and_map(&edu)?;
        send(&sender, &session)
    })?;
    drop(sender);
    // Nobody has a descriptor, but the files are there, and so is the mapping.
    fails(Group::open(&edu.group_name()?), Errno::BUSY);
    assert_eq!(pinned_pages()?, pinned + PAGES as i64);

    let [container, group, device] = passing::receive(&receiver)?;
    let (container, group, device) = (
        Container::from(container),
        Group::from(group),
        Device::from(device),
    );
    use_files(&edu, &container, &group, &device)?;
    drop((container, group, device));
    all_is_free(&edu, pinned)
}

fn F165_files_that_nobody_receives() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.group_name()?;
    let pinned = pinned_pages()?;
    // Who sent them ends, or lives on.
    for sender_ends in [false, true] {
        let [receiver, sender] = passing::socket()?;
        let send_them = || {
            let (session, _memory) = open_and_map(&edu)?;
            send(&sender, &session)
        };
        match sender_ends {
            true => in_child(send_them)?,
            false => send_them()?,
        }
        drop(sender);
        fails(Group::open(&name), Errno::BUSY);
        assert_eq!(pinned_pages()?, pinned + PAGES as i64);
        drop(receiver);
        all_is_free(&edu, pinned)?;
    }
    // Each file alone in a socket: it holds what it always holds.
    for lonely in 0..3 {
        let [receiver, sender] = passing::socket()?;
        let (session, memory) = open_and_map(&edu)?;
        let files = [
            session.container.as_fd(),
            session.group.as_fd(),
            session.device.as_fd(),
        ];
        passing::send(&sender, &files[lonely..=lonely])?;
        drop((session, memory, sender));
        if lonely == 0 {
            // A container holds no group.
            Group::open_when_free(&name)?;
        } else {
            fails(Group::open(&name), Errno::BUSY);
        }
        drop(receiver);
        all_is_free(&edu, pinned)?;
    }
    edu.open(uapi::TYPE1v2_IOMMU)?.device.info()?;
    Ok(())
}

/// The receiving end is in its own queue, with the files: nobody can ever read
/// it, and the kernel has to find that out.
fn F165_files_in_a_socket_that_holds_itself() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.group_name()?;
    let pinned = pinned_pages()?;
    let [receiver, sender] = passing::socket()?;
    let (session, memory) = open_and_map(&edu)?;
    passing::send(
        &sender,
        &[
            receiver.as_fd(),
            session.device.as_fd(),
            session.container.as_fd(),
            session.group.as_fd(),
        ],
    )?;
    drop((session, memory));
    drop(receiver);
    fails(Group::open(&name), Errno::BUSY);
    assert_eq!(pinned_pages()?, pinned + PAGES as i64);
    drop(sender);
    all_is_free(&edu, pinned)?;
    edu.open(uapi::TYPE1v2_IOMMU)?.device.info()?;
    Ok(())
}

fn F165_unbind_waits_for_files_in_a_socket() -> TestResult {
    let edu = bench::bound_edu()?;
    let pinned = pinned_pages()?;
    let (session, memory) = open_and_map(&edu)?;
    let unbinding = begin_unbind(&edu, &session.device)?;
    let [receiver, sender] = passing::socket()?;
    send(&sender, &session)?;
    drop((session, memory, sender));
    thread::sleep(Duration::from_millis(200));
    assert!(has_group(&edu)?, "the device went while a socket held it");
    assert_eq!(pinned_pages()?, pinned + PAGES as i64);
    drop(receiver);
    unbinding.join()?;
    assert_eq!(edu.driver(), None);
    assert_eq!(pinned_pages()?, pinned);
    Ok(())
}

/// A child that opens files and tells their numbers, so that they can be taken
/// from it. It keeps them until it is killed.
fn owner(open: impl FnOnce() -> anyhow::Result<Vec<OwnedFd>>) -> anyhow::Result<(Child, Memory)> {
    let numbers = Memory::shared(PAGE)?;
    let ready = Event::new()?;
    let child = Child::fork(|| {
        let files = open()?;
        for (n, file) in files.iter().enumerate() {
            numbers.write_u32(4 * n, file.as_raw_fd().try_into()?);
        }
        ready.signal()?;
        loop {
            thread::park();
        }
    })?;
    assert_eq!(ready.wait(30)?, 1, "the owner did not open its files");
    Ok((child, numbers))
}

/// Takes the first `N` files of an owner.
fn take<const N: usize>(owner: &(Child, Memory)) -> anyhow::Result<[OwnedFd; N]> {
    let (child, numbers) = owner;
    let files: Vec<_> = (0..N)
        .map(|n| passing::take(child.pid(), numbers.read_u32(4 * n).try_into()?))
        .collect::<anyhow::Result<_>>()?;
    Ok(files.try_into().expect("as many as asked for"))
}

fn F166_files_taken_by_group() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.group_name()?;
    let pinned = pinned_pages()?;
    let owner = owner(|| {
        let (session, memory) = open_and_map(&edu)?;
        // It ends with the process.
        std::mem::forget(memory);
        let Session {
            device,
            group,
            container,
        } = session;
        Ok(vec![
            container.as_fd().try_clone_to_owned()?,
            group.as_fd().try_clone_to_owned()?,
            device.into(),
        ])
    })?;
    let [container, group, device] = take(&owner)?;
    let (container, group, device) = (
        Container::from(container),
        Group::from(group),
        Device::from(device),
    );
    assert_eq!(Edu::new(&device)?.factorial(4)?, 24);
    fails(Group::open(&name), Errno::BUSY);
    owner.0.kill()?;
    // Its pages are held for the device, although it is gone.
    assert_eq!(pinned_pages()?, pinned + PAGES as i64);
    use_files(&edu, &container, &group, &device)?;

    // The device alone keeps the group, as ever.
    drop((container, group));
    fails(Group::open(&name), Errno::BUSY);
    assert_eq!(Edu::new(&device)?.invert(7)?, !7);
    drop(device);
    all_is_free(&edu, pinned)
}

fn F166_files_taken_by_node() -> TestResult {
    bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let pinned = pinned_pages()?;
    let owner = owner(|| {
        let iommufd = bench::iommufd()?;
        let (device, _) = edu.bind_to(&iommufd)?;
        Ok(vec![iommufd.as_fd().try_clone_to_owned()?, device.into()])
    })?;
    let [iommufd, device] = take(&owner)?;
    let (iommufd, device) = (Iommufd::from(iommufd), Device::from(device));
    let ioas = iommufd.ioas()?;
    owner.0.kill()?;
    device.attach(ioas)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    memory.write(0, WORDS);
    iommufd.map(ioas, &memory, IOVA)?;
    copy(&device, IOVA, IOVA + PAGE as u64, WORDS.len() as u64)?;
    assert_eq!(memory.read(PAGE, WORDS.len()), WORDS);
    fails(Group::open(&edu.group_name()?), Errno::BUSY);
    drop((device, iommufd));
    all_is_free(&edu, pinned)
}

/// The register that gives back what it is given, with all bits inverted.
const LIVENESS: usize = 4;

/// What a test and the child that has the mapping say to each other, in memory
/// that they share: what to write to the device; the same again, once that is
/// done; and what the device answered.
struct Talk(Memory);

impl Talk {
    const ASKED: usize = 0;
    const DONE: usize = 4;
    const ANSWER: usize = 8;
    /// Asks the child to end.
    const END: u32 = u32::MAX;

    fn ask(&self, value: u32) -> anyhow::Result<u32> {
        self.0.write_u32(Self::ASKED, value);
        wait_for("an answer of the child", || {
            self.0.read_u32(Self::DONE) == value
        })?;
        Ok(self.0.read_u32(Self::ANSWER))
    }

    /// What the child does.
    fn answer(&self, registers: &Memory) -> TestResult {
        loop {
            let asked = self.0.read_u32(Self::ASKED);
            if asked == Self::END {
                return Ok(());
            }
            if asked != self.0.read_u32(Self::DONE) {
                registers.write_u32(LIVENESS, asked);
                self.0.write_u32(Self::ANSWER, registers.read_u32(LIVENESS));
                self.0.write_u32(Self::DONE, asked);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn F167_region_mapping_of_a_child() -> TestResult {
    for killed in [false, true] {
        let edu = bench::bound_edu()?;
        let session = edu.open(uapi::TYPE1v2_IOMMU)?;
        Edu::new(&session.device)?;
        let registers = session.device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
        let talk = Talk(Memory::shared(PAGE)?);
        let child = Child::fork_without_files(|| talk.answer(&registers))?;
        assert_eq!(talk.ask(1)?, !1);
        // From here on only the child has it; and so the one that unbinds has
        // not, which is another copy of this process.
        drop(registers);
        let unbinding = begin_unbind(&edu, &session.device)?;
        drop(session);
        fails(Group::open(&edu.group_name()?), Errno::BUSY);
        for value in 2..5 {
            assert_eq!(talk.ask(value)?, !value);
            assert!(has_group(&edu)?, "the device went while it was mapped");
            thread::sleep(Duration::from_millis(50));
        }
        if killed {
            child.kill()?;
        } else {
            talk.0.write_u32(Talk::ASKED, Talk::END);
            child.join()?;
        }
        unbinding.join()?;
        assert_eq!(edu.driver(), None);
    }
    Ok(())
}

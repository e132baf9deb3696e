// SPDX-License-Identifier: GPL-2.0
//! Who is charged for what when drivers pin pages and real devices come and go,
//! and pages that nobody is charged for: rows F125, R-22 and R-63.

use rustix::{io::Errno, thread::CapabilitySet};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::Memory,
    process,
    target::Target,
    uapi, PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench,
    check::{fails, Books},
    emulated::{touched, By, BOTH},
    fixture::{Fixture, Op},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F125_pins_before_a_real_device,
    F125_pins_beside_a_real_device,
    F125_replay_over_the_limit,
    R22_pins_outlive_the_real_device,
    R63_reserved_pages_are_let_go.holds(Holds::OnlyRustType1),
];

const PAGE64: u64 = PAGE as u64;

fn F125_pins_before_a_real_device() -> TestResult {
    let edu = bench::bound_edu()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(16)?;
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    assert_eq!(target.pin(IOVA, 4, BOTH)?, 4);
    books.say(4, 4);
    for _ in 0..2 {
        // All is held now, twice what was held before, but charged once.
        let physical = edu.join(container)?;
        books.say(16, 20);
        // As long as all is charged, pinning more or less changes nothing.
        assert_eq!(target.pin(IOVA + 10 * PAGE64, 2, BOTH)?, 2);
        books.say(16, 22);
        target.unpin(IOVA)?;
        books.say(16, 18);
        assert_eq!(target.pin(IOVA, 4, BOTH)?, 4);
        assert_eq!(target.pin(IOVA, 4, BOTH)?, 4);
        books.say(16, 22);
        // What is pinned twice is charged once.
        physical.unset_container()?;
        books.say(6, 6);
        target.unpin(IOVA)?;
        books.say(6, 6);
        target.unpin(IOVA + 10 * PAGE64)?;
        books.say(4, 4);
    }
    // The driver gives back what is charged to nobody but the mapping.
    let physical = edu.join(container)?;
    assert_eq!(container.unmap(IOVA, 16 * PAGE64)?, 16 * PAGE64);
    books.say(0, 0);
    // The same with the pins made beside the real device, and it leaves.
    container.map(&memory, IOVA)?;
    assert_eq!(target.pin(IOVA + 8 * PAGE64, 8, BOTH)?, 8);
    books.say(16, 24);
    physical.unset_container()?;
    books.say(8, 8);
    assert_eq!(container.unmap(IOVA, 16 * PAGE64)?, 16 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn F125_pins_beside_a_real_device() -> TestResult {
    let edu = bench::bound_edu()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let container = Container::open()?;
    let physical = edu.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(16)?;
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    books.say(16, 16);
    let emulated = target.join(&container)?;
    let device = emulated.device(target.name())?;
    assert_eq!(target.pin(IOVA + PAGE64, 5, BOTH)?, 5);
    books.say(16, 21);
    // The emulated device leaves: its pins go with it.
    drop(device);
    books.say(16, 16);
    emulated.unset_container()?;
    books.say(16, 16);
    emulated.set_container(&container)?;
    let device = emulated.device(target.name())?;
    assert_eq!(target.pin(IOVA + PAGE64, 5, BOTH)?, 5);
    physical.unset_container()?;
    books.say(5, 5);
    // And the real one comes back.
    physical.set_container(&container)?;
    books.say(16, 21);
    drop(device);
    books.say(16, 16);
    emulated.unset_container()?;
    physical.unset_container()?;
    books.say(0, 0);
    Ok(())
}

/// A real device needs all of the memory. If the process may not lock as much,
/// the device is refused, and all is as before.
fn F125_replay_over_the_limit() -> TestResult {
    let edu = bench::bound_edu()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(16)?;
    let books = Books::open()?;
    process::drop_capability(CapabilitySet::IPC_LOCK)?;
    process::limit_locked(12 * PAGE64)?;
    container.map_part(&memory, 0, 8 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(&memory, 8 * PAGE, 8 * PAGE, 2 * IOVA, READ_WRITE)?;
    assert_eq!(target.pin(2 * IOVA, 3, BOTH)?, 3);
    let group = edu.open_group()?;
    for _ in 0..3 {
        fails(group.set_container(container), Errno::NOMEM);
        books.say(3, 3);
    }
    assert!(container.info()?.iova_ranges().is_none());
    target.dma_write(IOVA, b"works", By::Caller)?;
    // With less to lock it is welcome.
    assert_eq!(container.unmap(IOVA, 8 * PAGE64)?, 8 * PAGE64);
    group.set_container(container)?;
    books.say(8, 11);
    group.unset_container()?;
    books.say(3, 3);
    Ok(())
}

fn R22_pins_outlive_the_real_device() -> TestResult {
    let edu = bench::bound_edu()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let physical = edu.join(container)?;
    let memory = touched(8)?;
    let books = Books::open()?;
    container.map_part(&memory, 0, 4 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(&memory, 4 * PAGE, 4 * PAGE, 2 * IOVA, READ_WRITE)?;
    let (result, got) = target.pin_raw(IOVA + PAGE64, 2, BOTH);
    assert_eq!(result, Ok(2));
    // One of them under two addresses.
    assert_eq!(target.pin_raw(IOVA + PAGE64 + 8, 1, BOTH).0, Ok(1));
    books.say(8, 11);
    target.events()?;
    physical.unset_container()?;
    // No reason to tell the driver: its pages stay, and the mappings too.
    assert_eq!(target.told()?, []);
    books.say(3, 3);
    assert_eq!(memory.frames()?[1..3], got);
    target.dma_write(IOVA + PAGE64, b"stays", By::Caller)?;
    assert_eq!(memory.read(PAGE, 5), b"stays");
    target.unpin_raw(IOVA + PAGE64, 2)?;
    books.say(1, 1);
    target.unpin_raw(IOVA + PAGE64 + 8, 1)?;
    books.say(0, 0);
    assert_eq!(container.unmap_all()?, 8 * PAGE64);
    books.say(0, 0);
    Ok(())
}

/// Pages that the kernel keeps for itself, here the memory of a device, but that
/// are pages like others: they are pinned like these, are nobody's to pay for,
/// and are unpinned like these.
fn R63_reserved_pages_are_let_go() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    target.call(Op::ReservePage, &[])?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let view = session.device.map_region(0)?;
    view.write(0, b"reserved");
    let open = bench::open()?;
    let (container, device) = (&open.session.container, &open.session.device);
    let memory = touched(2)?;
    let books = Books::open()?;
    for _ in 0..3 {
        container.map(&view, IOVA)?;
        books.say(0, 1);
        copy(device, IOVA, IOVA + 16, 8)?;
        assert_eq!(view.read(16, 8), b"reserved");
        assert_eq!(container.unmap(IOVA, PAGE64)?, PAGE64);
        books.say(0, 0);
    }
    // Together with pages that are not, in one mapping.
    let both = Memory::reserve(3 * PAGE)?;
    both.place_anonymous(0, 3 * PAGE)?;
    both.place_file(PAGE, &session.device, 0, PAGE, true)?;
    both.write(2 * PAGE, b"ordinary");
    container.map_part(&both, 0, 3 * PAGE, IOVA, READ_WRITE)?;
    books.say(2, 3);
    copy(device, IOVA + 2 * PAGE64, IOVA + PAGE64, 8)?;
    assert_eq!(view.read(0, 8), b"ordinary");
    assert_eq!(container.unmap(IOVA, 3 * PAGE64)?, 3 * PAGE64);
    books.say(0, 0);
    container.map(&memory, IOVA)?;
    books.say(2, 2);
    container.unmap(IOVA, 2 * PAGE64)?;
    // The group leaves while they are mapped.
    container.map(&view, IOVA)?;
    books.say(0, 1);
    drop(open);
    books.say(0, 0);
    Ok(())
}

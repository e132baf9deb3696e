// SPDX-License-Identifier: GPL-2.0
//! Drivers are told that memory goes away: rows F129-F131, R-23, and R-42 to
//!
//!
//! The C backend takes two locks in both orders when it tells drivers, so two
//! threads that unmap pinned memory at the same time can stop it for ever.
//! Rows that may run on it unmap in one thread only. It also stops the machine
//! after eleven notifications in vain.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    target::{wait_for, Target},
    uapi, PAGE,
};

use super::map::IOVA;
use crate::{
    bench,
    check::{fails, Books},
    emulated::{pause, touched, By, BOTH, READ},
    fixture::{must_warn, Device, Fixture, Kind, Knob},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F129_driver_is_told,
    F129_told_until_it_unpins,
    F129_walk_restarts,
    F129_restart_checks_the_range_again,
    F129_several_devices,
    F129_first_version_is_never_told,
    F129_closing_needs_no_notification,
    F130_pin_while_unmapping.limit(120),
    F130_several_unmap_at_once
        .limit(120)
        .holds(Holds::OnlyRustType1),
    F131_stubborn_driver.holds(Holds::OnlyRustType1),
    R23_told_while_opening_and_closing,
    R42_open_while_unmapping
        .limit(120)
        .holds(Holds::OnlyRustType1),
    R43_two_unmap_the_same
        .limit(120)
        .holds(Holds::OnlyRustType1),
    R44_pins_without_a_device.holds(Holds::OnlyRustType1),
];

const PAGE64: u64 = PAGE as u64;

fn F129_driver_is_told() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(8)?;
    let books = Books::open()?;
    target.events()?;

    // Nothing pinned, nothing to tell.
    container.map(&memory, IOVA)?;
    assert_eq!(container.unmap(IOVA, 8 * PAGE64)?, 8 * PAGE64);
    container.map(&memory, IOVA)?;
    target.pin(IOVA, 2, BOTH)?;
    target.unpin(IOVA)?;
    assert_eq!(container.unmap(IOVA, 8 * PAGE64)?, 8 * PAGE64);
    assert_eq!(target.told()?, []);

    // One page is enough, and the driver learns of the whole mapping.
    container.map(&memory, IOVA)?;
    target.pin(IOVA + 7 * PAGE64, 1, READ)?;
    target.pin(IOVA + 2 * PAGE64, 3, BOTH)?;
    books.say(4, 4);
    assert_eq!(container.unmap(IOVA, 8 * PAGE64)?, 8 * PAGE64);
    assert_eq!(target.told()?, [(IOVA, 8 * PAGE64)]);
    books.say(0, 0);
    fails(target.dma_read(IOVA, 1, By::Caller), Errno::INVAL);

    // A request that fails tells nobody.
    container.map(&memory, IOVA)?;
    target.pin(IOVA, 1, BOTH)?;
    fails(container.unmap(IOVA, PAGE64), Errno::INVAL);
    fails(container.unmap(IOVA + PAGE64, 8 * PAGE64), Errno::INVAL);
    fails(container.unmap(IOVA, 0), Errno::INVAL);
    assert_eq!(container.unmap(2 * IOVA, 8 * PAGE64)?, 0);
    assert_eq!(target.told()?, []);
    books.say(1, 1);
    // All of them, or a range that is larger.
    assert_eq!(container.unmap_all()?, 8 * PAGE64);
    assert_eq!(target.told()?, [(IOVA, 8 * PAGE64)]);
    container.map(&memory, IOVA)?;
    target.pin(IOVA, 1, BOTH)?;
    assert_eq!(container.unmap(0, 4 * IOVA)?, 8 * PAGE64);
    assert_eq!(target.told()?, [(IOVA, 8 * PAGE64)]);
    books.say(0, 0);
    Ok(())
}

fn F129_told_until_it_unpins() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(4)?;
    let books = Books::open()?;
    // Ten times in vain is still good.
    for vain in [1, 3, 10] {
        container.map(&memory, IOVA)?;
        target.pin(IOVA, 4, BOTH)?;
        target.events()?;
        target.knob(Knob::KeepPins, vain)?;
        assert_eq!(container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
        let expected = vec![(IOVA, 4 * PAGE64); vain as usize + 1];
        assert_eq!(target.told()?, expected);
        books.say(0, 0);
    }
    // Each mapping has its own patience.
    for n in 0..3 {
        let iova = IOVA + n * PAGE64;
        container.map_part(&memory, 0, PAGE, iova, READ_WRITE)?;
        target.pin(iova, 1, BOTH)?;
    }
    target.knob(Knob::KeepPins, 7)?;
    assert_eq!(container.unmap(IOVA, PAGE64)?, PAGE64);
    target.knob(Knob::KeepPins, 9)?;
    assert_eq!(container.unmap_all()?, 2 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn F129_walk_restarts() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(8)?;
    let books = Books::open()?;
    // Mappings of 1, 2, 3 and 1 pages with a hole in the middle; the second and
    // the last have pins. What went before the driver was told counts too.
    let layout = [(0, 1), (1, 2), (4, 3), (7, 1)];
    for (first, pages) in layout {
        let iova = IOVA + first * PAGE64;
        container.map_part(&memory, 0, pages * PAGE, iova, READ_WRITE)?;
    }
    target.pin(IOVA + 2 * PAGE64, 1, BOTH)?;
    target.pin(IOVA + 7 * PAGE64, 1, BOTH)?;
    target.events()?;
    assert_eq!(container.unmap(IOVA, 8 * PAGE64)?, 7 * PAGE64);
    let told = target.told()?;
    assert_eq!(
        told,
        [(IOVA + PAGE64, 2 * PAGE64), (IOVA + 7 * PAGE64, PAGE64)]
    );
    books.say(0, 0);
    assert_eq!(container.unmap_all()?, 0);
    assert_eq!(
        container.info()?.dma_avail(),
        Some(65535),
        "mappings left or lost"
    );
    Ok(())
}

/// While the driver is told, others may map. What comes into the range goes
/// with it; what crosses its end makes the request fail.
fn F129_restart_checks_the_range_again() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(2)?;
    let books = Books::open()?;
    let attempt = |first: u64, pages: usize| {
        container.map_part(&memory, 0, PAGE, IOVA + PAGE64, READ_WRITE)?;
        target.pin(IOVA + PAGE64, 1, BOTH)?;
        target.events()?;
        target.knob(Knob::UnmapDelayMs, 500)?;
        let before = target.count(Kind::DmaUnmap)?;
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                target.wait_count(Kind::DmaUnmap, before + 1)?;
                let iova = IOVA + first * PAGE64;
                container.map_part(&memory, 0, pages * PAGE, iova, READ_WRITE)?;
                anyhow::Ok(Instant::now())
            });
            let result = container.unmap(IOVA, 4 * PAGE64);
            let end = Instant::now();
            let mapped = other.join().expect("the other thread")?;
            assert!(mapped < end, "mapping waits until the driver is done");
            anyhow::Ok(result)
        })
    };
    // Before the mapping with the pin, and behind.
    assert_eq!(attempt(0, 1)?, Ok(2 * PAGE64));
    assert_eq!(attempt(2, 2)?, Ok(3 * PAGE64));
    // Outside of the range.
    assert_eq!(attempt(4, 1)?, Ok(PAGE64));
    assert_eq!(container.unmap_all()?, PAGE64);
    books.say(0, 0);
    // Across the end: nothing goes, only the driver's pins are gone. The C
    // backend says what went, nothing, where it could say what is wrong.
    let result = attempt(3, 2)?;
    assert!(matches!(result, Ok(0) | Err(Errno::INVAL)), "{result:?}");
    books.say(0, 0);
    assert_eq!(container.unmap_all()?, 3 * PAGE64);
    Ok(())
}

fn F129_several_devices() -> TestResult {
    let fixture = Fixture::open()?;
    let targets = [fixture.device()?, fixture.device()?, fixture.device()?];
    let deaf = fixture.build().without(Kind::DmaUnmap).create()?;
    let container = Container::open()?;
    let mut open = Vec::new();
    for target in targets.iter().chain([&deaf]) {
        open.push(target.join(&container)?);
    }
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let mut devices = Vec::new();
    // The third is not opened.
    for (group, target) in open.iter().zip([&targets[0], &targets[1]]) {
        devices.push(group.device(target.name())?);
    }
    devices.push(open[3].device(deaf.name())?);
    let memory = touched(4)?;
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    // Only one has pins, but all that are open are told.
    targets[1].pin(IOVA, 4, BOTH)?;
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    let counts = || -> anyhow::Result<Vec<u64>> {
        targets
            .iter()
            .map(|target| target.count(Kind::DmaUnmap))
            .collect()
    };
    assert_eq!(counts()?, [1, 1, 0]);
    // Both have; the same page counts once.
    container.map(&memory, IOVA)?;
    targets[0].pin(IOVA, 3, BOTH)?;
    targets[1].pin(IOVA + PAGE64, 3, BOTH)?;
    books.say(4, 4);
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    assert_eq!(counts()?, [2, 2, 0]);
    books.say(0, 0);
    // Who opens later is told too, who closes no longer.
    container.map(&memory, IOVA)?;
    devices.push(open[2].device(targets[2].name())?);
    targets[0].pin(IOVA, 1, BOTH)?;
    targets[2].pin(IOVA, 4, BOTH)?;
    drop(devices.remove(0));
    books.say(4, 4);
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    assert_eq!(counts()?, [2, 3, 1]);
    books.say(0, 0);
    // The pin of one keeps the other's page for as long as needed.
    container.map(&memory, IOVA)?;
    targets[1].pin(IOVA, 1, BOTH)?;
    targets[2].pin(IOVA, 1, BOTH)?;
    targets[1].unpin(IOVA)?;
    books.say(1, 1);
    targets[2].unpin(IOVA)?;
    books.say(0, 0);
    Ok(())
}

fn F129_first_version_is_never_told() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1_IOMMU)?;
    let memory = touched(2)?;
    session.container.map(&memory, IOVA)?;
    assert!(target.pin(IOVA, 1, BOTH).is_err());
    assert_eq!(session.container.unmap_all()?, 2 * PAGE64);
    assert_eq!(target.told()?, []);
    Ok(())
}

/// A device that is closed has unpinned before the mappings go.
fn F129_closing_needs_no_notification() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let edu = bench::bound_edu()?;
    let memory = touched(8)?;
    let books = Books::open()?;
    for with_edu in [false, true] {
        let session = target.open(uapi::TYPE1v2_IOMMU)?;
        let physical = with_edu.then(|| edu.join(&session.container)).transpose()?;
        session.container.map(&memory, IOVA)?;
        target.pin(IOVA, 5, BOTH)?;
        target.events()?;
        drop((session, physical));
        wait_for("the device to be closed", || {
            target.status().is_ok_and(|status| status.open_count == 0)
        })?;
        assert_eq!(target.told()?, []);
        books.say(0, 0);
    }
    Ok(())
}

/// Stops the other threads, also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Pins, unpins and copies until told to stop; what it does may fail because
/// nothing is mapped at the moment, in no other way.
fn use_memory(target: &Device<'_>, stop: &AtomicBool, done: &AtomicU64) -> rustix::io::Result<()> {
    let may_fail = |result: rustix::io::Result<()>| match result {
        Err(Errno::INVAL) => Ok(()),
        other => other,
    };
    while !stop.load(Ordering::Relaxed) {
        match target.pin(IOVA + PAGE64, 3, BOTH) {
            Ok(_) => {
                done.fetch_add(1, Ordering::Relaxed);
                // Gone if the driver was told meanwhile.
                match target.unpin(IOVA + PAGE64) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => may_fail(Err(error))?,
        }
        may_fail(target.dma_write(IOVA, &[1; 8], By::Caller))?;
        may_fail(target.dma_read(IOVA + PAGE64, 8, By::Kthread).map(drop))?;
        // Ten new pins in a row, each just when the driver was told, would look
        // like a driver that does not listen.
        pause(2);
    }
    // Pins that are left go with the device.
    Ok(())
}

fn F130_pin_while_unmapping() -> TestResult {
    let fixture = Fixture::open()?;
    let targets = [fixture.device()?, fixture.device()?];
    let container = Container::open()?;
    let groups = [targets[0].join(&container)?, targets[1].join(&container)?];
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let devices = [
        groups[0].device(targets[0].name())?,
        groups[1].device(targets[1].name())?,
    ];
    let memory = touched(4)?;
    let books = Books::open()?;
    let (stop, pins) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let users: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(|| use_memory(target, &stop, &pins)))
            .collect();
        let ending = Stop(&stop);
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            container.map(&memory, IOVA)?;
            pause(3);
            assert_eq!(container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
        }
        drop(ending);
        for user in users {
            user.join().expect("a thread")?;
        }
        anyhow::Ok(())
    })?;
    assert!(pins.load(Ordering::Relaxed) > 10, "hardly anything pinned");
    drop(devices);
    books.say(0, 0);
    for target in &targets {
        // Nobody was told of anything but the mapping there was.
        assert!(target
            .told()?
            .iter()
            .all(|told| *told == (IOVA, 4 * PAGE64)));
    }
    Ok(())
}

/// Several threads unmap and map again, each its own range and then all the
/// same, beside devices that pin.
fn unmap_in_threads(shared: bool, open_and_close: bool) -> TestResult {
    let fixture = Fixture::open()?;
    let targets = [fixture.device()?, fixture.device()?];
    let passing = fixture.device()?;
    let container = Container::open()?;
    let groups = [targets[0].join(&container)?, targets[1].join(&container)?];
    let passing_group = passing.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let devices = [
        groups[0].device(targets[0].name())?,
        groups[1].device(targets[1].name())?,
    ];
    let memory = touched(8)?;
    let books = Books::open()?;
    let (stop, pins) = (AtomicBool::new(false), AtomicU64::new(0));
    let unmapper = |n: u64| -> TestResult {
        let iova = IOVA + if shared { 0 } else { 4 * n * PAGE64 };
        while !stop.load(Ordering::Relaxed) {
            match container.map_part(&memory, 0, 4 * PAGE, iova, READ_WRITE) {
                Err(Errno::EXIST) if shared => {}
                other => other?,
            }
            pause(1);
            let size = container.unmap(iova, 4 * PAGE64)?;
            assert!(size == 4 * PAGE64 || shared && size % (4 * PAGE64) == 0);
        }
        Ok(())
    };
    thread::scope(|scope| -> TestResult {
        let ending = Stop(&stop);
        let mut threads: Vec<_> = (0..2).map(|n| scope.spawn(move || unmapper(n))).collect();
        for target in &targets {
            threads.push(scope.spawn(|| Ok(use_memory(target, &stop, &pins)?)));
        }
        if open_and_close {
            threads.push(scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(passing_group.device(passing.name())?);
                }
                Ok(())
            }));
        }
        pause(5000);
        drop(ending);
        for thread in threads {
            thread.join().expect("a thread")?;
        }
        Ok(())
    })?;
    assert!(pins.load(Ordering::Relaxed) > 10, "hardly anything pinned");
    drop(devices);
    container.unmap_all()?;
    books.say(0, 0);
    for target in &targets {
        for (iova, size) in target.told()? {
            assert_eq!(size, 4 * PAGE64, "at {iova:#x}");
            assert!(iova == IOVA || !shared && iova == IOVA + 4 * PAGE64);
        }
    }
    Ok(())
}

fn F130_several_unmap_at_once() -> TestResult {
    unmap_in_threads(false, false)
}

fn R42_open_while_unmapping() -> TestResult {
    unmap_in_threads(false, true)
}

fn R43_two_unmap_the_same() -> TestResult {
    unmap_in_threads(true, true)
}

/// Waits until something happened to a device, and adds all that did to a list.
/// It does not ask for the device's state, which waits for its driver to open
/// or close it.
fn wait_event(target: &Device<'_>, kind: Kind, events: &mut Vec<u32>) -> TestResult {
    wait_for(&format!("{kind:?}"), || {
        let new = target.events().unwrap_or_default();
        events.extend(new.iter().map(|event| event.kind));
        events.contains(&(kind as u32))
    })
}

/// Of what happened to a device, what is about being open and being told.
fn story(events: &[u32]) -> Vec<Kind> {
    let told = [
        Kind::Open,
        Kind::Opened,
        Kind::Close,
        Kind::Closed,
        Kind::DmaUnmap,
    ];
    let find = |number: &u32| told.into_iter().find(|kind| *kind as u32 == *number);
    events.iter().filter_map(find).collect()
}

/// A driver may have pins from the moment on at which it begins to open its
/// device, until it has closed it, so it is told all that time.
fn R23_told_while_opening_and_closing() -> TestResult {
    let fixture = Fixture::open()?;
    let pinner = fixture.device()?;
    let target = fixture
        .build()
        .knob(Knob::OpenDelayMs, 1500)
        .knob(Knob::CloseDelayMs, 1500)
        .create()?;
    let container = Container::open()?;
    let groups = [pinner.join(&container)?, target.join(&container)?];
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let pinning = groups[0].device(pinner.name())?;
    let memory = touched(4)?;
    let books = Books::open()?;
    // Somebody has to have pins, or nobody is told.
    let map = || -> TestResult {
        container.map(&memory, IOVA)?;
        assert_eq!(pinner.pin(IOVA, 4, BOTH)?, 4);
        Ok(())
    };
    let unmap = || -> TestResult {
        assert_eq!(container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
        books.say(0, 0);
        Ok(())
    };
    let mut events = Vec::new();
    map()?;
    let device = thread::scope(|scope| {
        let opener = scope.spawn(|| groups[1].device(target.name()));
        let result = wait_event(&target, Kind::Open, &mut events).and_then(|()| unmap());
        let device = opener.join().expect("the opener")?;
        result.map(|()| device)
    })?;
    wait_event(&target, Kind::Opened, &mut events)?;
    assert_eq!(
        story(&events),
        [Kind::Open, Kind::DmaUnmap, Kind::Opened],
        "not told while it was opened"
    );

    // It closes with a pin that it has to give back before it comes to that.
    events.clear();
    map()?;
    assert_eq!(target.pin(IOVA, 2, BOTH)?, 2);
    thread::scope(|scope| {
        let closer = scope.spawn(|| drop(device));
        let result = wait_event(&target, Kind::Close, &mut events).and_then(|()| unmap());
        closer.join().expect("the closer");
        result
    })?;
    wait_event(&target, Kind::Closed, &mut events)?;
    assert_eq!(
        story(&events),
        [Kind::Close, Kind::DmaUnmap, Kind::Closed],
        "not told while it was closed"
    );
    // And now no more.
    map()?;
    unmap()?;
    assert_eq!(target.told()?, []);
    drop(pinning);
    Ok(())
}

/// The kernel gives up, not the machine.
fn F131_stubborn_driver() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(4)?;
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    let avail = container.info()?.dma_avail();
    target.pin(IOVA, 2, BOTH)?;
    target.events()?;
    target.knob(Knob::KeepPins, -1)?;
    fails(
        must_warn(|| container.unmap(IOVA, 4 * PAGE64))?,
        Errno::BUSY,
    );
    let told = target.told()?;
    assert!((2..20).contains(&told.len()), "{told:?}");
    assert!(told.iter().all(|told| *told == (IOVA, 4 * PAGE64)));
    // Everything is as before.
    books.say(2, 2);
    assert_eq!(container.info()?.dma_avail(), avail);
    target.dma_write(IOVA, b"alive", By::Caller)?;
    assert_eq!(memory.read(0, 5), b"alive");
    fails(container.map(&memory, IOVA), Errno::EXIST);
    fails(must_warn(|| container.unmap_all())?, Errno::BUSY);
    // Once the driver listens it works.
    target.knob(Knob::KeepPins, 0)?;
    assert_eq!(container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
    books.say(0, 0);
    Ok(())
}

/// A driver closed its device and left pins behind: there is nobody to tell.
fn R44_pins_without_a_device() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(4)?;
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    assert_eq!(target.pin_raw(IOVA, 2, BOTH).0, Ok(2));
    drop(session.device);
    fails(
        must_warn(|| container.unmap(IOVA, 4 * PAGE64))?,
        Errno::BUSY,
    );
    books.say(2, 2);
    let device = session.group.device(target.name())?;
    target.unpin_raw(IOVA, 2)?;
    assert_eq!(container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
    books.say(0, 0);
    drop(device);
    Ok(())
}

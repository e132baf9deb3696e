// SPDX-License-Identifier: GPL-2.0
//! Files that another process serves (FUSE): rows F189 and F190.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::{io::Errno, process::Signal};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    fuse::Fuse,
    memory::Memory,
    process::Child,
    sysfs,
    target::wait_for,
    uapi, PAGE,
};

use super::{
    map::IOVA,
    map_cow::{at, Bench, LEN},
};
use crate::{
    check::{fails, Books},
    emulated::pause,
    harness::{rows, skip, Row, TestResult},
    pinners::{with_pinners, ACCESS},
};

pub(crate) const ROWS: &[Row] = rows![
    F189_shared_file_that_tracks_writes,
    F189_private_file,
    F189_server_is_gone,
    F190_server_stalls_a_mapper.limit(120),
    F190_mapper_is_killed_meanwhile.limit(120),
    F190_server_dies_meanwhile,
];

const PAGES: usize = 64;
const READ: u32 = uapi::DMA_MAP_FLAG_READ;
pub(super) const GOOD: Result<(), Errno> = Ok(());
const FAULT: Result<(), Errno> = Err(Errno::FAULT);

pub(super) fn fuse() -> anyhow::Result<Fuse> {
    match Fuse::mount(PAGES)? {
        Some(fuse) => Ok(fuse),
        None => skip("this kernel has no FUSE"),
    }
}

/// Such a file system must be told before a page of it is written, which no
/// device does.
fn F189_shared_file_that_tracks_writes() -> TestResult {
    let fuse = fuse()?;
    with_pinners(|pinners| {
        for touch in [false, true] {
            let file = fuse.open()?;
            let writable = Memory::of_file(&file, 0, PAGES * PAGE, true)?;
            let read_only = Memory::of_file(&file, 0, PAGES * PAGE, false)?;
            if touch {
                // Also a page that is dirty already, and writable.
                writable.write(3 * PAGE, &[3]);
            }
            for (first, end) in [(0, PAGES), (3, 4), (0, 3)] {
                for ((access, flags, _), writes) in ACCESS.into_iter().zip([GOOD, FAULT, FAULT]) {
                    let case = format!("{first}..{end}, touched: {touch}, {access}");
                    pinners.check(&case, &writable, first..end, flags, writes);
                    let case = format!("read-only, {case}");
                    pinners.check(&case, &read_only, first..end, flags, writes);
                }
            }
        }
        Ok(())
    })
}

/// What is written to a private mapping is no file.
fn F189_private_file() -> TestResult {
    let fuse = fuse()?;
    let bench = Bench::new()?;
    for touch in [false, true] {
        for (access, flags, _) in ACCESS {
            let memory = Memory::of_file_private(&fuse.open()?, 0, PAGES * PAGE)?;
            if touch {
                assert_eq!(memory.read(5 * PAGE, 1), [5]);
            }
            let books = Books::open()?;
            bench
                .container()
                .map_part(&memory, 0, PAGES * PAGE, IOVA, flags)?;
            books.say_in(access, PAGES as i64, PAGES as i64);
            if flags & READ != 0 {
                assert_eq!(bench.finds(at(5))?, 5, "{access}");
                memory.write(5 * PAGE, &[0x55; LEN]);
                assert_eq!(bench.finds(at(5))?, 0x55, "{access}");
            }
            let size = (PAGES * PAGE) as u64;
            assert_eq!(bench.container().unmap(IOVA, size)?, size);
            books.say_in(access, 0, 0);
        }
    }
    Ok(())
}

/// What cannot be read cannot be mapped.
fn F189_server_is_gone() -> TestResult {
    let mut fuse = fuse()?;
    with_pinners(|pinners| {
        let memory = Memory::of_file_private(&fuse.open()?, 0, PAGES * PAGE)?;
        // One page is there.
        memory.write(0, &[1]);
        fuse.kill()?;
        for (access, flags, _) in ACCESS {
            pinners.check(access, &memory, 0..1, flags, GOOD);
        }
        let last = PAGES - 1;
        for (access, flags, _) in ACCESS {
            pinners.check(access, &memory, last..PAGES, flags, FAULT);
            pinners.check(access, &memory, 0..PAGES, flags, FAULT);
        }
        Ok(())
    })
}

/// A process that maps the file, and waits for the server. The container is that
/// of its parent.
pub(super) fn mapper(
    fuse: &Fuse,
    container: &Container,
    expected: Result<(), Errno>,
) -> anyhow::Result<Child> {
    let before = fuse.reads();
    fuse.stall(true);
    let child = Child::fork(|| {
        let memory = Memory::of_file_private(&fuse.open()?, 0, PAGES * PAGE)?;
        let size = (PAGES * PAGE) as u64;
        let result = container.map_raw(READ, memory.address() as u64, IOVA, size);
        assert_eq!(result, expected);
        Ok(())
    })?;
    wait_for("somebody to read", || fuse.reads() > before)?;
    // It is about to sleep, if not asleep.
    pause(100);
    Ok(child)
}

/// Nobody else can use the mappings of this container meanwhile, and all other
/// things can be done.
fn F190_server_stalls_a_mapper() -> TestResult {
    let fuse = fuse()?;
    let bench = Bench::new()?;
    let container = bench.container();
    let device = bench.device();
    let other = Container::open()?;
    let mine = Memory::anonymous(PAGE)?;
    mine.fill(1);
    container.map(&mine, 64 * IOVA)?;
    let books = Books::open()?;
    let child = mapper(&fuse, container, GOOD)?;

    type Request<'a> = Box<dyn Fn() -> rustix::io::Result<()> + Send + Sync + 'a>;
    let waiting: [(&str, Request<'_>); 4] = [
        ("info", Box::new(|| container.info().map(drop))),
        ("map", Box::new(|| container.map(&mine, 128 * IOVA))),
        (
            "unmap",
            Box::new(|| container.unmap(64 * IOVA, PAGE as u64).map(drop)),
        ),
        (
            "cache coherency",
            Box::new(|| container.check_extension(uapi::DMA_CC_IOMMU).map(drop)),
        ),
    ];
    let free: [(&str, Request<'_>); 6] = [
        ("version", Box::new(|| container.api_version().map(drop))),
        (
            "extension",
            Box::new(|| container.check_extension(uapi::TYPE1v2_IOMMU).map(drop)),
        ),
        ("device", Box::new(|| device.info().map(drop))),
        ("group", Box::new(|| bench.group().status().map(drop))),
        (
            "another container",
            Box::new(|| other.api_version().map(drop)),
        ),
        (
            "DMA",
            Box::new(|| bench.finds(64 * IOVA).map(drop).map_err(|_| Errno::IO)),
        ),
    ];
    let done = waiting.each_ref().map(|_| AtomicBool::new(false));
    thread::scope(|scope| -> TestResult {
        // Lets all of them go on, also when an assertion fails.
        struct GoOn<'a>(&'a Fuse);
        impl Drop for GoOn<'_> {
            fn drop(&mut self) {
                self.0.stall(false);
            }
        }
        let go_on = GoOn(&fuse);
        for (name, request) in &free {
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    assert_eq!(request(), Ok(()), "{name}");
                    done.store(true, Ordering::Relaxed);
                });
                let answered = wait_for(name, || done.load(Ordering::Relaxed));
                if answered.is_err() {
                    fuse.stall(false);
                }
                answered
            })?;
        }
        let threads: Vec<_> = waiting
            .iter()
            .zip(&done)
            .map(|((name, request), done)| {
                scope.spawn(move || {
                    assert_eq!(request(), Ok(()), "{name}");
                    done.store(true, Ordering::Relaxed);
                })
            })
            .collect();
        pause(500);
        for ((name, _), done) in waiting.iter().zip(&done) {
            assert!(!done.load(Ordering::Relaxed), "{name} did not wait");
        }
        drop(go_on);
        for thread in threads {
            thread.join().expect("a request that has to wait");
        }
        Ok(())
    })?;
    child.join()?;
    // The mapping of the process that has ended, and the two requests.
    books.say(0, PAGES as i64);
    assert_eq!(bench.finds(at(9))?, 9);
    assert_eq!(bench.finds(128 * IOVA)?, 1);
    assert_eq!(
        container.unmap(IOVA, (PAGES * PAGE) as u64)?,
        (PAGES * PAGE) as u64
    );
    books.say(0, 0);
    Ok(())
}

/// The state of a process, of which Z is a dead one.
fn state(child: &Child) -> anyhow::Result<char> {
    let stat = sysfs::read(format!("/proc/{}/stat", child.pid().as_raw_pid()))?;
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    Ok(state.expect("a state"))
}

/// Who waits for a page with the lock of its memory held cannot be killed until
/// it has the page, and then maps nothing.
fn F190_mapper_is_killed_meanwhile() -> TestResult {
    let fuse = fuse()?;
    let bench = Bench::new()?;
    let container = bench.container();
    let books = Books::open()?;
    let avail = container.info()?.dma_avail();
    let child = mapper(&fuse, container, GOOD)?;
    child.signal(Signal::KILL)?;
    pause(500);
    assert_eq!(state(&child)?, 'D', "the process that was killed");
    fuse.stall(false);
    let status = child.wait()?;
    assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
    assert_eq!(container.unmap(IOVA, (PAGES * PAGE) as u64)?, 0);
    assert_eq!(container.info()?.dma_avail(), avail);
    books.say(0, 0);
    let mine = Memory::anonymous(PAGE)?;
    container.map_part(&mine, 0, PAGE, IOVA, READ_WRITE)?;
    Ok(())
}

fn F190_server_dies_meanwhile() -> TestResult {
    let mut fuse = fuse()?;
    let bench = Bench::new()?;
    let container = bench.container();
    let books = Books::open()?;
    let child = mapper(&fuse, container, FAULT)?;
    fuse.kill()?;
    child.join()?;
    assert_eq!(container.unmap(IOVA, (PAGES * PAGE) as u64)?, 0);
    books.say(0, 0);
    let mine = Memory::anonymous(PAGE)?;
    container.map(&mine, IOVA)?;
    fails(container.map(&mine, IOVA), Errno::EXIST);
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Much memory, many pieces, and requests at a bad moment: rows F113, R-12
//! and R-41.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    edu::Edu,
    kmsg::Log,
    memory::Memory,
    process::{self, Child},
    target::{wait_for, Target},
    uapi, PAGE,
};

use super::map::IOVA;
use crate::{
    bench,
    check::{pinned_pages, Books},
    emulated::pause,
    harness::{self, rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F113_nothing_arrives_after_unmapping.limit(120),
    R12_killed_in_a_large_map.limit(240),
    R41_requests_race_the_last_detach.holds(Holds::OnlyRustCore),
];

const PAGE64: u64 = PAGE as u64;

/// Memory whose pages do not lie side by side in the machine.
fn scattered(pages: usize) -> anyhow::Result<Memory> {
    let memory = Memory::anonymous(pages * PAGE)?;
    // Brought in from both ends towards the middle, and odd ones later.
    let order = (0..pages).filter(|page| page % 2 == 0);
    for page in order.chain((0..pages).rev().filter(|page| page % 2 == 1)) {
        memory.write(page * PAGE, &[1]);
    }
    Ok(memory)
}

/// Pages are given back only when no device can have their address in a cache.
/// Many pieces are flushed in several steps.
fn F113_nothing_arrives_after_unmapping() -> TestResult {
    const PAGES: usize = 1100;
    let open = bench::open()?;
    let container = &open.session.container;
    let edu = Edu::new(&open.session.device)?;
    let memory = scattered(PAGES)?;
    let frames = memory.frames()?;
    let breaks = frames.windows(2).filter(|pair| pair[0] + 1 != pair[1]);
    assert!(breaks.count() > 600, "hardly scattered");
    let books = Books::open()?;
    let looked_at = [0, 1, 510, 511, 512, 513, 1024, PAGES - 1];
    container.map(&memory, IOVA)?;
    books.say(PAGES as i64, PAGES as i64);
    let source = Memory::anonymous(PAGE)?;
    source.fill(0xaa);
    container.map(&source, 1 << 40)?;
    edu.read_memory(1 << 40, 16)?;
    for page in looked_at {
        edu.write_memory(IOVA + page as u64 * PAGE64, 16)?;
        assert_eq!(memory.read(page * PAGE, 16), [0xaa; 16], "page {page}");
    }
    let size = (PAGES * PAGE) as u64;
    assert_eq!(container.unmap(IOVA, size)?, size);
    books.say(1, 1);
    memory.fill(0x55);
    for page in looked_at {
        edu.write_memory(IOVA + page as u64 * PAGE64, 16)?;
    }
    for page in looked_at {
        assert_eq!(memory.read(page * PAGE, 16), [0x55; 16], "page {page}");
    }
    Ok(())
}

/// A process can be killed in the middle of a request that takes long. All
/// that was done is undone.
fn R12_killed_in_a_large_map() -> TestResult {
    const SIZE: usize = 3 << 30;
    let edu = bench::bound_edu()?;
    let slow = u64::from(harness::slow());
    let mut log = Log::from_now()?;
    let books = Books::open()?;
    let before = pinned_pages()?;
    let child = Child::fork(|| {
        let session = edu.open(uapi::TYPE1v2_IOMMU)?;
        let memory = Memory::anonymous(SIZE)?;
        session.container.map(&memory, 1 << 32)?;
        anyhow::bail!("mapped before it was killed")
    })?;
    wait_for("the request to be under way", || {
        pinned_pages().is_ok_and(|now| now > before + 20_000)
    })?;
    let start = Instant::now();
    child.kill()?;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10 * slow), "{took:?} to die");
    assert!(pinned_pages()? < before + (SIZE / PAGE) as i64);
    wait_for("the pages to be let go", || {
        pinned_pages().is_ok_and(|now| now == before)
    })?;
    // The charge was that of the process that is gone.
    books.say(0, 0);
    // The device can be had again at once, and works.
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(PAGE)?;
    session.container.map(&memory, IOVA)?;
    books.say(1, 1);
    assert_eq!(Edu::new(&session.device)?.invert(7)?, !7);
    for word in ["soft lockup", "stall", "hung task", "blocked for more"] {
        assert_eq!(log.with(&[word])?, []);
    }
    Ok(())
}

/// What threads ask a container while its only group comes and goes: the
/// backend answers, or nobody does.
fn ask(container: &Container, n: u32, memory: &Memory, stop: &AtomicBool) -> TestResult {
    let check = |result: rustix::io::Result<()>| match result {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error),
    };
    let iova = u64::from(n) * 2 * IOVA;
    while !stop.load(Ordering::Relaxed) {
        check(container.info().map(drop))?;
        check(container.check_extension(uapi::DMA_CC_IOMMU).map(drop))?;
        check(container.map_part(memory, 0, PAGE, iova, READ_WRITE))?;
        check(container.dirty_start())?;
        check(container.dirty(iova, 4).map(drop))?;
        check(container.unmap(iova, PAGE64).map(drop))?;
    }
    Ok(())
}

/// The C core looks at the backend without holding it.
fn R41_requests_race_the_last_detach() -> TestResult {
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let group = edu.open_group()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    memory.fill(1);
    let books = Books::open()?;
    let stop = AtomicBool::new(false);
    let rounds = thread::scope(|scope| -> anyhow::Result<u32> {
        /// Stops the others, also when an assertion fails.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let ending = Stop(&stop);
        let threads: Vec<_> = (1..4)
            .map(|n| {
                let (container, memory, stop) = (&container, &memory, &stop);
                scope.spawn(move || ask(container, n, memory, stop))
            })
            .collect();
        let end = Instant::now() + Duration::from_secs(8);
        let mut rounds = 0;
        while Instant::now() < end {
            group.set_container(&container)?;
            container.set_iommu(uapi::TYPE1v2_IOMMU)?;
            pause(rounds % 7);
            group.unset_container()?;
            rounds += 1;
        }
        drop(ending);
        for thread in threads {
            thread.join().expect("a thread")?;
        }
        Ok(u32::try_from(rounds)?)
    })?;
    assert!(rounds > 20, "only {rounds} rounds");
    books.say(0, 0);
    assert_eq!(process::status("VmLck")?, 0);
    // It is as new.
    group.set_container(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(container.unmap_all()?, 0);
    Ok(())
}

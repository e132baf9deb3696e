// SPDX-License-Identifier: GPL-2.0
//! Memory whose pages a program brings in by itself (userfaultfd): row F182.
//!
//! Mapping holds the lock of the address space, so it cannot wait for such a
//! program, which may need that lock itself.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use vfio_selftests::{
    memory::Memory,
    userfault::{Userfault, Watch},
    PAGE,
};

use super::map::copy;
use crate::{
    check::Books,
    harness::{rows, skip, Row, TestResult},
    pinners::{with_pinners, Pinners, ACCESS, IOVA},
};

pub(crate) const ROWS: &[Row] = rows![
    F182_missing_pages,
    F182_missing_pages_that_somebody_provides,
    F182_missing_pages_behind_present_ones,
    F182_write_protected_pages,
    F182_write_protected_new_pages,
    F182_watched_only_after_mapping,
    F182_requests_beside_missing_pages,
];

const PAGES: usize = 64;
const GOOD: Result<(), Errno> = Ok(());
const FAULT: Result<(), Errno> = Err(Errno::FAULT);

/// The kinds of memory that can be watched.
type Make = fn(usize) -> rustix::io::Result<Memory>;
const KINDS: [(&str, Make); 4] = [
    ("private", Memory::anonymous),
    ("shared", Memory::shared),
    ("memfd", memfd),
    ("transparent huge", huge),
];

fn memfd(len: usize) -> rustix::io::Result<Memory> {
    let file = rustix::fs::memfd_create("watched", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, len as u64)?;
    Memory::of_file(&file, 0, len, true)
}

/// Of which nothing is there, and that could be a huge page.
fn huge(len: usize) -> rustix::io::Result<Memory> {
    let memory = Memory::transparent_huge(len)?;
    memory.discard()?;
    Ok(memory)
}

fn userfault() -> anyhow::Result<Userfault> {
    match Userfault::new() {
        Err(Errno::NOSYS) => skip("this kernel has no userfaultfd"),
        other => Ok(other?),
    }
}

/// Nobody provides pages: whoever waited for one would wait forever.
fn F182_missing_pages() -> TestResult {
    with_pinners(|pinners| {
        for (kind, make) in KINDS {
            let fault = userfault()?;
            let memory = make(PAGES * PAGE)?;
            fault.watch(&memory, 0..PAGES, Watch::Missing)?;
            for pages in [1, 16, PAGES] {
                for (access, flags, _) in ACCESS {
                    let case = format!("{kind}, {pages} pages, {access}");
                    pinners.check(&case, &memory, 0..pages, flags, FAULT);
                }
            }
            // Nobody waits, nor has.
            assert_eq!(fault.next(Duration::ZERO)?, None, "{kind}");
            // Who gives up watching gets ordinary memory.
            drop(fault);
            for (access, flags, _) in ACCESS {
                pinners.check(&format!("{kind}, {access}"), &memory, 0..PAGES, flags, GOOD);
            }
        }
        Ok(())
    })
}

/// Provides all pages that somebody waits for while it runs `work`. The result
/// is how many these were.
fn serving(
    fault: &Userfault,
    memory: &Memory,
    work: impl FnOnce() -> TestResult,
) -> anyhow::Result<usize> {
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        /// Stops the thread, also when an assertion fails.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let ending = Stop(&stop);
        let server = scope.spawn(|| -> rustix::io::Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let Some(address) = fault.next(Duration::from_millis(10))? else {
                    continue;
                };
                let page = (address as usize - memory.address()) / PAGE;
                fault.provide(memory, page, 0x77)?;
                served.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        work()?;
        drop(ending);
        server.join().expect("the thread that provides pages")?;
        Ok(served.load(Ordering::Relaxed))
    })
}

/// Somebody would provide the pages at once, but is not asked.
fn F182_missing_pages_that_somebody_provides() -> TestResult {
    with_pinners(|pinners| {
        for (kind, make) in KINDS {
            let fault = userfault()?;
            let memory = make(PAGES * PAGE)?;
            fault.watch(&memory, 0..PAGES, Watch::Missing)?;
            let served = serving(&fault, &memory, || {
                for pages in [1, 16, PAGES] {
                    for (access, flags, _) in ACCESS {
                        let case = format!("{kind}, {pages} pages, {access}");
                        pinners.check(&case, &memory, 0..pages, flags, FAULT);
                    }
                }
                Ok(())
            })?;
            assert_eq!(served, 0, "{kind}: pages that were waited for");
            // The program touches them first, as it has to.
            let served = serving(&fault, &memory, || {
                for page in 0..PAGES {
                    assert_eq!(memory.read(page * PAGE, 2), [0x77, 0x77]);
                }
                for (access, flags, _) in ACCESS {
                    pinners.check(&format!("{kind}, {access}"), &memory, 0..PAGES, flags, GOOD);
                }
                Ok(())
            })?;
            assert_eq!(served, PAGES, "{kind}: pages that the program waited for");
        }
        Ok(())
    })
}

/// What is there is no reason to succeed, and is let go.
fn F182_missing_pages_behind_present_ones() -> TestResult {
    with_pinners(|pinners| {
        for (kind, make) in KINDS {
            let fault = userfault()?;
            let memory = make(PAGES * PAGE)?;
            fault.watch(&memory, 0..PAGES, Watch::Missing)?;
            // All but two pages are there.
            for page in (0..PAGES).filter(|page| ![20, 63].contains(page)) {
                fault.provide(&memory, page, page as u8)?;
            }
            for (access, flags, _) in ACCESS {
                for (first, end, expected) in [
                    (0, 20, GOOD),
                    (0, 21, FAULT),
                    (0, PAGES, FAULT),
                    (20, 21, FAULT),
                    (20, 40, FAULT),
                    (21, 63, GOOD),
                    (21, PAGES, FAULT),
                    (62, PAGES, FAULT),
                ] {
                    let case = format!("{kind}, {first}..{end}, {access}");
                    pinners.check(&case, &memory, first..end, flags, expected);
                }
            }
            assert_eq!(fault.next(Duration::ZERO)?, None, "{kind}");
            fault.provide(&memory, 20, 20)?;
            fault.provide(&memory, 63, 63)?;
            for (access, flags, _) in ACCESS {
                pinners.check(&format!("{kind}, {access}"), &memory, 0..PAGES, flags, GOOD);
            }
            let expected: Vec<_> = (0..PAGES as u8).collect();
            let found: Vec<_> = (0..PAGES)
                .map(|page| memory.read(page * PAGE, 1)[0])
                .collect();
            assert_eq!(found, expected, "{kind}");
        }
        Ok(())
    })
}

/// Pages that are there but write-protected are good for devices that read.
fn F182_write_protected_pages() -> TestResult {
    with_pinners(|pinners| {
        for (kind, make) in KINDS {
            let fault = userfault()?;
            let memory = make(PAGES * PAGE)?;
            memory.fill(0x21);
            fault.watch(&memory, 0..PAGES, Watch::Writes)?;
            for (access, flags, _) in ACCESS {
                let case = format!("{kind}, watched, {access}");
                pinners.check(&case, &memory, 0..PAGES, flags, GOOD);
            }
            fault.protect(&memory, 30..32, true)?;
            for ((access, flags, _), expected) in ACCESS.into_iter().zip([GOOD, FAULT, FAULT]) {
                for (first, end, expected) in [
                    (0, 30, GOOD),
                    (0, 31, expected),
                    (0, PAGES, expected),
                    (31, 33, expected),
                    (32, PAGES, GOOD),
                ] {
                    let case = format!("{kind}, {first}..{end}, {access}");
                    pinners.check(&case, &memory, first..end, flags, expected);
                }
            }
            assert_eq!(fault.next(Duration::ZERO)?, None, "{kind}");
            fault.protect(&memory, 30..32, false)?;
            for (access, flags, _) in ACCESS {
                let case = format!("{kind}, writable again, {access}");
                pinners.check(&case, &memory, 0..PAGES, flags, GOOD);
            }
        }
        Ok(())
    })
}

/// Private pages that are not there yet are not protected, shared ones are.
fn F182_write_protected_new_pages() -> TestResult {
    with_pinners(|pinners| {
        for (kind, make, writes) in [
            ("private", Memory::anonymous as Make, GOOD),
            ("shared", Memory::shared, FAULT),
            ("memfd", memfd, FAULT),
        ] {
            for ((access, flags, _), expected) in ACCESS.into_iter().zip([GOOD, writes, writes]) {
                let fault = userfault()?;
                let memory = make(PAGES * PAGE)?;
                fault.watch(&memory, 0..PAGES, Watch::Writes)?;
                fault.protect(&memory, 0..PAGES, true)?;
                let case = format!("{kind}, {access}");
                pinners.check(&case, &memory, 0..PAGES, flags, expected);
                assert_eq!(fault.next(Duration::ZERO)?, None, "{case}");
            }
        }
        Ok(())
    })
}

/// What is mapped stays mapped: devices know nothing of who watches.
fn F182_watched_only_after_mapping() -> TestResult {
    with_pinners(|pinners| {
        let device = &pinners.open.session.device;
        let result = Memory::anonymous(PAGE)?;
        pinners.real().map(&result, 16 * IOVA)?;
        for (kind, make) in KINDS {
            let fault = userfault()?;
            let memory = make(PAGES * PAGE)?;
            memory.fill(0x31);
            let books = Books::open()?;
            pinners.real().map(&memory, IOVA)?;
            books.say_in(
                kind,
                memory.len() as i64 / PAGE as i64,
                memory.len() as i64 / PAGE as i64,
            );
            fault.watch(&memory, 0..PAGES, Watch::Writes)?;
            fault.protect(&memory, 0..PAGES, true)?;
            result.fill(0x32);
            copy(device, 16 * IOVA, IOVA, 16)?;
            assert_eq!(memory.read(0, 16), [0x32; 16], "{kind}");
            copy(device, IOVA + 8, 16 * IOVA + 64, 16)?;
            assert_eq!(
                result.read(64, 16),
                [[0x32; 8], [0x31; 8]].concat(),
                "{kind}"
            );
            assert_eq!(fault.next(Duration::ZERO)?, None, "{kind}");
            let size = memory.len() as u64;
            assert_eq!(pinners.real().unmap(IOVA, size)?, size);
            books.say_in(kind, 0, 0);
        }
        Ok(())
    })
}

/// A request that meets a missing page holds nobody up: it ends at once, and
/// so do the others on both containers.
fn F182_requests_beside_missing_pages() -> TestResult {
    with_pinners(|pinners| {
        let fault = userfault()?;
        let missing = Memory::anonymous(PAGES * PAGE)?;
        fault.watch(&missing, 0..PAGES, Watch::Missing)?;
        let good = Memory::anonymous(PAGE)?;
        good.fill(1);
        pinners.emulated().map(&missing, 64 * IOVA)?;
        let books = Books::open()?;
        let (stop, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
        let rounds = thread::scope(|scope| -> anyhow::Result<usize> {
            let others = scope.spawn(|| -> rustix::io::Result<()> {
                while !stop.load(Ordering::Relaxed) {
                    beside(pinners, &good)?;
                    requests.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
            let end = Instant::now() + Duration::from_secs(3);
            let mut rounds = 0;
            let mut answers = Vec::new();
            while Instant::now() < end && !others.is_finished() {
                answers.push(pinners.real().map(&missing, 64 * IOVA));
                answers.push(pinners.target.pin(64 * IOVA, 3, 3).map(drop));
                rounds += 1;
            }
            stop.store(true, Ordering::Relaxed);
            others.join().expect("a thread")?;
            assert!(
                answers.iter().all(|answer| *answer == Err(Errno::FAULT)),
                "{answers:?}"
            );
            Ok(rounds)
        })?;
        let requests = requests.into_inner();
        assert!(
            rounds > 10 && requests > 10,
            "{rounds} rounds, {requests} requests"
        );
        assert_eq!(fault.next(Duration::ZERO)?, None);
        books.say(0, 0);
        Ok(())
    })
}

/// What others ask meanwhile.
fn beside(pinners: &Pinners<'_>, good: &Memory) -> rustix::io::Result<()> {
    for container in [pinners.real(), pinners.emulated()] {
        container.info()?;
        container.map(good, IOVA)?;
        container.unmap(IOVA, PAGE as u64)?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Memory that is shared with a copy of the process until somebody writes: row
//! F183.
//!
//! A device that is not told when a page is copied must keep the page of the
//! process that mapped it, whoever writes first.

use std::os::fd::OwnedFd;

use anyhow::Context;
use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    device::Device,
    group::Group,
    memory::{Memory, HUGE_2M},
    process::Child,
    uapi, PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench::{self, Open},
    check::{fails, Books},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F183_fork_after_mapping.limit(120),
    F183_fork_before_mapping.limit(120),
    F183_fork_around_mapping_for_reads.limit(120),
    F183_shared_memory_stays_shared,
    F183_private_file_memory.limit(120),
    F183_memory_kept_from_children,
    F183_memory_wiped_in_children,
    F183_memory_that_moves,
    F183_huge_page_is_split.limit(120),
    F183_first_write_to_new_memory,
];

const PAGE64: u64 = PAGE as u64;
const READ: u32 = uapi::DMA_MAP_FLAG_READ;
/// Where the device puts what it has read.
const RESULT: u64 = 16 * IOVA;
/// How much of a page is compared.
pub(super) const LEN: usize = 8;

/// A copy of this process, which has its own view of the memory.
struct Twin {
    asks: OwnedFd,
    answers: OwnedFd,
    _child: Child,
}

/// What a twin does with a page when told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    Read,
    Write(u8),
}

impl Twin {
    /// Makes a copy that does what it is told with `memory` as it has it.
    fn fork(memory: &Memory) -> anyhow::Result<Self> {
        let (its_asks, asks) = rustix::pipe::pipe()?;
        let (answers, its_answers) = rustix::pipe::pipe()?;
        let child = Child::fork(|| {
            let mut order = [0; 4];
            while rustix::io::read(&its_asks, &mut order)? == order.len() {
                let [page_low, page_high, write, byte] = order;
                let page = usize::from(page_low) | usize::from(page_high) << 8;
                if write != 0 {
                    memory.write(page * PAGE, &[byte; LEN]);
                }
                let found = memory.read(page * PAGE, 1);
                rustix::io::write(&its_answers, &found)?;
            }
            Ok(())
        })?;
        Ok(Self {
            asks,
            answers,
            _child: child,
        })
    }

    /// What the twin finds in a page, after it has written there if it shall.
    fn tell(&self, page: usize, what: Do) -> anyhow::Result<u8> {
        let [low, high] = u16::try_from(page)?.to_le_bytes();
        let (write, byte) = match what {
            Do::Read => (0, 0),
            Do::Write(byte) => (1, byte),
        };
        rustix::io::write(&self.asks, &[low, high, write, byte])?;
        let mut answer = [0];
        let len = rustix::io::read(&self.answers, &mut answer)?;
        anyhow::ensure!(len == 1, "the twin is gone");
        Ok(answer[0])
    }

    fn read(&self, page: usize) -> anyhow::Result<u8> {
        self.tell(page, Do::Read)
    }

    fn write(&self, page: usize, byte: u8) -> anyhow::Result<u8> {
        self.tell(page, Do::Write(byte))
    }
}

/// A device, and memory of its own for the results.
pub(super) struct Bench {
    result: Memory,
    open: Open,
}

impl Bench {
    pub(super) fn new() -> anyhow::Result<Self> {
        let open = bench::open()?;
        let result = Memory::anonymous(PAGE)?;
        result.keep_from_children()?;
        result.fill(0);
        open.session.container.map(&result, RESULT)?;
        Ok(Self { result, open })
    }

    pub(super) fn container(&self) -> &Container {
        &self.open.session.container
    }

    pub(super) fn device(&self) -> &Device {
        &self.open.session.device
    }

    pub(super) fn group(&self) -> &Group {
        &self.open.session.group
    }

    fn map(&self, memory: &Memory, flags: u32) -> rustix::io::Result<()> {
        self.container()
            .map_part(memory, 0, memory.len(), IOVA, flags)
    }

    fn unmap(&self, memory: &Memory) -> TestResult {
        let size = memory.len() as u64;
        assert_eq!(self.container().unmap(IOVA, size)?, size);
        Ok(())
    }

    /// The bytes that the device finds at an address.
    pub(super) fn bytes(&self, iova: u64, len: usize) -> anyhow::Result<Vec<u8>> {
        self.result.write(0, &[0xee].repeat(len));
        copy(self.device(), iova, RESULT, len as u64)?;
        Ok(self.result.read(0, len))
    }

    /// What the device finds at an address, where it is the same byte again and
    /// again.
    pub(super) fn finds(&self, iova: u64) -> anyhow::Result<u8> {
        let found = self.bytes(iova, LEN)?;
        anyhow::ensure!(found == [found[0]; LEN], "torn: {found:x?}");
        Ok(found[0])
    }

    /// Lets the device write to an address.
    pub(super) fn writes(&self, iova: u64, byte: u8) -> TestResult {
        self.result.write(0, &[byte; LEN]);
        copy(self.device(), RESULT, iova, LEN as u64)?;
        Ok(())
    }
}

/// Where a page of the mapping is.
pub(super) fn at(page: usize) -> u64 {
    IOVA + page as u64 * PAGE64
}

/// The kinds of private memory, all touched.
type Make = fn() -> rustix::io::Result<Memory>;
const PRIVATE: [(&str, Make); 3] = [
    ("small pages", || {
        let memory = Memory::anonymous(4 * PAGE)?;
        memory.fill(1);
        Ok(memory)
    }),
    ("transparent huge pages", || {
        let memory = Memory::transparent_huge(HUGE_2M)?;
        memory.fill(1);
        Ok(memory)
    }),
    ("hugetlb", || {
        let memory = Memory::hugetlb(HUGE_2M)?;
        memory.fill(1);
        Ok(memory)
    }),
];

/// The process and the device have the same pages, and the twin has others.
fn apart(bench: &Bench, twin: &Twin, memory: &Memory, case: &str) -> TestResult {
    assert_eq!(twin.read(0)?, 1, "{case}: what the twin has");
    // Both write, the process first and the twin first.
    memory.write(0, &[2; LEN]);
    assert_eq!(bench.finds(at(0))?, 2, "{case}: the process wrote");
    assert_eq!(twin.read(0)?, 1, "{case}: the process wrote");
    assert_eq!(twin.write(1, 3)?, 3, "{case}");
    assert_eq!(bench.finds(at(1))?, 1, "{case}: the twin wrote");
    memory.write(PAGE, &[4; LEN]);
    assert_eq!(bench.finds(at(1))?, 4, "{case}: the process wrote last");
    assert_eq!(twin.read(1)?, 3, "{case}: the process wrote last");
    // The device writes before anybody else.
    bench.writes(at(2), 5)?;
    assert_eq!(
        memory.read(2 * PAGE, LEN),
        [5; LEN],
        "{case}: the device wrote"
    );
    assert_eq!(twin.read(2)?, 1, "{case}: the device wrote");
    Ok(())
}

fn F183_fork_after_mapping() -> TestResult {
    let bench = Bench::new()?;
    for (case, make) in PRIVATE {
        let memory = make()?;
        let books = Books::open()?;
        bench.map(&memory, READ_WRITE)?;
        let frames = memory.frames()?;
        let twin = Twin::fork(&memory)?;
        apart(&bench, &twin, &memory, case)?;
        // The process has kept all its pages.
        assert_eq!(memory.frames()?, frames, "{case}");
        drop(twin);
        bench.writes(at(3), 9)?;
        assert_eq!(memory.read(3 * PAGE, LEN), [9; LEN], "{case}");
        bench.unmap(&memory)?;
        books.say_in(case, 0, 0);
    }
    Ok(())
}

/// Mapping takes the pages away from the twin, although nobody has written yet.
fn F183_fork_before_mapping() -> TestResult {
    let bench = Bench::new()?;
    for (case, make) in PRIVATE {
        let memory = make()?;
        let twin = Twin::fork(&memory)?;
        let books = Books::open()?;
        bench.map(&memory, READ_WRITE)?;
        let frames = memory.frames()?;
        apart(&bench, &twin, &memory, case)?;
        assert_eq!(memory.frames()?, frames, "{case}");
        bench.unmap(&memory)?;
        books.say_in(case, 0, 0);
    }
    Ok(())
}

/// The same for a device that only reads, for which no page has to be writable.
fn F183_fork_around_mapping_for_reads() -> TestResult {
    let bench = Bench::new()?;
    for (kind, make) in PRIVATE {
        for before in [true, false] {
            let case = format!("{kind}, forked before: {before}");
            let memory = make()?;
            let twin = before.then(|| Twin::fork(&memory)).transpose()?;
            let books = Books::open()?;
            bench.map(&memory, READ)?;
            let twin = twin.map_or_else(|| Twin::fork(&memory), Ok)?;
            memory.write(0, &[2; LEN]);
            assert_eq!(bench.finds(at(0))?, 2, "{case}: the process wrote");
            assert_eq!(twin.read(0)?, 1, "{case}: the process wrote");
            assert_eq!(twin.write(1, 3)?, 3, "{case}");
            assert_eq!(bench.finds(at(1))?, 1, "{case}: the twin wrote");
            memory.write(PAGE, &[4; LEN]);
            assert_eq!(bench.finds(at(1))?, 4, "{case}: both wrote");
            bench.unmap(&memory)?;
            books.say_in(&case, 0, 0);
        }
    }
    Ok(())
}

fn F183_shared_memory_stays_shared() -> TestResult {
    let bench = Bench::new()?;
    for before in [true, false] {
        let memory = Memory::shared(4 * PAGE)?;
        let twin = before.then(|| Twin::fork(&memory)).transpose()?;
        let books = Books::open()?;
        bench.map(&memory, READ_WRITE)?;
        let twin = twin.map_or_else(|| Twin::fork(&memory), Ok)?;
        assert_eq!(twin.write(0, 7)?, 7);
        assert_eq!(
            bench.finds(at(0))?,
            7,
            "the twin wrote, forked before: {before}"
        );
        bench.writes(at(1), 8)?;
        assert_eq!(
            twin.read(1)?,
            8,
            "the device wrote, forked before: {before}"
        );
        assert_eq!(memory.read(PAGE, 1), [8]);
        bench.unmap(&memory)?;
        books.say(0, 0);
    }
    Ok(())
}

/// A private mapping of a file: what is mapped for a device is a copy of the
/// process's own, even if the device only reads.
fn F183_private_file_memory() -> TestResult {
    let bench = Bench::new()?;
    for flags in [READ, READ_WRITE] {
        for touched in [true, false] {
            let case = format!("flags {flags}, touched: {touched}");
            let file = rustix::fs::memfd_create("private", rustix::fs::MemfdFlags::CLOEXEC)?;
            rustix::fs::ftruncate(&file, 4 * PAGE64)?;
            let shared = Memory::of_file(&file, 0, 4 * PAGE, true)?;
            shared.fill(1);
            let memory = Memory::of_file_private(&file, 0, 4 * PAGE)?;
            if touched {
                assert_eq!(memory.read(0, 1), [1]);
            }
            let books = Books::open()?;
            bench.map(&memory, flags)?;
            books.say_in(&case, 4, 4);
            let frames = memory.frames()?;
            assert_eq!(bench.finds(at(0))?, 1, "{case}");
            // Who writes to the file writes to something else.
            shared.write(0, &[2; LEN]);
            assert_eq!(bench.finds(at(0))?, 1, "{case}: somebody wrote to the file");
            memory.write(0, &[3; LEN]);
            assert_eq!(bench.finds(at(0))?, 3, "{case}: the process wrote");
            assert_eq!(shared.read(0, 1), [2], "{case}: the process wrote");
            if flags == READ_WRITE {
                bench.writes(at(1), 4)?;
                assert_eq!(memory.read(PAGE, 1), [4], "{case}: the device wrote");
                assert_eq!(shared.read(PAGE, 1), [1], "{case}: the device wrote");
            }
            assert_eq!(memory.frames()?, frames, "{case}");
            bench.unmap(&memory)?;
            books.say_in(&case, 0, 0);
        }
    }
    Ok(())
}

fn F183_memory_kept_from_children() -> TestResult {
    let bench = Bench::new()?;
    for (case, make) in PRIVATE {
        let memory = make()?;
        memory.keep_from_children()?;
        bench.map(&memory, READ_WRITE)?;
        let frames = memory.frames()?;
        // The twin has nothing there, so it is asked nothing.
        let twin = Twin::fork(&memory)?;
        memory.write(0, &[2; LEN]);
        assert_eq!(bench.finds(at(0))?, 2, "{case}");
        bench.writes(at(1), 3)?;
        assert_eq!(memory.read(PAGE, LEN), [3; LEN], "{case}");
        drop(twin);
        assert_eq!(memory.frames()?, frames, "{case}");
        bench.unmap(&memory)?;
    }
    Ok(())
}

fn F183_memory_wiped_in_children() -> TestResult {
    let bench = Bench::new()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    memory.fill(1);
    memory.advise_part(0, 4 * PAGE, rustix::mm::Advice::LinuxWipeOnFork)?;
    bench.map(&memory, READ_WRITE)?;
    let twin = Twin::fork(&memory)?;
    assert_eq!(twin.read(0)?, 0);
    assert_eq!(twin.write(0, 9)?, 9);
    assert_eq!(bench.finds(at(0))?, 1);
    bench.writes(at(1), 3)?;
    assert_eq!(twin.read(1)?, 0);
    assert_eq!(memory.read(PAGE, 1), [3]);
    bench.unmap(&memory)
}

/// A mapping is of pages, not of addresses.
fn F183_memory_that_moves() -> TestResult {
    let bench = Bench::new()?;
    for (case, make) in PRIVATE {
        // The kernel moves no part of a page of hugetlb, but whole ones.
        let memory = make()?;
        let books = Books::open()?;
        bench.map(&memory, READ_WRITE)?;
        let frames = memory.frames()?;
        let old = memory.address();
        let memory = memory.moved().with_context(|| format!("move {case}"))?;
        assert_ne!(memory.address(), old, "{case}");
        assert_eq!(memory.frames()?, frames, "{case}");
        memory.write(0, &[6; LEN]);
        assert_eq!(bench.finds(at(0))?, 6, "{case}");
        bench.writes(at(1), 7)?;
        assert_eq!(memory.read(PAGE, LEN), [7; LEN], "{case}");
        // It can be mapped again where it is now.
        let container = bench.container();
        container.map_part(&memory, 0, PAGE, 8 * IOVA, READ_WRITE)?;
        assert_eq!(bench.finds(8 * IOVA)?, 6, "{case}");
        assert_eq!(container.unmap(8 * IOVA, PAGE64)?, PAGE64);
        // And not where it was.
        let result = container.map_raw(READ, old as u64, 8 * IOVA, PAGE64);
        fails(result, Errno::FAULT);
        bench.unmap(&memory)?;
        books.say_in(case, 0, 0);
    }
    Ok(())
}

/// Part of a huge page gets another protection, goes away or moves: the mapping
/// stays, and so do the pages.
fn F183_huge_page_is_split() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    for mapped_before in [true, false] {
        let memory = Memory::transparent_huge(2 * HUGE_2M)?;
        memory.fill(1);
        let books = Books::open()?;
        if mapped_before {
            bench.map(&memory, READ_WRITE)?;
        }
        memory.protect(100 * PAGE, 3 * PAGE, libc::PROT_READ)?;
        memory.protect(600 * PAGE, PAGE, libc::PROT_NONE)?;
        if mapped_before {
            // The device is not affected.
            bench.writes(at(101), 2)?;
            assert_eq!(memory.read(101 * PAGE, LEN), [2; LEN]);
            bench.writes(at(600), 3)?;
            books.say(1024, 1024);
        }
        // A new mapping is.
        for (first, end, flags, good) in [
            (0, 100, READ_WRITE, true),
            (0, 101, READ_WRITE, false),
            (99, 104, READ, true),
            (103, 512, READ_WRITE, true),
            (0, 600, READ, true),
            (0, 601, READ, false),
            (601, 1024, READ_WRITE, true),
        ] {
            let size = (end - first) * PAGE;
            let result = container.map_part(&memory, first * PAGE, size, 64 * IOVA, flags);
            match good {
                true => {
                    assert_eq!(result, Ok(()), "{first}..{end}");
                    assert_eq!(container.unmap(64 * IOVA, size as u64)?, size as u64);
                }
                false => fails(result, Errno::FAULT),
            }
        }
        memory.protect(0, memory.len(), libc::PROT_READ | libc::PROT_WRITE)?;
        if !mapped_before {
            bench.map(&memory, READ_WRITE)?;
        }
        // Copies of the process make no difference now either.
        let twin = Twin::fork(&memory)?;
        memory.write(101 * PAGE, &[4; LEN]);
        assert_eq!(bench.finds(at(101))?, 4);
        assert_eq!(twin.read(101)?, if mapped_before { 2 } else { 1 });
        assert_eq!(twin.write(600, 9)?, 9);
        assert_eq!(bench.finds(at(600))?, if mapped_before { 3 } else { 1 });
        drop(twin);
        books.say(1024, 1024);
        bench.unmap(&memory)?;
        books.say(0, 0);
    }
    Ok(())
}

/// Memory that was read but never written has the page of zeroes, which is not
/// what a device may be given: the process will have another one.
fn F183_first_write_to_new_memory() -> TestResult {
    let bench = Bench::new()?;
    for flags in [READ, READ_WRITE] {
        for looked_at in [true, false] {
            for huge in [true, false] {
                let case = format!("flags {flags}, looked at: {looked_at}, huge: {huge}");
                let memory = match huge {
                    true => Memory::transparent_huge(HUGE_2M)?,
                    false => Memory::anonymous(HUGE_2M)?,
                };
                memory.discard()?;
                if looked_at {
                    assert_eq!(memory.read(0, 1), [0]);
                }
                let books = Books::open()?;
                bench.map(&memory, flags)?;
                books.say_in(&case, 512, 512);
                memory.write(0, &[1; LEN]);
                assert_eq!(bench.finds(at(0))?, 1, "{case}");
                memory.write(500 * PAGE, &[2; LEN]);
                assert_eq!(bench.finds(at(500))?, 2, "{case}");
                bench.unmap(&memory)?;
                books.say_in(&case, 0, 0);
            }
        }
    }
    Ok(())
}

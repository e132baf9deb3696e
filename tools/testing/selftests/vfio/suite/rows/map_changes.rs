// SPDX-License-Identifier: GPL-2.0
//! Memory that its process gives back while it is mapped, as balloons do: row
//! F184.
//!
//! The device keeps the pages that were there when it was mapped, and they stay
//! charged until it is unmapped. A new mapping has what is there then.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{FallocateFlags, MemfdFlags},
    io::Errno,
    mm::Advice,
};
use vfio_selftests::{
    container::READ_WRITE,
    memory::{Memory, HUGE_2M},
    uapi, PAGE,
};

use super::{
    map::IOVA,
    map_cow::{at, Bench, LEN},
};
use crate::{
    check::{fails, Books},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F184_pages_given_back.limit(120),
    F184_hole_in_a_file.limit(120),
    F184_file_gets_shorter,
    F184_addresses_given_back.limit(120),
    F184_memory_shrinks_by_moving,
    F184_pages_given_back_again_and_again,
    F184_pages_paged_out_or_collapsed,
];

const PAGE64: u64 = PAGE as u64;
/// Where the new memory is mapped.
const AGAIN: u64 = 64 * IOVA;

/// A file of so many bytes, all of them 1, and a shared view of it.
fn file(len: usize, flags: MemfdFlags) -> anyhow::Result<(OwnedFd, Memory)> {
    let file = rustix::fs::memfd_create("balloon", MemfdFlags::CLOEXEC | flags)?;
    rustix::fs::ftruncate(&file, len as u64)?;
    let memory = Memory::of_file(&file, 0, len, true)?;
    memory.fill(1);
    Ok((file, memory))
}

fn F184_pages_given_back() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    // Memory, and what is there after pages of it were given back.
    type Make = fn() -> anyhow::Result<Memory>;
    let cases: [(&str, Make, u8); 5] = [
        ("small pages", || Ok(Memory::anonymous(HUGE_2M)?), 0),
        (
            "transparent huge",
            || Ok(Memory::transparent_huge(HUGE_2M)?),
            0,
        ),
        ("hugetlb", || Ok(Memory::hugetlb(HUGE_2M)?), 0),
        ("shared", || Ok(Memory::shared(HUGE_2M)?), 1),
        ("memfd", || Ok(file(HUGE_2M, MemfdFlags::empty())?.1), 1),
    ];
    for (case, make, after) in cases {
        let memory = make()?;
        memory.fill(1);
        let books = Books::open()?;
        container.map(&memory, IOVA)?;
        books.say_in(case, 512, 512);
        // Some pages, or all of a page of hugetlb.
        let (first, pages) = match case {
            "hugetlb" => (0, 512),
            _ => (7, 3),
        };
        memory.advise_part(first * PAGE, pages * PAGE, Advice::LinuxDontNeed)?;
        assert_eq!(memory.read((first + 1) * PAGE, 1), [after], "{case}");
        memory.write((first + 1) * PAGE, &[2; LEN]);
        // Where nothing but the view was given back it is the same page still.
        let seen = if after == 0 { 1 } else { 2 };
        assert_eq!(bench.finds(at(first + 1))?, seen, "{case}");
        bench.writes(at(first + 2), 3)?;
        let seen = if after == 0 { 0 } else { 3 };
        assert_eq!(memory.read((first + 2) * PAGE, LEN), [seen; LEN], "{case}");
        books.say_in(case, 512, 512);
        // Both can be mapped at once.
        container.map_part(&memory, first * PAGE, pages * PAGE, AGAIN, READ_WRITE)?;
        books.say_in(case, 512 + pages as i64, 512 + pages as i64);
        assert_eq!(bench.finds(AGAIN + PAGE64)?, 2, "{case}");
        let size = memory.len() as u64;
        assert_eq!(container.unmap(IOVA, size)?, size, "{case}");
        books.say_in(case, pages as i64, pages as i64);
        bench.writes(AGAIN + 2 * PAGE64, 4)?;
        assert_eq!(memory.read((first + 2) * PAGE, LEN), [4; LEN], "{case}");
        assert_eq!(
            container.unmap(AGAIN, size)?,
            pages as u64 * PAGE64,
            "{case}"
        );
        books.say_in(case, 0, 0);
    }
    Ok(())
}

fn F184_hole_in_a_file() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    // What the pages are, and how they are given back: as a hole of the file, or by advice.
    for (huge, advice) in [(false, false), (false, true), (true, false), (true, true)] {
        let case = format!("huge: {huge}, by advice: {advice}");
        let flags = match huge {
            true => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
            false => MemfdFlags::empty(),
        };
        let (file, memory) = file(2 * HUGE_2M, flags)?;
        let (first, pages) = if huge { (512, 512) } else { (512, 5) };
        let books = Books::open()?;
        container.map(&memory, IOVA)?;
        books.say_in(&case, 1024, 1024);
        match advice {
            true => memory.advise_part(first * PAGE, pages * PAGE, Advice::LinuxRemove)?,
            false => rustix::fs::fallocate(
                &file,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                (first * PAGE) as u64,
                (pages * PAGE) as u64,
            )?,
        }
        assert_eq!(bench.finds(at(first))?, 1, "{case}");
        assert_eq!(memory.read(first * PAGE, 1), [0], "{case}");
        memory.write(first * PAGE, &[2; LEN]);
        assert_eq!(bench.finds(at(first))?, 1, "{case}");
        bench.writes(at(first + 1), 3)?;
        assert_eq!(memory.read((first + 1) * PAGE, LEN), [0; LEN], "{case}");
        // Beside the hole nothing has changed.
        bench.writes(at(first - 1), 4)?;
        assert_eq!(memory.read((first - 1) * PAGE, LEN), [4; LEN], "{case}");
        books.say_in(&case, 1024, 1024);
        container.map_part(&memory, first * PAGE, pages * PAGE, AGAIN, READ_WRITE)?;
        assert_eq!(bench.finds(AGAIN)?, 2, "{case}");
        books.say_in(&case, 1024 + pages as i64, 1024 + pages as i64);
        let size = memory.len() as u64;
        assert_eq!(container.unmap(IOVA, size)?, size, "{case}");
        assert_eq!(
            container.unmap(AGAIN, size)?,
            pages as u64 * PAGE64,
            "{case}"
        );
        books.say_in(&case, 0, 0);
    }
    Ok(())
}

fn F184_file_gets_shorter() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let (file, memory) = file(64 * PAGE, MemfdFlags::empty())?;
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    rustix::fs::ftruncate(&file, 10 * PAGE64)?;
    // The device still has all of it.
    assert_eq!(bench.finds(at(9))?, 1);
    assert_eq!(bench.finds(at(63))?, 1);
    bench.writes(at(63), 2)?;
    assert_eq!(bench.finds(at(63))?, 2);
    books.say(64, 64);
    // What is gone cannot be mapped anew.
    for (first, pages) in [(0, 11), (10, 1), (63, 1)] {
        let result = container.map_part(&memory, first * PAGE, pages * PAGE, AGAIN, READ_WRITE);
        fails(result, Errno::FAULT);
        books.say(64, 64);
    }
    container.map_part(&memory, 0, 10 * PAGE, AGAIN, READ_WRITE)?;
    books.say(74, 74);
    assert_eq!(container.unmap(AGAIN, 10 * PAGE64)?, 10 * PAGE64);
    // A longer file has new pages there.
    rustix::fs::ftruncate(&file, 64 * PAGE64)?;
    container.map(&memory, AGAIN)?;
    books.say(128, 128);
    assert_eq!(bench.finds(AGAIN + 63 * PAGE64)?, 0);
    assert_eq!(bench.finds(at(63))?, 2);
    assert_eq!(container.unmap(IOVA, 64 * PAGE64)?, 64 * PAGE64);
    drop((file, memory));
    assert_eq!(bench.finds(AGAIN)?, 1);
    assert_eq!(container.unmap(AGAIN, 64 * PAGE64)?, 64 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn F184_addresses_given_back() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    type Make = fn(usize) -> rustix::io::Result<Memory>;
    let kinds: [(&str, Make); 4] = [
        ("small pages", Memory::anonymous),
        ("shared", Memory::shared),
        ("transparent huge", Memory::transparent_huge),
        ("hugetlb", Memory::hugetlb),
    ];
    for (case, make) in kinds {
        let memory = make(HUGE_2M)?;
        memory.fill(1);
        let books = Books::open()?;
        container.map(&memory, IOVA)?;
        let address = memory.address() as u64;
        drop(memory);
        assert_eq!(bench.finds(at(0))?, 1, "{case}");
        bench.writes(at(511), 2)?;
        assert_eq!(bench.finds(at(511))?, 2, "{case}");
        books.say_in(case, 512, 512);
        fails(
            container.map_raw(READ_WRITE, address, AGAIN, PAGE64),
            Errno::FAULT,
        );
        // Whatever comes next there is no part of it.
        let other = make(HUGE_2M)?;
        other.fill(3);
        container.map(&other, AGAIN)?;
        books.say_in(case, 1024, 1024);
        assert_eq!(bench.finds(at(0))?, 1, "{case}");
        assert_eq!(bench.finds(AGAIN)?, 3, "{case}");
        let size = HUGE_2M as u64;
        assert_eq!(container.unmap(IOVA, size)?, size, "{case}");
        books.say_in(case, 512, 512);
        drop(other);
        assert_eq!(container.unmap(AGAIN, size)?, size, "{case}");
        books.say_in(case, 0, 0);
    }
    Ok(())
}

/// A part of it moves elsewhere, which leaves a hole in the addresses.
fn F184_memory_shrinks_by_moving() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let memory = Memory::anonymous(64 * PAGE)?;
    memory.fill(1);
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    let frames = memory.frames()?;
    let (front, rest) = memory.split(20 * PAGE);
    let (middle, back) = rest.split(10 * PAGE);
    let middle = middle.moved()?;
    assert_eq!(middle.frames()?, frames[20..30]);
    middle.write(0, &[2; LEN]);
    assert_eq!(bench.finds(at(20))?, 2);
    bench.writes(at(29), 3)?;
    assert_eq!(middle.read(9 * PAGE, LEN), [3; LEN]);
    drop(back);
    assert_eq!(bench.finds(at(63))?, 1);
    books.say(64, 64);
    for (first, pages, good) in [
        (0, 20, true),
        (0, 21, false),
        (19, 2, false),
        (30, 1, false),
    ] {
        let vaddr = (front.address() + first * PAGE) as u64;
        let size = pages * PAGE64;
        let result = container.map_raw(READ_WRITE, vaddr, AGAIN, size);
        match good {
            true => {
                assert_eq!(result, Ok(()), "{pages} from {first}");
                assert_eq!(container.unmap(AGAIN, size)?, size);
            }
            false => fails(result, Errno::FAULT),
        }
        books.say(64, 64);
    }
    assert_eq!(container.unmap(IOVA, 64 * PAGE64)?, 64 * PAGE64);
    books.say(0, 0);
    Ok(())
}

/// As a balloon does it that knows nothing of devices: the charge does not add
/// up, and nothing is kept but what is mapped.
fn F184_pages_given_back_again_and_again() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let memory = Memory::transparent_huge(HUGE_2M)?;
    let books = Books::open()?;
    for round in 0..20 {
        memory.write(round * PAGE, &[round as u8; LEN]);
        let flags = [uapi::DMA_MAP_FLAG_READ, READ_WRITE][round % 2];
        container.map_part(&memory, 0, HUGE_2M, IOVA, flags)?;
        books.say(512, 512);
        memory.advise_part(round * PAGE, 2 * PAGE, Advice::LinuxDontNeed)?;
        memory.write(round * PAGE, &[0xff; LEN]);
        if round % 5 == 0 {
            assert_eq!(bench.finds(at(round))?, round as u8);
        }
        assert_eq!(container.unmap(IOVA, HUGE_2M as u64)?, HUGE_2M as u64);
        books.say(0, 0);
    }
    Ok(())
}

/// The kernel does not move or page out what devices have, also when it is
/// asked to.
fn F184_pages_paged_out_or_collapsed() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let memory = Memory::reserve(HUGE_2M)?;
    memory.place_anonymous(0, HUGE_2M)?;
    memory.fill(1);
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    let frames = memory.frames()?;
    memory.advise_part(0, HUGE_2M, Advice::LinuxPageOut)?;
    memory.advise_part(0, HUGE_2M, Advice::LinuxCold)?;
    memory.advise_part(0, HUGE_2M, Advice::LinuxHugepage)?;
    // A huge page would have to be another one.
    assert!(memory.collapse().is_err());
    assert_eq!(memory.frames()?, frames);
    memory.write(300 * PAGE, &[2; LEN]);
    assert_eq!(bench.finds(at(300))?, 2);
    bench.writes(at(301), 3)?;
    assert_eq!(memory.read(301 * PAGE, LEN), [3; LEN]);
    assert_eq!(container.unmap(IOVA, HUGE_2M as u64)?, HUGE_2M as u64);
    books.say(0, 0);
    // Without devices it can be done, and what is mapped then is the huge page.
    memory.collapse()?;
    assert_ne!(memory.frames()?, frames);
    container.map(&memory, IOVA)?;
    books.say(512, 512);
    assert_eq!(bench.finds(at(300))?, 2);
    assert_eq!(container.unmap(IOVA, HUGE_2M as u64)?, HUGE_2M as u64);
    books.say(0, 0);
    Ok(())
}

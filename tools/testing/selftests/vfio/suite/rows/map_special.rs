// SPDX-License-Identifier: GPL-2.0
//! Memory that is not simply that of the process: rows F186 and F187.

use std::{
    os::fd::{FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{fs::MemfdFlags, io::Errno};
use vfio_selftests::{
    container::READ_WRITE,
    memory::{Memory, HUGE_2M},
    sysfs, uapi, PAGE,
};

use super::{
    map::IOVA,
    map_cow::{self, LEN},
    mmio,
};
use crate::{
    check::{fails, fails_in, Books},
    harness::{rows, skip, Row, TestResult},
    pinners::{with_pinners, ACCESS},
};

pub(crate) const ROWS: &[Row] = rows![
    F186_code_of_the_kernel_for_programs,
    F186_data_of_the_kernel_for_programs,
    F186_gate_of_old_programs,
    F186_device_of_zeroes,
    F186_region_between_kinds_of_memory,
    F187_secret_memory,
    F187_secret_memory_behind_other,
];

const PAGE64: u64 = PAGE as u64;
const READ: u32 = uapi::DMA_MAP_FLAG_READ;
const GOOD: Result<(), Errno> = Ok(());
const FAULT: Result<(), Errno> = Err(Errno::FAULT);

/// Where the kernel has put something into this process: the start, and the
/// length.
fn area(name: &str) -> anyhow::Result<Option<(u64, u64)>> {
    let maps = sysfs::read("/proc/self/maps")?;
    let Some(line) = maps.lines().find(|line| line.ends_with(name)) else {
        return Ok(None);
    };
    let range = line
        .split(' ')
        .next()
        .and_then(|range| range.split_once('-'));
    let (start, end) = range.expect("a range of addresses");
    let start = u64::from_str_radix(start, 16)?;
    Ok(Some((start, u64::from_str_radix(end, 16)? - start)))
}

/// The process has the code for itself as soon as a device has it.
fn F186_code_of_the_kernel_for_programs() -> TestResult {
    let Some((start, len)) = area("[vdso]")? else {
        return skip("the kernel gives programs no code");
    };
    let bench = map_cow::Bench::new()?;
    let container = bench.container();
    let books = Books::open()?;
    for flags in [uapi::DMA_MAP_FLAG_WRITE, READ_WRITE] {
        fails(container.map_raw(flags, start, IOVA, len), Errno::FAULT);
        books.say(0, 0);
    }
    for _ in 0..2 {
        container.map_raw(READ, start, IOVA, len)?;
        let pages = (len / PAGE64) as i64;
        books.say(pages, pages);
        assert_eq!(bench.bytes(IOVA, 4)?, b"\x7fELF");
        assert_eq!(container.unmap(IOVA, len)?, len);
        books.say(0, 0);
    }
    Ok(())
}

/// Of the data from which programs read the clock, a device can have only what
/// the process has looked at, and only to read.
fn F186_data_of_the_kernel_for_programs() -> TestResult {
    let bench = map_cow::Bench::new()?;
    let container = bench.container();
    for name in ["[vvar]", "[vvar_vclock]"] {
        let Some((start, len)) = area(name)? else {
            continue;
        };
        let books = Books::open()?;
        let map = |flags, size| container.map_raw(flags, start, IOVA, size);
        for (access, flags, _) in ACCESS {
            fails_in(&format!("{name}, {access}"), map(flags, len), Errno::FAULT);
            books.say(0, 0);
        }
        for flags in [uapi::DMA_MAP_FLAG_WRITE, READ_WRITE] {
            fails(map(flags, PAGE64), Errno::FAULT);
            books.say(0, 0);
        }
        if name != "[vvar]" {
            fails(map(READ, PAGE64), Errno::FAULT);
            books.say(0, 0);
            continue;
        }
        // This reads the clock.
        assert!(Instant::now().elapsed() < Duration::from_secs(60));
        map(READ, PAGE64)?;
        books.say(1, 1);
        assert_eq!(container.unmap(IOVA, PAGE64)?, PAGE64);
        books.say(0, 0);
    }
    Ok(())
}

/// A page at an address of the kernel that all programs have in common.
fn F186_gate_of_old_programs() -> TestResult {
    const GATE: u64 = 0xffff_ffff_ff60_0000;
    let bench = map_cow::Bench::new()?;
    let books = Books::open()?;
    for (access, flags, _) in ACCESS {
        let result = bench.container().map_raw(flags, GATE, IOVA, PAGE64);
        fails_in(access, result, Errno::FAULT);
        books.say(0, 0);
    }
    Ok(())
}

/// `/dev/zero` is memory like any other.
fn F186_device_of_zeroes() -> TestResult {
    with_pinners(|pinners| {
        let zero = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/zero")?;
        for shared in [true, false] {
            for touch in [true, false] {
                for (access, flags, _) in ACCESS {
                    let memory = match shared {
                        true => Memory::of_file(&zero, 0, 600 * PAGE, true)?,
                        false => Memory::of_file_private(&zero, 0, 600 * PAGE)?,
                    };
                    if touch {
                        memory.fill(3);
                    }
                    let case = format!("shared: {shared}, touched: {touch}, {access}");
                    for pages in [1, 600] {
                        pinners.check(&case, &memory, 0..pages, flags, GOOD);
                    }
                    assert_eq!(memory.read(0, 1), [if touch { 3 } else { 0 }], "{case}");
                }
            }
        }
        Ok(())
    })
}

/// One request for reserved huge pages, a region of a device, and small pages of
/// a file and of the process. Only what is memory counts.
fn F186_region_between_kinds_of_memory() -> TestResult {
    const HUGE: usize = HUGE_2M / PAGE;
    const REGION: usize = 600;
    const FILE: usize = 40;
    const OWN: usize = 3;
    let bench = mmio::Bench::new()?;
    let container = bench.container();
    let huge = rustix::fs::memfd_create(
        "huge",
        MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
    )?;
    rustix::fs::ftruncate(&huge, HUGE_2M as u64)?;
    let file = rustix::fs::memfd_create("small", MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, (FILE * PAGE) as u64)?;
    let total = HUGE + REGION + FILE + OWN;
    let memory = Memory::reserve(total * PAGE)?;
    memory.place_file(0, &huge, 0, HUGE_2M, true)?;
    bench.place(&memory, HUGE, 0, REGION)?;
    memory.place_file((HUGE + REGION) * PAGE, &file, 0, FILE * PAGE, true)?;
    memory.place_anonymous((HUGE + REGION + FILE) * PAGE, OWN * PAGE)?;
    let books = Books::open()?;
    let counted = (HUGE + FILE + OWN) as i64;
    let borders = [HUGE, HUGE + REGION, HUGE + REGION + FILE];
    for flags in [READ, READ_WRITE] {
        let size = total * PAGE;
        container.map_part(&memory, 0, size, mmio::FAR, flags)?;
        books.say(counted, counted);
        for page in borders
            .into_iter()
            .flat_map(|border| [border - 1, border])
            .chain([0, total - 1])
        {
            memory.write_u32(page * PAGE, page as u32 + 0x800_0000);
            let found = bench.look(mmio::FAR + page as u64 * PAGE64)?;
            assert_eq!(found, page as u32 + 0x800_0000, "page {page}");
        }
        assert_eq!(container.unmap(mmio::FAR, size as u64)?, size as u64);
        books.say(0, 0);
        // A hole at the end, or one page of the file that may not be used.
        let result = container.map_part(&memory, 0, size + PAGE, mmio::FAR, flags);
        fails(result, Errno::FAULT);
        books.say(0, 0);
    }
    memory.protect((HUGE + REGION + FILE - 1) * PAGE, PAGE, libc::PROT_READ)?;
    fails(
        container.map_part(&memory, 0, total * PAGE, mmio::FAR, READ_WRITE),
        Errno::FAULT,
    );
    books.say(0, 0);
    Ok(())
}

/// Memory that not even the kernel can read.
fn secret(pages: usize) -> anyhow::Result<Memory> {
    // SAFETY: The call makes a file, and takes no address.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    if fd < 0 {
        return match Errno::from_io_error(&std::io::Error::last_os_error()) {
            Some(Errno::NOSYS) => skip("this kernel has no secret memory"),
            error => anyhow::bail!("memfd_secret: {error:?}"),
        };
    }
    // SAFETY: The call made this descriptor, and only we know of it.
    let file = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) };
    rustix::fs::ftruncate(&file, (pages * PAGE) as u64)?;
    Ok(Memory::of_file(&file, 0, pages * PAGE, true)?)
}

fn F187_secret_memory() -> TestResult {
    with_pinners(|pinners| {
        for touch in [true, false] {
            let memory = secret(64)?;
            if touch {
                memory.fill(1);
            }
            for pages in [1, 16, 64] {
                for (access, flags, _) in ACCESS {
                    let case = format!("{pages} pages, touched: {touch}, {access}");
                    pinners.check(&case, &memory, 0..pages, flags, FAULT);
                }
            }
        }
        Ok(())
    })
}

/// What comes before it is let go.
fn F187_secret_memory_behind_other() -> TestResult {
    let bench = map_cow::Bench::new()?;
    let container = bench.container();
    let secret = secret(16)?;
    secret.fill(1);
    let memory = Memory::reserve(64 * PAGE)?;
    memory.place_anonymous(0, 20 * PAGE)?;
    memory.place(20 * PAGE, secret)?;
    let books = Books::open()?;
    for (_, flags, _) in ACCESS {
        for (first, end) in [(0, 21), (0, 36), (19, 22)] {
            let size = (end - first) * PAGE;
            let result = container.map_part(&memory, first * PAGE, size, IOVA, flags);
            fails_in(&format!("{first}..{end}"), result, Errno::FAULT);
            books.say(0, 0);
        }
        container.map_part(&memory, 0, 20 * PAGE, IOVA, flags)?;
        books.say(20, 20);
        assert_eq!(container.unmap(IOVA, 20 * PAGE64)?, 20 * PAGE64);
    }
    assert_eq!(memory.read(20 * PAGE, LEN), [1; LEN]);
    Ok(())
}

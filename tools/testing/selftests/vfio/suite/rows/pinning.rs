// SPDX-License-Identifier: GPL-2.0
//! Emulated devices pin pages: rows F126, F127, R-14, R-15 and R-52.

use anyhow::Context;
use rustix::{io::Errno, thread::CapabilitySet};
use vfio_selftests::{
    container::READ_WRITE, kmsg::Log, memory::Memory, process, target::Target, uapi, PAGE,
};

use super::{fault_injection::each_allocation, map::IOVA};
use crate::{
    bench,
    check::{fails, fails_in, Books},
    emulated::{touched, By, BOTH, READ, WRITE},
    fixture::{abi, must_warn, Fixture, Kind},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F126_pin_counts,
    F126_pin_unaligned,
    F126_pin_permissions,
    F126_pin_errors_unwind,
    F126_pin_several_mappings,
    F126_pin_keeps_the_page,
    F126_pin_just_before_a_mapping.holds(Holds::OnlyRustType1),
    F127_pin_first_version,
    F127_pin_without_unmap_op,
    R14_pin_over_the_limit,
    R14_pin_of_device_memory,
    R14_pin_out_of_memory.limit(240),
    R15_pin_overflow,
    R15_unpin_nonsense,
    R52_pin_at_the_last_address,
];

const PAGE64: u64 = PAGE as u64;
/// The last page there is.
const TOP: u64 = u64::MAX - (PAGE64 - 1);

fn F126_pin_counts() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(8)?;
    let frames = memory.frames()?;
    let books = Books::open()?;
    session.container.map(&memory, IOVA)?;
    books.say(0, 0);

    // The driver gets the pages that are there, and each counts once.
    let (result, got) = target.pin_raw(IOVA + PAGE64, 3, BOTH);
    assert_eq!(result, Ok(3));
    assert_eq!(got, frames[1..4]);
    books.say(3, 3);
    // Pinning again what is pinned costs nothing.
    let (result, got) = target.pin_raw(IOVA + 2 * PAGE64, 4, BOTH);
    assert_eq!(result, Ok(4));
    assert_eq!(got, frames[2..6]);
    books.say(5, 5);
    // As often as it was pinned it has to be unpinned.
    target.unpin_raw(IOVA + PAGE64, 3)?;
    books.say(4, 4);
    target.unpin_raw(IOVA + 2 * PAGE64, 1)?;
    books.say(3, 3);
    // What is not pinned is skipped, without harm to what is.
    target.unpin_raw(IOVA, 3)?;
    books.say(3, 3);
    target.unpin_raw(IOVA, 8)?;
    books.say(0, 0);
    target.unpin_raw(IOVA, 8)?;
    books.say(0, 0);

    // The most pages that one request takes.
    let large = touched(513)?;
    let books = Books::open()?;
    session.container.map(&large, 2 * IOVA)?;
    fails(target.pin(2 * IOVA, 513, BOTH), Errno::TOOBIG);
    assert_eq!(target.pin(2 * IOVA, 512, BOTH)?, 512);
    books.say(512, 512);
    target.unpin(2 * IOVA)?;
    books.say(0, 0);
    Ok(())
}

fn F126_pin_unaligned() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(4)?;
    let frames = memory.frames()?;
    session.container.map(&memory, IOVA)?;
    let books = Books::open()?;

    // An address inside of a page means that page, and is remembered as it is.
    let (result, got) = target.pin_raw(IOVA + 0x123, 1, BOTH);
    assert_eq!((result, got), (Ok(1), vec![frames[0]]));
    books.say(1, 1);
    let (result, got) = target.pin_raw(IOVA, 1, BOTH);
    assert_eq!((result, got), (Ok(1), vec![frames[0]]));
    books.say(2, 2);
    for other in [IOVA + 8, IOVA + 0x122, IOVA + 0x124] {
        target.unpin_raw(other, 1)?;
        books.say(2, 2);
    }
    target.unpin_raw(IOVA, 1)?;
    books.say(1, 1);
    // The same address again counts as the same page.
    assert_eq!(target.pin_raw(IOVA + 0x123, 1, BOTH).0, Ok(1));
    books.say(1, 1);
    target.unpin_raw(IOVA + 0x123, 1)?;
    books.say(1, 1);
    target.unpin_raw(IOVA + 0x123, 1)?;
    books.say(0, 0);

    // Several pages begin at the same place in each.
    let (result, got) = target.pin_raw(IOVA + PAGE64 + 0xff8, 3, BOTH);
    assert_eq!((result, got), (Ok(3), frames[1..4].to_vec()));
    books.say(3, 3);
    target.unpin_raw(IOVA + PAGE64 + 0xff8, 3)?;
    books.say(0, 0);
    // The fourth would lie behind the mapping.
    let (result, got) = target.pin_raw(IOVA + PAGE64 + 0xff8, 4, BOTH);
    fails(result, Errno::INVAL);
    assert_eq!(got, [abi::PAGE_NONE; 4]);
    books.say(0, 0);
    // The driver finds it in the notification by its page.
    assert_eq!(target.pin(IOVA + 3 * PAGE64 + 0x800, 1, BOTH)?, 1);
    assert_eq!(session.container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn F126_pin_permissions() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(1)?;
    let books = Books::open()?;
    for (flags, good, bad) in [
        (uapi::DMA_MAP_FLAG_READ, &[READ][..], &[WRITE, BOTH][..]),
        (uapi::DMA_MAP_FLAG_WRITE, &[WRITE], &[READ, BOTH]),
        (READ_WRITE, &[READ, WRITE, BOTH], &[]),
    ] {
        container.map_part(&memory, 0, PAGE, IOVA, flags)?;
        for how in bad {
            fails_in(
                &format!("pin {how} in {flags}"),
                target.pin(IOVA, 1, *how),
                Errno::PERM,
            );
        }
        books.say(0, 0);
        for how in good {
            assert_eq!(target.pin(IOVA, 1, *how), Ok(1), "pin {how} in {flags}");
        }
        books.say(1, 1);
        // Also what is pinned already is not for every use.
        for how in bad {
            fails(target.pin(IOVA, 1, *how), Errno::PERM);
        }
        for _ in good {
            target.unpin(IOVA)?;
        }
        books.say(0, 0);
        container.unmap_all()?;
    }
    Ok(())
}

fn F126_pin_errors_unwind() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(8)?;
    memory.protect(5 * PAGE, PAGE, 0)?;
    container.map(&memory, IOVA)?;
    let books = Books::open()?;
    assert_eq!(target.pin_raw(IOVA + PAGE64, 1, BOTH).0, Ok(1));
    books.say(1, 1);

    // No pages, or fewer, which counts as too many.
    fails(target.pin_raw(IOVA, 0, BOTH).0, Errno::INVAL);
    for count in [-1, i32::MIN] {
        fails(target.pin_raw(IOVA, count, BOTH).0, Errno::TOOBIG);
    }
    // Nothing mapped: at all, at the end, at the start.
    for (name, first, count) in [("far", 100, 1), ("end", 6, 3), ("start", -1, 2)] {
        let iova = IOVA.wrapping_add_signed(first * PAGE as i64);
        fails_in(name, target.pin_raw(iova, count, BOTH).0, Errno::INVAL);
        books.say(1, 1);
    }
    // A page that the process itself cannot reach. What was pinned before it is
    // unpinned, and the list of pages says so.
    let (result, got) = target.pin_raw(IOVA, 7, BOTH);
    fails(result, Errno::FAULT);
    assert_eq!(got[..6], [abi::PAGE_NONE; 6]);
    books.say(1, 1);
    // The page that was pinned before is pinned as often as before: once.
    target.unpin_raw(IOVA + PAGE64, 1)?;
    books.say(0, 0);
    // And it works when the page is there.
    memory.protect(5 * PAGE, PAGE, libc::PROT_READ | libc::PROT_WRITE)?;
    assert_eq!(target.pin(IOVA, 8, BOTH)?, 8);
    books.say(8, 8);
    target.unpin(IOVA)?;
    books.say(0, 0);
    Ok(())
}

fn F126_pin_several_mappings() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(6)?;
    let frames = memory.frames()?;
    // Side by side, but not in the order of the memory.
    for (n, page) in [4, 0, 2].into_iter().enumerate() {
        let iova = IOVA + 2 * n as u64 * PAGE64;
        container.map_part(&memory, page * PAGE, 2 * PAGE, iova, READ_WRITE)?;
    }
    let books = Books::open()?;
    let (result, got) = target.pin_raw(IOVA, 6, BOTH);
    assert_eq!(result, Ok(6));
    assert_eq!(got, [4, 5, 0, 1, 2, 3].map(|page| frames[page]));
    books.say(6, 6);
    target.unpin_raw(IOVA, 6)?;
    books.say(0, 0);
    // The one in the middle is not for writing.
    container.unmap(IOVA + 2 * PAGE64, 2 * PAGE64)?;
    let read = uapi::DMA_MAP_FLAG_READ;
    container.map_part(&memory, 0, 2 * PAGE, IOVA + 2 * PAGE64, read)?;
    fails(target.pin(IOVA, 6, BOTH), Errno::PERM);
    books.say(0, 0);
    assert_eq!(target.pin(IOVA, 6, READ)?, 6);
    target.unpin(IOVA)?;
    books.say(0, 0);
    Ok(())
}

/// What a device pinned stays the memory of the process, whatever happens to
/// the page meanwhile.
fn F126_pin_keeps_the_page() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    session.container.map(&memory, IOVA)?;
    // Nothing was there yet: pinning brings it in.
    assert_eq!(memory.frames()?, [0, 0]);
    let (result, got) = target.pin_raw(IOVA, 2, BOTH);
    assert_eq!(result, Ok(2));
    assert_eq!(memory.frames()?, got);
    // A child gets copies, and we keep what is pinned.
    memory.write(0, b"before");
    process::in_child(|| {
        memory.write(0, b"child!");
        Ok(())
    })?;
    memory.write(0, b"after!");
    assert_eq!(memory.frames()?, got);
    assert_eq!(target.dma_read(IOVA, 6, By::Caller)?, b"after!");
    target.unpin_raw(IOVA, 2)?;
    Ok(())
}

/// An address that is not mapped, less than a page before one that is. The C
/// backend pins the page of the process that lies before those it mapped, and
/// with tracking on marks a page dirty that does not exist.
fn F126_pin_just_before_a_mapping() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(3)?;
    session
        .container
        .map_part(&memory, PAGE, PAGE, IOVA, READ_WRITE)?;
    let books = Books::open()?;
    for tracking in [false, true] {
        if tracking {
            session.container.dirty_start()?;
        }
        for before in [1, 8, PAGE64 - 1] {
            let (result, got) = target.pin_raw(IOVA - before, 1, BOTH);
            fails(result, Errno::INVAL);
            assert_eq!(got, [abi::PAGE_NONE]);
            fails(target.pin(IOVA - before, 2, BOTH), Errno::INVAL);
            books.say(0, 0);
        }
    }
    assert_eq!(session.container.dirty(IOVA, 1)?, []);
    Ok(())
}

fn F127_pin_first_version() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1_IOMMU)?;
    let memory = touched(2)?;
    session.container.map(&memory, IOVA)?;
    let books = Books::open()?;
    fails(target.pin(IOVA, 1, BOTH), Errno::ACCESS);
    // That comes before what else may be wrong.
    fails(target.pin(TOP, 2, BOTH), Errno::ACCESS);
    fails(target.pin(100 * IOVA, 1, BOTH), Errno::ACCESS);
    // But not before what nobody can do.
    fails(target.pin(IOVA, 0, BOTH), Errno::INVAL);
    books.say(0, 0);
    // Copying works, and unpinning what cannot be pinned is a bug of the driver.
    target.dma_write(IOVA, b"first", By::Caller)?;
    assert_eq!(memory.read(0, 5), b"first");
    must_warn(|| target.unpin_raw(IOVA, 1))??;
    books.say(0, 0);
    assert_eq!(session.container.unmap(IOVA, PAGE64)?, 2 * PAGE64);
    assert_eq!(target.told()?, [], "told of memory that it cannot pin");
    Ok(())
}

fn F127_pin_without_unmap_op() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.build().without(Kind::DmaUnmap).create()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(2)?;
    session.container.map(&memory, IOVA)?;
    let books = Books::open()?;
    fails(target.pin(IOVA, 1, BOTH), Errno::INVAL);
    // Another device in the container that can be told does not change that.
    let other = fixture.device()?;
    let group = other.join(&session.container)?;
    let _device = group.device(other.name())?;
    fails(target.pin(IOVA, 1, BOTH), Errno::INVAL);
    assert_eq!(other.pin(IOVA, 1, BOTH)?, 1);
    books.say(1, 1);
    target.dma_write(IOVA, b"deaf", By::Caller)?;
    assert_eq!(memory.read(0, 4), b"deaf");
    must_warn(|| target.unpin_raw(IOVA, 1))??;
    books.say(1, 1);
    assert_eq!(session.container.unmap_all()?, 2 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn R14_pin_over_the_limit() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(8)?;
    let books = Books::open()?;
    process::drop_capability(CapabilitySet::IPC_LOCK)?;
    process::limit_locked(3 * PAGE64)?;
    // More than the limit can be mapped, because nothing is locked by that.
    session.container.map(&memory, IOVA)?;
    let mut log = Log::from_now()?;
    fails(target.pin(IOVA, 4, BOTH), Errno::NOMEM);
    books.say(0, 0);
    let pid = rustix::process::getpid().to_string();
    let task = format!("Task vfio-selftests ({pid}) RLIMIT_MEMLOCK (12288) exceeded");
    let warnings = log.with(&[&task])?;
    assert!(
        warnings.iter().any(|message| message.level == 4),
        "no warning: {warnings:?}"
    );
    assert_eq!(target.pin(IOVA, 3, BOTH)?, 3);
    books.say(3, 3);
    fails(target.pin(IOVA + 3 * PAGE64, 1, BOTH), Errno::NOMEM);
    // What is pinned already can be had again.
    assert_eq!(target.pin(IOVA + PAGE64, 2, BOTH)?, 2);
    books.say(3, 3);
    target.unpin(IOVA)?;
    books.say(2, 2);
    assert_eq!(target.pin(IOVA + 7 * PAGE64, 1, BOTH)?, 1);
    books.say(3, 3);
    assert_eq!(session.container.unmap_all()?, 8 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn R14_pin_of_device_memory() -> TestResult {
    let edu = bench::open()?;
    let bar = edu.session.device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(1)?;
    session.container.map(&memory, IOVA)?;
    session
        .container
        .map_part(&bar, 0, PAGE, IOVA + PAGE64, READ_WRITE)?;
    let books = Books::open()?;
    // It has no page that could be pinned.
    fails(target.pin(IOVA + PAGE64, 1, BOTH), Errno::INVAL);
    books.say(0, 0);
    fails(target.pin(IOVA, 2, BOTH), Errno::INVAL);
    books.say(0, 0);
    assert_eq!(session.container.unmap_all()?, 2 * PAGE64);
    Ok(())
}

/// Only a kernel that can let allocations fail shows this.
fn R14_pin_out_of_memory() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(4)?;
    session.container.map(&memory, IOVA)?;
    let books = Books::open()?;
    // Once as usual: what the kernel sets up once for all is not the point.
    target.pin(IOVA, 4, BOTH)?;
    target.unpin(IOVA)?;
    let mut refused = 0;
    each_allocation(|fault| {
        match fault.during(|| target.pin(IOVA, 4, BOTH))? {
            Ok(_) => {
                books.say(4, 4);
                target.unpin(IOVA)?;
            }
            Err(error) => {
                assert!(
                    matches!(error, Errno::NOMEM | Errno::FAULT),
                    "failed with {error}"
                );
                refused += 1;
            }
        }
        books.say(0, 0);
        target.pin(IOVA, 4, BOTH).context("after a failure")?;
        target.unpin(IOVA)?;
        Ok(())
    })?;
    assert!(refused > 0, "no allocation mattered");
    Ok(())
}

fn R15_pin_overflow() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(2)?;
    session
        .container
        .map_part(&memory, 0, PAGE, TOP, READ_WRITE)?;
    session
        .container
        .map_part(&memory, PAGE, PAGE, 0, READ_WRITE)?;
    let books = Books::open()?;
    for (iova, count) in [
        (TOP, 2),
        (TOP + 1, 1),
        (u64::MAX, 1),
        (u64::MAX, 512),
        (TOP - PAGE64, 3),
    ] {
        fails_in(
            &format!("{count} at {iova:#x}"),
            target.pin_raw(iova, count, BOTH).0,
            Errno::OVERFLOW,
        );
    }
    books.say(0, 0);
    Ok(())
}

fn R15_unpin_nonsense() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(2)?;
    session.container.map(&memory, IOVA)?;
    let books = Books::open()?;
    assert_eq!(target.pin_raw(IOVA, 2, BOTH).0, Ok(2));
    for (iova, count) in [
        (IOVA, 0),
        (IOVA, -1),
        (IOVA, 513),
        (TOP, 2),
        (IOVA - PAGE64, 2),
    ] {
        must_warn(|| target.unpin_raw(iova, count))
            .with_context(|| format!("{count} at {iova:#x}"))??;
        books.say(2, 2);
    }
    // Up to where nothing is mapped it is done.
    must_warn(|| target.unpin_raw(IOVA + PAGE64, 2))??;
    books.say(1, 1);
    target.unpin_raw(IOVA, 1)?;
    books.say(0, 0);
    Ok(())
}

fn R52_pin_at_the_last_address() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(2)?;
    let frames = memory.frames()?;
    let books = Books::open()?;
    container.map(&memory, TOP - PAGE64)?;
    let (result, got) = target.pin_raw(TOP, 1, BOTH);
    assert_eq!((result, got), (Ok(1), vec![frames[1]]));
    books.say(1, 1);
    target.unpin_raw(TOP, 1)?;
    books.say(0, 0);
    assert_eq!(target.pin(TOP - PAGE64, 2, BOTH)?, 2);
    books.say(2, 2);
    target.dma_write(u64::MAX - 3, b"last", By::Caller)?;
    assert_eq!(memory.read(2 * PAGE - 4, 4), b"last");
    // Beyond there is nothing, not even the first address.
    assert!(target
        .dma_write(u64::MAX - 3, b"later", By::Caller)
        .is_err());
    assert_eq!(container.unmap(TOP - PAGE64, 2 * PAGE64)?, 2 * PAGE64);
    books.say(0, 0);
    assert_eq!(target.told()?, [(TOP - PAGE64, 2 * PAGE64)]);
    Ok(())
}

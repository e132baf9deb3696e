// SPDX-License-Identifier: GPL-2.0
//! Adding mappings: rows F099-F105, R-02, R-03, R-06, R-09 and R-12.

use std::mem;

use rustix::{io::Errno, thread::CapabilitySet};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    device::Device,
    edu::Edu,
    kmsg::Log,
    memory::Memory,
    module::{self, Parameter},
    process,
    request::{self, Arg, BAD_ADDRESS},
    target::Target,
    uapi::{self, IommuType1DmaMap},
    PAGE,
};

use crate::{
    bench,
    check::{fails, fails_in, pinned_pages},
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F099_map_validation_order,
    F099_map_argument,
    F100_map_overlap,
    F101_map_limit,
    F102_map_outside_iova_ranges,
    F103_map_top_of_address_space,
    F103_map_top_of_the_aperture,
    F104_map_memlock,
    F104_map_privileged,
    F105_map_bad_vaddr,
    F105_protection_keys_are_for_programs,
    R02_wrapping_changes_nothing,
    R03_many_small_mappings.limit(240),
    R06_no_page_behind_the_address,
    R09_read_only_memory,
    R12_very_large_map.limit(240),
];

/// Where tests map things: low enough for every device.
pub(crate) const IOVA: u64 = 0x10_0000;
/// An address that no device may use for DMA: interrupts go there.
const MSI: u64 = 0xfee0_0000;
const PAGE64: u64 = PAGE as u64;

/// Lets the device copy from one address to another.
pub(crate) fn copy(device: &Device, from: u64, to: u64, len: u64) -> rustix::io::Result<()> {
    let edu = Edu::new(device)?;
    edu.read_memory(from, len)?;
    edu.write_memory(to, len)
}

fn F099_map_validation_order() -> TestResult {
    let _limit = Parameter::set(module::TYPE1, "dma_entry_limit", "2")?;
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    let hole = Memory::inaccessible(PAGE)?;
    let good = IommuType1DmaMap {
        argsz: mem::size_of::<IommuType1DmaMap>() as u32,
        flags: READ_WRITE,
        vaddr: memory.address() as u64,
        iova: 16 * IOVA,
        size: PAGE64,
    };
    let send = |arg: IommuType1DmaMap| Arg::new(&arg).send(container, uapi::IOMMU_MAP_DMA);

    // Each thing that can be wrong, in the order in which it is found.
    type Wrong = (&'static str, fn(&mut IommuType1DmaMap), Errno);
    let wrong: &[Wrong] = &[
        ("argsz", |arg| arg.argsz = 31, Errno::INVAL),
        ("unknown flag", |arg| arg.flags |= 8, Errno::INVAL),
        ("size 0", |arg| arg.size = 0, Errno::INVAL),
        // Not for a size of 0, which is found before and has no end.
        (
            "iova wraps",
            |arg| (arg.iova, arg.size) = (TOP, arg.size + PAGE64),
            Errno::OVERFLOW,
        ),
        (
            "vaddr wraps",
            |arg| (arg.vaddr, arg.size) = (TOP, arg.size + PAGE64),
            Errno::OVERFLOW,
        ),
        (
            "no direction",
            |arg| arg.flags &= !(READ_WRITE | uapi::DMA_MAP_FLAG_VADDR),
            Errno::INVAL,
        ),
        (
            "new address and direction",
            |arg| arg.flags |= uapi::DMA_MAP_FLAG_VADDR,
            Errno::INVAL,
        ),
        ("iova unaligned", |arg| arg.iova += 1, Errno::INVAL),
        ("vaddr unaligned", |arg| arg.vaddr += 8, Errno::INVAL),
        ("size unaligned", |arg| arg.size += 16, Errno::INVAL),
    ];
    for (n, (name, make, errno)) in wrong.iter().enumerate() {
        let mut arg = good;
        make(&mut arg);
        fails_in(name, send(arg), *errno);
        for (later, make_later, _) in &wrong[n + 1..] {
            // The later one first: what it puts there may be changed again.
            let mut arg = good;
            make_later(&mut arg);
            make(&mut arg);
            fails_in(&format!("{name} and {later}"), send(arg), *errno);
        }
    }

    // What depends on the state of the container: there is a mapping, and room
    // for none more; then for one more.
    container.map_raw(READ_WRITE, good.vaddr, IOVA, 2 * PAGE64)?;
    container.map_raw(READ_WRITE, good.vaddr, 2 * IOVA, PAGE64)?;
    let overlap = IommuType1DmaMap {
        iova: IOVA + PAGE64,
        ..good
    };
    let outside = IommuType1DmaMap { iova: MSI, ..good };
    let bad_vaddr = hole.address() as u64;
    fails_in(
        "unaligned overlap",
        send(IommuType1DmaMap {
            vaddr: 1,
            ..overlap
        }),
        Errno::INVAL,
    );
    fails_in("overlap, no room", send(overlap), Errno::EXIST);
    let both = IommuType1DmaMap {
        vaddr: bad_vaddr,
        ..overlap
    };
    fails_in("overlap, no room, bad vaddr", send(both), Errno::EXIST);
    fails_in("no room", send(good), Errno::NOSPC);
    fails_in("no room, outside", send(outside), Errno::NOSPC);
    fails_in(
        "no room, bad vaddr",
        send(IommuType1DmaMap {
            vaddr: bad_vaddr,
            ..good
        }),
        Errno::NOSPC,
    );
    container.unmap(2 * IOVA, PAGE64)?;
    fails_in("outside", send(outside), Errno::INVAL);
    let both = IommuType1DmaMap {
        vaddr: bad_vaddr,
        ..outside
    };
    fails_in("outside, bad vaddr", send(both), Errno::INVAL);
    fails_in(
        "bad vaddr",
        send(IommuType1DmaMap {
            vaddr: bad_vaddr,
            ..good
        }),
        Errno::FAULT,
    );
    send(good)?;
    Ok(())
}

fn F099_map_argument() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(PAGE)?;
    let good = IommuType1DmaMap {
        argsz: 32,
        flags: uapi::DMA_MAP_FLAG_READ,
        vaddr: memory.address() as u64,
        iova: IOVA,
        size: PAGE64,
    };
    fails(
        request::with_bad_address(container, uapi::IOMMU_MAP_DMA),
        Errno::FAULT,
    );
    let half = Arg::from_bytes(&request::bytes_of(&good)[..24]);
    fails(half.send(container, uapi::IOMMU_MAP_DMA), Errno::FAULT);
    // Nothing is written back, so it need not be writable; and more than there
    // must be is no harm.
    let arg = Arg::new(&IommuType1DmaMap {
        argsz: 4000,
        ..good
    });
    arg.make_read_only();
    arg.send(container, uapi::IOMMU_MAP_DMA)?;
    // Each direction alone, and both.
    for flags in [
        uapi::DMA_MAP_FLAG_READ,
        uapi::DMA_MAP_FLAG_WRITE,
        READ_WRITE,
    ] {
        container.unmap_all()?;
        container.map_raw(flags, good.vaddr, good.iova, good.size)?;
    }
    Ok(())
}

fn F100_map_overlap() -> TestResult {
    for backend in [uapi::TYPE1_IOMMU, uapi::TYPE1v2_IOMMU] {
        let open = bench::open_edu(backend)?;
        let container = &open.session.container;
        let memory = Memory::anonymous(8 * PAGE)?;
        container.map_part(&memory, 0, 4 * PAGE, IOVA, READ_WRITE)?;
        for (name, first, pages) in [
            ("the same", 0, 4),
            ("inside", 1, 2),
            ("its first page", 0, 1),
            ("its last page", 3, 1),
            ("across its start", -1, 2),
            ("across its end", 3, 2),
            ("around it", -2, 8),
        ] {
            let iova = IOVA.wrapping_add_signed(first * PAGE as i64);
            let result = container.map_part(&memory, 0, pages * PAGE, iova, READ_WRITE);
            fails_in(name, result, Errno::EXIST);
        }
        // Side by side is no overlap, and the same memory twice is none.
        container.map_part(&memory, 0, PAGE, IOVA - PAGE64, READ_WRITE)?;
        container.map_part(&memory, 0, PAGE, IOVA + 4 * PAGE64, READ_WRITE)?;
        assert_eq!(container.unmap_all()?, 6 * PAGE64);
    }
    Ok(())
}

fn F101_map_limit() -> TestResult {
    let limit = Parameter::set(module::TYPE1, "dma_entry_limit", "3")?;
    let open = bench::open()?;
    // The value counts that there was when the backend was chosen.
    drop(limit);
    let container = &open.session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    let avail = || container.info().map(|info| info.dma_avail());
    for n in 0..3 {
        assert_eq!(avail()?, Some(3 - n));
        container.map_part(&memory, 0, PAGE, IOVA + u64::from(n) * PAGE64, READ_WRITE)?;
    }
    assert_eq!(avail()?, Some(0));
    fails(
        container.map_part(&memory, 0, PAGE, 2 * IOVA, READ_WRITE),
        Errno::NOSPC,
    );
    // Two mappings go in one request, and make room for two.
    assert_eq!(container.unmap(IOVA, 2 * PAGE64)?, 2 * PAGE64);
    assert_eq!(avail()?, Some(2));
    container.map_part(&memory, 0, PAGE, 2 * IOVA, READ_WRITE)?;
    // Failing does not use room up.
    let hole = Memory::inaccessible(PAGE)?;
    fails(container.map(&hole, 3 * IOVA), Errno::FAULT);
    assert_eq!(avail()?, Some(1));
    container.unmap_all()?;
    assert_eq!(avail()?, Some(3));
    // Another container has the value there is now.
    drop(open);
    let open = bench::open()?;
    let default: u32 =
        vfio_selftests::sysfs::read_number(Parameter::path(module::TYPE1, "dma_entry_limit"))?
            .try_into()?;
    assert_eq!(open.session.container.info()?.dma_avail(), Some(default));
    Ok(())
}

fn F102_map_outside_iova_ranges() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let ranges = container
        .info()?
        .iova_ranges()
        .expect("the addresses that are good");
    let memory = Memory::anonymous(2 * PAGE)?;
    for range in &ranges {
        // The first and the last page of each are good...
        container.map_part(&memory, 0, PAGE, range.start, READ_WRITE)?;
        container.map_part(&memory, 0, PAGE, range.end - (PAGE64 - 1), READ_WRITE)?;
        // ...their neighbours outside are not, nor what lies across the border.
        if range.start >= PAGE64 {
            let before = range.start - PAGE64;
            fails(
                container.map_part(&memory, 0, PAGE, before, READ_WRITE),
                Errno::INVAL,
            );
        }
        if let Some(behind) = range.end.checked_add(1) {
            fails(
                container.map_part(&memory, 0, PAGE, behind, READ_WRITE),
                Errno::INVAL,
            );
        }
        container.unmap_all()?;
        if range.end.checked_add(PAGE64).is_some() {
            let across = range.end - (PAGE64 - 1);
            fails(
                container.map_part(&memory, 0, 2 * PAGE, across, READ_WRITE),
                Errno::INVAL,
            );
        }
    }
    // From one range to the next, over what lies between them.
    for pair in ranges.windows(2) {
        let iova = pair[0].end - (PAGE64 - 1);
        let size = pair[1].start + PAGE64 - iova;
        let result = container.map_raw(READ_WRITE, memory.address() as u64, iova, size);
        fails(result, Errno::INVAL);
    }
    assert_eq!(container.unmap_all()?, 0);
    Ok(())
}

/// The last page there is.
const TOP: u64 = u64::MAX - (PAGE64 - 1);

fn F103_map_top_of_address_space() -> TestResult {
    // Only emulated devices have that many addresses.
    let mtty = bench::mtty(1)?;
    for backend in [uapi::TYPE1_IOMMU, uapi::TYPE1v2_IOMMU] {
        let session = mtty.open(backend)?;
        let container = &session.container;
        let memory = Memory::anonymous(2 * PAGE)?;
        let vaddr = memory.address() as u64;
        fails(
            container.map_raw(READ_WRITE, vaddr, TOP, 2 * PAGE64),
            Errno::OVERFLOW,
        );
        fails(
            container.map_raw(READ_WRITE, TOP, IOVA, 2 * PAGE64),
            Errno::OVERFLOW,
        );
        container.map_raw(READ_WRITE, vaddr, TOP, PAGE64)?;
        fails(
            container.map_raw(READ_WRITE, vaddr, TOP, PAGE64),
            Errno::EXIST,
        );
        fails(container.unmap(TOP, 2 * PAGE64), Errno::OVERFLOW);
        assert_eq!(container.unmap(TOP, PAGE64)?, PAGE64);
        // Two pages that end there, and memory that ends there.
        container.map_raw(READ_WRITE, vaddr, TOP - PAGE64, 2 * PAGE64)?;
        assert_eq!(container.unmap(TOP - PAGE64, 2 * PAGE64)?, 2 * PAGE64);
        container.map_raw(READ_WRITE, TOP, IOVA, PAGE64)?;
        assert_eq!(container.unmap(IOVA, PAGE64)?, PAGE64);
        // All of it at once.
        container.map_raw(READ_WRITE, 0, 0, TOP)?;
        container.map_raw(READ_WRITE, vaddr, TOP, PAGE64)?;
        fails(
            container.map_raw(READ_WRITE, vaddr, IOVA, PAGE64),
            Errno::EXIST,
        );
        assert_eq!(container.unmap(TOP, PAGE64)?, PAGE64);
        assert_eq!(container.unmap(0, TOP)?, TOP);
    }
    Ok(())
}

fn F103_map_top_of_the_aperture() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let last = container
        .info()?
        .iova_ranges()
        .and_then(|r| r.last().map(|r| r.end));
    let top = last.expect("the addresses that are good") - (PAGE64 - 1);
    let memory = Memory::anonymous(PAGE)?;
    memory.write(0, b"at the very top");
    let target = Memory::anonymous(PAGE)?;
    container.map(&memory, top)?;
    container.map(&target, IOVA)?;
    copy(&open.session.device, top, IOVA, 15)?;
    assert_eq!(target.read(0, 15), b"at the very top");
    fails(container.map(&memory, top), Errno::EXIST);
    assert_eq!(container.unmap(top, PAGE64)?, PAGE64);
    Ok(())
}

fn F104_map_memlock() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(32 * PAGE)?;
    memory.fill(1);
    process::drop_capability(CapabilitySet::IPC_LOCK)?;
    process::limit_locked(16 * PAGE64)?;
    let before = process::locked()?;
    let pinned = pinned_pages()?;
    let mut log = Log::from_now()?;

    fails(container.map(&memory, IOVA), Errno::NOMEM);
    // Nothing is left of it.
    assert_eq!(process::locked()?, before);
    assert_eq!(pinned_pages()?, pinned);
    assert_eq!(container.unmap_all()?, 0);
    let warnings = log.with(&["RLIMIT_MEMLOCK (65536) exceeded"])?;
    assert!(
        warnings.iter().any(|message| message.level == 4),
        "no warning: {warnings:?}"
    );

    // Up to the limit is fine, one more page is not.
    container.map_part(&memory, 0, 16 * PAGE, IOVA, READ_WRITE)?;
    assert_eq!(process::locked()?, before + 16 * PAGE64);
    let one_more = container.map_part(&memory, 16 * PAGE, PAGE, 2 * IOVA, READ_WRITE);
    fails(one_more, Errno::NOMEM);
    assert_eq!(process::locked()?, before + 16 * PAGE64);
    container.unmap_all()?;
    assert_eq!(process::locked()?, before);
    assert_eq!(pinned_pages()?, pinned);
    container.map_part(&memory, 16 * PAGE, PAGE, 2 * IOVA, READ_WRITE)?;
    Ok(())
}

fn F104_map_privileged() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(32 * PAGE)?;
    process::limit_locked(PAGE64)?;
    let before = process::locked()?;
    // The limit is nothing to who may lock as much as he likes, but it counts.
    container.map(&memory, IOVA)?;
    assert_eq!(process::locked()?, before + 32 * PAGE64);
    // Who may no longer is held to it, and what he had stays.
    process::drop_capability(CapabilitySet::IPC_LOCK)?;
    let more = Memory::anonymous(PAGE)?;
    fails(container.map(&more, 2 * IOVA), Errno::NOMEM);
    assert_eq!(process::locked()?, before + 32 * PAGE64);
    assert_eq!(container.unmap_all()?, 32 * PAGE64);
    assert_eq!(process::locked()?, before);
    Ok(())
}

fn F105_protection_keys_are_for_programs() -> TestResult {
    let memory = Memory::anonymous(4 * PAGE)?;
    memory.write(PAGE, b"hello");
    let copied = Memory::anonymous(PAGE)?;
    if let Err(Errno::NOSPC | Errno::INVAL | Errno::NOSYS) = memory.lock_with_key() {
        return skip("this processor has no protection keys");
    }
    let open = bench::open()?;
    let container = &open.session.container;
    // A device may use what the thread that maps it may not.
    container.map(&memory, IOVA)?;
    container.map(&copied, IOVA + 8 * PAGE64)?;
    copy(&open.session.device, IOVA + PAGE64, IOVA + 8 * PAGE64, 5)?;
    assert_eq!(copied.read(0, 5), b"hello");
    assert_eq!(container.unmap_all()?, 5 * PAGE64);
    Ok(())
}

fn F105_map_bad_vaddr() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let before = process::locked()?;
    let pinned = pinned_pages()?;
    let avail = container.info()?.dma_avail();

    let hole = Memory::inaccessible(PAGE)?;
    let kernel = BAD_ADDRESS as u64 & !(1 << 62);
    // Good to its middle, and from there on not.
    let torn = Memory::anonymous(64 * PAGE)?;
    torn.fill(7);
    torn.protect(40 * PAGE, PAGE, 0)?;
    let cases = [
        ("nothing there", PAGE64, PAGE64),
        ("an address of the kernel", kernel & !(PAGE64 - 1), PAGE64),
        ("inaccessible", hole.address() as u64, PAGE64),
        ("a hole in the middle", torn.address() as u64, 64 * PAGE64),
        ("a hole at the end", torn.address() as u64, 41 * PAGE64),
        (
            "a hole at the start",
            torn.address() as u64 + 40 * PAGE64,
            24 * PAGE64,
        ),
    ];
    for (name, vaddr, size) in cases {
        fails_in(
            name,
            container.map_raw(READ_WRITE, vaddr, IOVA, size),
            Errno::FAULT,
        );
        assert_eq!(process::locked()?, before, "{name}: locked");
        assert_eq!(pinned_pages()?, pinned, "{name}: pinned");
        assert_eq!(container.info()?.dma_avail(), avail, "{name}: budget");
    }
    // Read-only memory that devices shall write to.
    let read_only = Memory::anonymous(PAGE)?;
    read_only.fill(1);
    read_only.protect(0, PAGE, 1)?;
    fails(container.map(&read_only, IOVA), Errno::FAULT);
    let read = uapi::DMA_MAP_FLAG_READ;
    container.map_part(&read_only, 0, PAGE, IOVA, read)?;
    assert_eq!(container.unmap_all()?, PAGE64);
    // The address is free again.
    container.map_part(&torn, 0, 40 * PAGE, IOVA, READ_WRITE)?;
    assert_eq!(container.unmap_all()?, 40 * PAGE64);
    assert_eq!(pinned_pages()?, pinned);
    Ok(())
}

fn R02_wrapping_changes_nothing() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(PAGE)?;
    let vaddr = memory.address() as u64;
    container.map(&memory, IOVA)?;
    let avail = container.info()?.dma_avail();
    for size in [2 * PAGE64, 1 << 63, TOP] {
        fails(
            container.map_raw(READ_WRITE, vaddr, TOP, size),
            Errno::OVERFLOW,
        );
        fails(container.map_raw(READ_WRITE, TOP, 0, size), Errno::OVERFLOW);
        fails(container.unmap(TOP, size), Errno::OVERFLOW);
        if size > 2 * PAGE64 {
            fails(container.unmap(1 << 63 | PAGE64, size), Errno::OVERFLOW);
        }
    }
    assert_eq!(container.info()?.dma_avail(), avail);
    assert_eq!(container.unmap_all()?, PAGE64);
    Ok(())
}

fn R03_many_small_mappings() -> TestResult {
    const LIMIT: u32 = 2000;
    let _limit = Parameter::set(module::TYPE1, "dma_entry_limit", &LIMIT.to_string())?;
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(PAGE)?;
    let before = process::locked()?;
    // Not side by side, so that nothing can be put together.
    let iova = |n: u32| IOVA + u64::from(n) * 2 * PAGE64;
    for round in 0..2 {
        for n in 0..LIMIT {
            container.map(&memory, iova(n))?;
        }
        fails(container.map(&memory, iova(LIMIT)), Errno::NOSPC);
        assert_eq!(container.info()?.dma_avail(), Some(0));
        assert_eq!(process::locked()?, before + u64::from(LIMIT) * PAGE64);
        // All of them by one request, or one by one.
        if round == 0 {
            assert_eq!(container.unmap_all()?, u64::from(LIMIT) * PAGE64);
        } else {
            for n in (0..LIMIT).rev() {
                assert_eq!(container.unmap(iova(n), PAGE64)?, PAGE64);
            }
        }
        assert_eq!(container.info()?.dma_avail(), Some(LIMIT));
        assert_eq!(process::locked()?, before);
    }
    Ok(())
}

fn R06_no_page_behind_the_address() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let pinned = pinned_pages()?;
    // A file of one page, mapped as two: behind its end there is nothing.
    let file = rustix::fs::memfd_create("short", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, PAGE64)?;
    let memory = Memory::of_file(&file, 0, 2 * PAGE, true)?;
    fails(container.map(&memory, IOVA), Errno::FAULT);
    fails(
        container.map_part(&memory, PAGE, PAGE, IOVA, READ_WRITE),
        Errno::FAULT,
    );
    assert_eq!(pinned_pages()?, pinned);
    container.map_part(&memory, 0, PAGE, IOVA, READ_WRITE)?;
    assert_eq!(container.unmap_all()?, PAGE64);
    Ok(())
}

fn R09_read_only_memory() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let pinned = pinned_pages()?;
    let before = process::locked()?;
    let target = Memory::anonymous(PAGE)?;
    container.map(&target, 2 * IOVA)?;
    for _ in 0..20 {
        // Never written, so the kernel has one page of zeroes for all of it.
        let zeroes = Memory::read_only(64 * PAGE)?;
        assert_eq!(zeroes.read(0, 1), [0]);
        fails(container.map(&zeroes, IOVA), Errno::FAULT);
        container.map_part(&zeroes, 0, zeroes.len(), IOVA, uapi::DMA_MAP_FLAG_READ)?;
        assert_eq!(container.unmap(IOVA, 64 * PAGE64)?, 64 * PAGE64);
    }
    let zeroes = Memory::read_only(PAGE)?;
    container.map_part(&zeroes, 0, PAGE, IOVA, uapi::DMA_MAP_FLAG_READ)?;
    target.fill(0xff);
    copy(&open.session.device, IOVA, 2 * IOVA, 64)?;
    assert_eq!(target.read(0, 64), [0; 64]);
    container.unmap_all()?;
    assert_eq!(pinned_pages()?, pinned);
    assert_eq!(process::locked()?, before);
    Ok(())
}

fn R12_very_large_map() -> TestResult {
    const SIZE: usize = 512 << 20;
    let open = bench::open()?;
    let container = &open.session.container;
    let mut log = Log::from_now()?;
    let before = process::locked()?;
    let memory = Memory::anonymous(SIZE)?;
    container.map(&memory, 1 << 30)?;
    assert_eq!(process::locked()?, before + SIZE as u64);
    assert_eq!(container.unmap_all()?, SIZE as u64);
    assert_eq!(process::locked()?, before);
    for word in ["soft lockup", "stall", "hung task"] {
        assert_eq!(log.with(&[word])?, []);
    }
    // The container serves others as before.
    let container = Container::open()?;
    assert_eq!(container.api_version()?, 0);
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Memory that moves to another address or to another process while devices
//! use it: rows F007, F008, F114-F116, R-04 and R-05.

use std::os::unix::process::CommandExt;

use anyhow::Context;
use rustix::{io::Errno, thread::CapabilitySet};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    device::Event,
    kmsg::Log,
    memory::Memory,
    process::{self, in_child, Child},
    sysfs,
    target::{wait_for, Target},
    uapi, PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench,
    check::{fails, fails_in, Books},
    emulated::{By, BOTH},
    fixture::{abi, expect_warn, Fixture},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F007_addresses_can_be_updated,
    F114_invalidate,
    F114_invalidate_twice_rolls_back,
    F114_invalidate_ranges,
    F114_invalid_mappings_can_go,
    F115_update_in_one_process,
    F115_update_errors,
    F115_update_from_another_process,
    F115_update_over_the_limit,
    F115_update_of_an_old_owner,
    F116_emulated_groups_exclude_it,
    F116_nobody_joins_meanwhile,
    R04_update_then_exec,
    R04_mapper_ends_after_the_update,
    R05_pin_and_copy_wait_for_addresses,
];

const PAGE64: u64 = PAGE as u64;
const VADDR: u32 = uapi::DMA_UNMAP_FLAG_VADDR;
const ALL: u32 = uapi::DMA_UNMAP_FLAG_ALL;

/// Memory that another process can have too, and that can be had twice.
struct Shared(rustix::fd::OwnedFd);

impl Shared {
    fn new(pages: usize) -> anyhow::Result<Self> {
        let file = rustix::fs::memfd_create("shared", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, pages as u64 * PAGE64)?;
        Ok(Self(file))
    }

    /// A view of it, at an address of its own.
    fn view(&self, pages: usize) -> rustix::io::Result<Memory> {
        Memory::of_file(&self.0, 0, pages * PAGE, true)
    }
}

fn F007_addresses_can_be_updated() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let can = || container.check_extension(uapi::UPDATE_VADDR);
    assert_eq!(can()?, 0, "without a backend");
    let physical = edu.join(&container)?;
    assert_eq!(can()?, 0, "without a backend");
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(can()?, 1);
    let emulated = target.join(&container)?;
    assert_eq!(can()?, 0, "with an emulated device");
    physical.unset_container()?;
    assert_eq!(can()?, 0, "with an emulated device only");
    physical.set_container(&container)?;
    emulated.unset_container()?;
    assert_eq!(can()?, 1);
    // The other version too.
    physical.unset_container()?;
    physical.set_container(&container)?;
    container.set_iommu(uapi::TYPE1_IOMMU)?;
    assert_eq!(can()?, 1);
    Ok(())
}

fn F114_invalidate() -> TestResult {
    for backend in [uapi::TYPE1_IOMMU, uapi::TYPE1v2_IOMMU] {
        let open = bench::open_edu(backend)?;
        let (container, device) = (&open.session.container, &open.session.device);
        let books = Books::open()?;
        let memory = Memory::anonymous(4 * PAGE)?;
        container.map(&memory, IOVA)?;
        assert_eq!(container.unmap_with(VADDR, IOVA, 4 * PAGE64)?, 4 * PAGE64);
        // Nothing was unmapped: it is charged, held, and in use.
        books.say(4, 4);
        memory.write(0, b"goes on");
        copy(device, IOVA, IOVA + PAGE64, 7)?;
        assert_eq!(memory.read(PAGE, 7), b"goes on");
        fails(container.map(&memory, IOVA), Errno::EXIST);
        // Others can be mapped and unmapped meanwhile.
        let other = Memory::anonymous(PAGE)?;
        container.map(&other, 2 * IOVA)?;
        copy(device, IOVA, 2 * IOVA, 7)?;
        assert_eq!(other.read(0, 7), b"goes on");
        assert_eq!(container.unmap(2 * IOVA, PAGE64)?, PAGE64);
        // The process may even give its memory up; the device has it still.
        let far = Memory::anonymous(4 * PAGE)?;
        far.fill(0);
        drop(memory);
        books.say(4, 4);
        container.map_vaddr(&far, IOVA)?;
        books.say(4, 4);
        container.map(&other, 2 * IOVA)?;
        copy(device, IOVA + PAGE64, 2 * IOVA, 7)?;
        assert_eq!(other.read(0, 7), b"goes on");
        assert_eq!(container.unmap_all()?, 5 * PAGE64);
        books.say(0, 0);
    }
    Ok(())
}

/// Three mappings of 1, 2 and 4 pages, with a hole of a page after the second.
fn map_three(container: &Container, memory: &Memory) -> rustix::io::Result<()> {
    container.map_part(memory, 0, PAGE, IOVA, READ_WRITE)?;
    container.map_part(memory, 0, 2 * PAGE, IOVA + PAGE64, READ_WRITE)?;
    container.map_part(memory, 0, 4 * PAGE, IOVA + 4 * PAGE64, READ_WRITE)
}

/// Which of the three are without an address: those take one.
fn invalid(container: &Container, memory: &Memory) -> rustix::io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for (first, pages) in [(0, 1), (1, 2), (4, 4)] {
        let vaddr = memory.address() as u64;
        let flags = uapi::DMA_MAP_FLAG_VADDR;
        match container.map_raw(flags, vaddr, IOVA + first * PAGE64, pages * PAGE64) {
            Ok(()) => found.push(first),
            Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn F114_invalidate_twice_rolls_back() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    map_three(container, &memory)?;
    let mark = |flags, first: u64, pages: u64| {
        let iova = if flags & ALL == 0 {
            IOVA + first * PAGE64
        } else {
            0
        };
        container.unmap_with(VADDR | flags, iova, pages * PAGE64)
    };
    // The last one is marked; a request that meets it undoes what it did.
    assert_eq!(mark(0, 4, 4)?, 4 * PAGE64);
    fails(mark(0, 4, 4), Errno::INVAL);
    fails(mark(0, 0, 8), Errno::INVAL);
    fails(mark(ALL, 0, 0), Errno::INVAL);
    assert_eq!(invalid(container, &memory)?, [4]);
    // The one in the middle: what lies behind it is not reached.
    assert_eq!(mark(0, 1, 2)?, 2 * PAGE64);
    fails(mark(0, 0, 8), Errno::INVAL);
    fails(mark(0, 1, 7), Errno::INVAL);
    assert_eq!(invalid(container, &memory)?, [1]);
    // The first.
    assert_eq!(mark(0, 0, 1)?, PAGE64);
    fails(mark(ALL, 0, 0), Errno::INVAL);
    assert_eq!(invalid(container, &memory)?, [0]);
    assert_eq!(invalid(container, &memory)?, [0; 0]);
    // All at once, also twice.
    assert_eq!(mark(ALL, 0, 0)?, 7 * PAGE64);
    fails(mark(ALL, 0, 0), Errno::INVAL);
    assert_eq!(invalid(container, &memory)?, [0, 1, 4]);
    // The count of those without an address is right: a group can join.
    let [_, b] = &bench::lone_edus()[..] else {
        anyhow::bail!("no second device");
    };
    b.bind()?.join(container)?.unset_container()?;
    assert_eq!(container.unmap_all()?, 7 * PAGE64);
    Ok(())
}

fn F114_invalidate_ranges() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    assert_eq!(container.unmap_with(VADDR, IOVA, PAGE64)?, 0);
    assert_eq!(container.unmap_with(VADDR | ALL, 0, 0)?, 0);
    map_three(container, &memory)?;
    let mark =
        |first: u64, pages: u64| container.unmap_with(VADDR, IOVA + first * PAGE64, pages * PAGE64);
    // As for unmapping: whole mappings only, holes are fine.
    for (first, pages) in [(2, 1), (0, 2), (5, 3), (2, 6), (0, 6)] {
        fails_in(
            &format!("{first}, {pages}"),
            mark(first, pages),
            Errno::INVAL,
        );
    }
    assert_eq!(mark(3, 1)?, 0);
    fails(container.unmap_with(VADDR, IOVA + 1, PAGE64), Errno::INVAL);
    fails(container.unmap_with(VADDR, IOVA, 0), Errno::INVAL);
    fails(container.unmap_with(VADDR | ALL, IOVA, 0), Errno::INVAL);
    fails(container.unmap_with(VADDR | ALL, 0, PAGE64), Errno::INVAL);
    assert_eq!(invalid(container, &memory)?, [0; 0]);
    assert_eq!(mark(0, 4)?, 3 * PAGE64);
    assert_eq!(mark(4, 100)?, 4 * PAGE64);
    assert_eq!(invalid(container, &memory)?, [0, 1, 4]);
    // The first version: whatever begins in the range, however long.
    drop(open);
    let open = bench::open_edu(uapi::TYPE1_IOMMU)?;
    let container = &open.session.container;
    map_three(container, &memory)?;
    let mark =
        |first: u64, pages: u64| container.unmap_with(VADDR, IOVA + first * PAGE64, pages * PAGE64);
    assert_eq!(mark(2, 1)?, 0);
    assert_eq!(mark(5, 3)?, 0);
    assert_eq!(mark(4, 1)?, 4 * PAGE64);
    assert_eq!(mark(0, 2)?, 3 * PAGE64);
    fails(mark(0, 1), Errno::INVAL);
    assert_eq!(invalid(container, &memory)?, [0, 1, 4]);
    Ok(())
}

fn F114_invalid_mappings_can_go() -> TestResult {
    let [a, b] = bench::two_bound_edus()?;
    let session = a.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let books = Books::open()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    map_three(container, &memory)?;
    assert_eq!(container.unmap_with(VADDR | ALL, 0, 0)?, 7 * PAGE64);
    let group = b.open_group()?;
    assert_eq!(container.unmap(IOVA, 3 * PAGE64)?, 3 * PAGE64);
    fails(group.set_container(container), Errno::BUSY);
    // With the last of them the waiting ends.
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    group.set_container(container)?;
    books.say(0, 0);
    // Also when the groups leave with some of them left.
    map_three(container, &memory)?;
    assert_eq!(container.unmap_with(VADDR | ALL, 0, 0)?, 7 * PAGE64);
    drop(session);
    group.unset_container()?;
    books.say(0, 0);
    Ok(())
}

fn F115_update_in_one_process() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let shared = Shared::new(4)?;
    let old = shared.view(4)?;
    old.write(5, b"moved");
    let books = Books::open()?;
    container.map(&old, IOVA)?;
    books.say(4, 4);
    assert_eq!(container.unmap_with(VADDR, IOVA, 4 * PAGE64)?, 4 * PAGE64);
    let new = shared.view(4)?;
    assert_ne!(old.address(), new.address());
    container.map_vaddr(&new, IOVA)?;
    books.say(4, 4);
    drop(old);
    // Whoever comes now uses the new address.
    let group = target.join(container)?;
    let device = group.device(target.name())?;
    assert_eq!(target.dma_read(IOVA + 5, 5, By::Caller)?, b"moved");
    target.dma_write(IOVA + PAGE64, b"here", By::Kthread)?;
    assert_eq!(new.read(PAGE, 4), b"here");
    // Pages not seen before are brought in at the new address too.
    let (result, got) = target.pin_raw(IOVA, 4, BOTH);
    assert_eq!(result, Ok(4));
    new.fill(1);
    assert_eq!(new.frames()?, got);
    target.unpin_raw(IOVA, 4)?;
    drop(device);
    group.unset_container()?;
    // It can be the same address again, and as often as one likes.
    for _ in 0..3 {
        container.unmap_with(VADDR, IOVA, 4 * PAGE64)?;
        container.map_vaddr(&new, IOVA)?;
        books.say(4, 4);
    }
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn F115_update_errors() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    let vaddr = memory.address() as u64;
    let update = |vaddr, iova, size| container.map_raw(uapi::DMA_MAP_FLAG_VADDR, vaddr, iova, size);
    let size = 4 * PAGE64;
    fails(update(vaddr, IOVA, size), Errno::NOENT);
    container.map(&memory, IOVA)?;
    fails_in("still valid", update(vaddr, IOVA, size), Errno::INVAL);
    container.unmap_with(VADDR, IOVA, size)?;
    let top = u64::MAX - (PAGE64 - 1);
    let cases = [
        ("elsewhere", vaddr, 2 * IOVA, size, Errno::NOENT),
        ("beside it", vaddr, IOVA + size, PAGE64, Errno::NOENT),
        ("shorter", vaddr, IOVA, size - PAGE64, Errno::INVAL),
        ("longer", vaddr, IOVA, size + PAGE64, Errno::INVAL),
        (
            "the rest",
            vaddr,
            IOVA + PAGE64,
            size - PAGE64,
            Errno::INVAL,
        ),
        ("shifted", vaddr, IOVA + PAGE64, size, Errno::INVAL),
        ("shifted back", vaddr, IOVA - PAGE64, size, Errno::INVAL),
        ("unaligned", vaddr + 8, IOVA, size, Errno::INVAL),
        ("unaligned iova", vaddr, IOVA + 8, size, Errno::INVAL),
        (
            "unaligned, elsewhere",
            vaddr + 8,
            2 * IOVA,
            size,
            Errno::INVAL,
        ),
        ("no size", vaddr, IOVA, 0, Errno::INVAL),
        ("wraps", top, IOVA, size, Errno::OVERFLOW),
        ("iova wraps", vaddr, top, size, Errno::OVERFLOW),
    ];
    for (name, vaddr, iova, size, errno) in cases {
        fails_in(name, update(vaddr, iova, size), errno);
    }
    for how in [
        uapi::DMA_MAP_FLAG_READ,
        uapi::DMA_MAP_FLAG_WRITE,
        READ_WRITE,
    ] {
        let flags = uapi::DMA_MAP_FLAG_VADDR | how;
        fails(container.map_raw(flags, vaddr, IOVA, size), Errno::INVAL);
    }
    // Still waiting for an address; none is checked for what is there.
    update(PAGE64, IOVA, size)?;
    fails(update(vaddr, IOVA, size), Errno::INVAL);
    // The budget of mappings is not needed for it.
    container.unmap_with(VADDR, IOVA, size)?;
    let avail = container.info()?.dma_avail();
    update(vaddr, IOVA, size)?;
    assert_eq!(container.info()?.dma_avail(), avail);
    Ok(())
}

/// Tells the other process that a step is done.
fn tell(event: &Event) -> rustix::io::Result<()> {
    rustix::io::write(event, &1_u64.to_ne_bytes())?;
    Ok(())
}

fn F115_update_from_another_process() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let shared = Shared::new(16)?;
    let view = shared.view(16)?;
    let books = Books::open()?;
    container.map(&view, IOVA)?;
    books.say(16, 16);
    container.unmap_with(VADDR, IOVA, 16 * PAGE64)?;
    let (taken, end) = (Event::new()?, Event::new()?);
    for unmapped_by_child in [true, false] {
        let child = Child::fork(|| {
            // What its parent locked is not its own.
            assert_eq!(process::locked()?, 0);
            let view = shared.view(16)?;
            container.map_vaddr(&view, IOVA)?;
            assert_eq!(process::locked()?, 16 * PAGE64);
            tell(&taken)?;
            end.wait(50)?;
            if unmapped_by_child {
                assert_eq!(container.unmap_all()?, 16 * PAGE64);
                assert_eq!(process::locked()?, 0);
            }
            Ok(())
        })?;
        anyhow::ensure!(taken.wait(50)? == 1, "the child failed");
        // The charge moved with the memory. The pages stayed.
        books.say(0, 16);
        view.write(0, b"both see it");
        copy(&open.session.device, IOVA, IOVA + PAGE64, 11)?;
        assert_eq!(view.read(PAGE, 11), b"both see it");
        tell(&end)?;
        child.join()?;
        let left = if unmapped_by_child { 0 } else { 16 };
        books.say(0, left);
        // Nobody is charged, so nobody is relieved.
        assert_eq!(container.unmap_all()?, left as u64 * PAGE64);
        books.say(0, 0);
        container.map(&view, IOVA)?;
        container.unmap_with(VADDR, IOVA, 16 * PAGE64)?;
    }
    container.unmap_all()?;
    books.say(0, 0);
    Ok(())
}

fn F115_update_over_the_limit() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let shared = Shared::new(16)?;
    let view = shared.view(16)?;
    let books = Books::open()?;
    container.map(&view, IOVA)?;
    container.unmap_with(VADDR, IOVA, 16 * PAGE64)?;
    in_child(|| {
        process::drop_capability(CapabilitySet::IPC_LOCK)?;
        process::limit_locked(15 * PAGE64)?;
        fails(container.map_vaddr(&view, IOVA), Errno::NOMEM);
        assert_eq!(process::locked()?, 0);
        Ok(())
    })?;
    // All is as it was: charged to us, waiting for an address.
    books.say(16, 16);
    container.map_vaddr(&view, IOVA)?;
    books.say(16, 16);
    container.unmap_with(VADDR, IOVA, 16 * PAGE64)?;
    in_child(|| {
        process::drop_capability(CapabilitySet::IPC_LOCK)?;
        process::limit_locked(16 * PAGE64)?;
        container.map_vaddr(&view, IOVA)?;
        assert_eq!(process::locked()?, 16 * PAGE64);
        // Its own limit counts from now on.
        fails(
            container.map_part(&view, 0, PAGE, 2 * IOVA, READ_WRITE),
            Errno::NOMEM,
        );
        assert_eq!(container.unmap_all()?, 16 * PAGE64);
        Ok(())
    })?;
    books.say(0, 0);
    // Who owns it already is not asked for more than he has.
    container.map(&view, IOVA)?;
    container.unmap_with(VADDR, IOVA, 16 * PAGE64)?;
    process::drop_capability(CapabilitySet::IPC_LOCK)?;
    process::limit_locked(PAGE64)?;
    container.map_vaddr(&view, IOVA)?;
    books.say(16, 16);
    Ok(())
}

/// The owner ended before somebody else takes over: there is nobody to relieve.
fn F115_update_of_an_old_owner() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let shared = Shared::new(8)?;
    let view = shared.view(8)?;
    let books = Books::open()?;
    in_child(|| {
        container.map(&view, IOVA)?;
        container.unmap_with(VADDR, IOVA, 8 * PAGE64)?;
        assert_eq!(process::locked()?, 8 * PAGE64);
        Ok(())
    })?;
    books.say(0, 8);
    container.map_vaddr(&view, IOVA)?;
    books.say(8, 8);
    view.write(0, b"inherited");
    copy(&open.session.device, IOVA, IOVA + PAGE64, 9)?;
    assert_eq!(view.read(PAGE, 9), b"inherited");
    assert_eq!(container.unmap_all()?, 8 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn F116_emulated_groups_exclude_it() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    container.map(&memory, IOVA)?;
    // It is the group that counts; its device need not be open.
    let group = target.join(container)?;
    for (flags, iova, size) in [
        (VADDR, IOVA, 4 * PAGE64),
        (VADDR, 2 * IOVA, PAGE64),
        (VADDR | ALL, 0, 0),
        // Before all that could be wrong with the range.
        (VADDR, IOVA + 1, 0),
        (VADDR | ALL, IOVA, PAGE64),
        (VADDR, u64::MAX << 12, u64::MAX << 12),
    ] {
        fails_in(
            &format!("{flags} {iova:#x} {size:#x}"),
            container.unmap_with(flags, iova, size),
            Errno::BUSY,
        );
    }
    // But not before what is wrong with the flags.
    fails(container.unmap_with(VADDR | 8, IOVA, PAGE64), Errno::INVAL);
    let bitmap = uapi::DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    fails(
        container.unmap_with(VADDR | bitmap, IOVA, PAGE64),
        Errno::INVAL,
    );
    // Updating is not forbidden, there is just nothing to update.
    fails(container.map_vaddr(&memory, IOVA), Errno::INVAL);
    fails(container.map_vaddr(&memory, 2 * IOVA), Errno::NOENT);
    group.unset_container()?;
    assert_eq!(container.unmap_with(VADDR | ALL, 0, 0)?, 4 * PAGE64);
    Ok(())
}

fn F116_nobody_joins_meanwhile() -> TestResult {
    let [a, b] = bench::two_bound_edus()?;
    let session = a.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let books = Books::open()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    container.map_part(&memory, 0, 2 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(&memory, 0, 2 * PAGE, 2 * IOVA, READ_WRITE)?;
    container.unmap_with(VADDR | ALL, 0, 0)?;
    let groups = [b.open_group()?, target.open_group()?];
    let update = |iova| {
        let vaddr = memory.address() as u64;
        container.map_raw(uapi::DMA_MAP_FLAG_VADDR, vaddr, iova, 2 * PAGE64)
    };
    for group in &groups {
        fails(group.set_container(container), Errno::BUSY);
    }
    update(IOVA)?;
    for group in &groups {
        fails(group.set_container(container), Errno::BUSY);
    }
    books.say(4, 4);
    update(2 * IOVA)?;
    for group in &groups {
        group.set_container(container)?;
    }
    books.say(4, 4);
    // Leaving is always possible.
    groups[1].unset_container()?;
    container.unmap_with(VADDR | ALL, 0, 0)?;
    groups[0].unset_container()?;
    fails(groups[0].set_container(container), Errno::BUSY);
    Ok(())
}

/// An emulated device cannot be there while an address is missing. A real one
/// can, and its driver may want to look at memory too.
fn R05_pin_and_copy_wait_for_addresses() -> TestResult {
    let fixture = Fixture::open()?;
    let edu = bench::edu_for_fixture(&fixture)?;
    let build = fixture.build().on_pci(edu.name()).flags(abi::PHYSICAL);
    let target = build.create()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let books = Books::open()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    container.map_part(&memory, 0, 2 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(&memory, 2 * PAGE, 2 * PAGE, 2 * IOVA, READ_WRITE)?;
    assert_eq!(container.check_extension(uapi::UPDATE_VADDR)?, 1);
    target.dma_write(IOVA, b"early", By::Caller)?;
    assert_eq!(target.pin(IOVA, 1, BOTH)?, 1);
    books.say(4, 5);
    // One without an address stops all, the other one included. The kernel
    // warns of it, once and never again.
    container.unmap_with(VADDR, IOVA, 2 * PAGE64)?;
    let refused = || {
        for iova in [IOVA, IOVA + PAGE64, 2 * IOVA, 3 * IOVA] {
            fails(target.pin(iova, 1, BOTH), Errno::BUSY);
            for by in [By::Caller, By::Kthread] {
                fails(target.dma_read(iova, 4, by), Errno::BUSY);
                fails(target.dma_write(iova, b"late", by), Errno::BUSY);
            }
        }
    };
    expect_warn(refused);
    let mut log = Log::from_now()?;
    refused();
    let again = log.with(&["WARNING:"])?.len();
    assert_eq!(again, 0, "warnings that were given before");
    books.say(4, 5);
    assert_eq!(memory.read(0, 5), b"early");
    // Unpinning needs no address.
    target.unpin(IOVA)?;
    books.say(4, 4);
    let vaddr = memory.address() as u64;
    container.map_raw(uapi::DMA_MAP_FLAG_VADDR, vaddr, IOVA, 2 * PAGE64)?;
    target.dma_write(IOVA, b"again", By::Caller)?;
    assert_eq!(memory.read(0, 5), b"again");
    assert_eq!(target.pin(2 * IOVA, 2, BOTH)?, 2);
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn R04_update_then_exec() -> TestResult {
    let out = "/tmp/locked-after-update";
    let _ = std::fs::remove_file(out);
    let open = bench::open()?;
    let container = &open.session.container;
    let shared = Shared::new(8)?;
    let view = shared.view(8)?;
    let books = Books::open()?;
    container.map(&view, IOVA)?;
    container.unmap_with(VADDR, IOVA, 8 * PAGE64)?;
    in_child(|| {
        container.map_vaddr(&view, IOVA)?;
        assert_eq!(process::locked()?, 8 * PAGE64);
        let script = format!("grep VmLck /proc/$$/status >{out}");
        Err(std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .exec())
        .context("run a shell")
    })?;
    let words = sysfs::read(out)?;
    assert_eq!(
        words.split_whitespace().collect::<Vec<_>>(),
        ["VmLck:", "0", "kB"]
    );
    books.say(0, 8);
    // The memory that was charged is no more: nothing to give back.
    container.unmap_with(VADDR, IOVA, 8 * PAGE64)?;
    container.map_vaddr(&view, IOVA)?;
    books.say(8, 8);
    assert_eq!(container.unmap_all()?, 8 * PAGE64);
    books.say(0, 0);
    Ok(())
}

/// A process maps, hands over and ends; the memory belongs to who took it.
fn R04_mapper_ends_after_the_update() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let shared = Shared::new(8)?;
    let view = shared.view(8)?;
    let books = Books::open()?;
    let (mapped, end) = (Event::new()?, Event::new()?);
    let mapper = Child::fork(|| {
        container.map(&view, IOVA)?;
        container.unmap_with(VADDR, IOVA, 8 * PAGE64)?;
        tell(&mapped)?;
        end.wait(50)?;
        // The charge went to the other one.
        assert_eq!(process::locked()?, 0);
        Ok(())
    })?;
    anyhow::ensure!(mapped.wait(50)? == 1, "the child failed");
    books.say(0, 8);
    container.map_vaddr(&view, IOVA)?;
    books.say(8, 8);
    tell(&end)?;
    mapper.join()?;
    books.say(8, 8);
    // From one to the next, a few times.
    for _ in 0..3 {
        container.unmap_with(VADDR | ALL, 0, 0)?;
        in_child(|| Ok(container.map_vaddr(&view, IOVA)?))?;
        wait_for("the charge to go", || {
            process::locked().is_ok_and(|l| l == 0)
        })?;
        books.say(0, 8);
        container.unmap_with(VADDR | ALL, 0, 0)?;
        container.map_vaddr(&view, IOVA)?;
        books.say(8, 8);
    }
    assert_eq!(container.unmap_all()?, 8 * PAGE64);
    books.say(0, 0);
    Ok(())
}

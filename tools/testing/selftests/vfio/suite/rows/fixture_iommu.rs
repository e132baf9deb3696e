// SPDX-License-Identifier: GPL-2.0
//! IOMMUs that the machine does not have, and that fail: rows F108, R-19, R-48,
//! The fixture's IOMMU does no DMA; it tells what is mapped.

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::{Memory, HUGE_2M},
    module::{self, Parameter},
    target::{Session, Target},
    uapi, PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench,
    check::{fails, fails_in, Books},
    emulated::touched,
    fixture::{
        abi::{IOMMU_COHERENT, IOMMU_NO_COOKIE, IOMMU_SW_MSI},
        expect_warn, Device, Fixture,
    },
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F108_second_domain_fails,
    F108_joining_domain_fails,
    R71_domain_that_goes_is_unmapped.holds(Holds::OnlyRustType1),
    R19_pages_smaller_than_ours,
    R19_pages_larger_than_ours,
    R48_cookie_for_interrupts_fails.holds(Holds::OnlyRustType1),
    R48_cookie_for_interrupts,
    R75_larger_pages_without_a_warning.holds(Holds::OnlyRustType1),
    R76_no_page_size_in_common.holds(Holds::OnlyRustType1),
];

const PAGE64: u64 = PAGE as u64;
const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
/// The page sizes of an ordinary IOMMU.
const ORDINARY: u64 = (4 * K) | (2 * M);

/// The fixture's IOMMU knows nothing of interrupts, and so cannot keep those of
/// its devices apart.
fn allow() -> anyhow::Result<Parameter> {
    Parameter::set(module::TYPE1, "allow_unsafe_interrupts", "Y")
}

/// Each page is mapped by itself, so that an IOMMU can fail in between.
fn one_by_one() -> anyhow::Result<Parameter> {
    Parameter::set(module::TYPE1, "disable_hugepages", "Y")
}

fn F108_second_domain_fails() -> TestResult {
    let _parameters = (allow()?, one_by_one()?);
    let fixture = Fixture::open()?;
    let targets = [
        fixture.build().iommu(ORDINARY, 0).create()?,
        fixture.build().iommu(ORDINARY, IOMMU_COHERENT).create()?,
    ];
    let session = targets[0].open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let _group = targets[1].join(container)?;
    let memory = touched(8)?;
    let books = Books::open()?;
    let avail = container.info()?.dma_avail();
    let mapped =
        || -> anyhow::Result<[u64; 2]> { Ok([targets[0].mapped()?, targets[1].mapped()?]) };
    // Whichever is mapped first, one of these is the second.
    for failing in &targets {
        for times in 0..8 {
            failing.map_no_more_than(Some(times))?;
            fails_in(
                &format!("after {times}"),
                container.map(&memory, IOVA),
                Errno::XDEV,
            );
            assert_eq!(mapped()?, [0, 0], "after {times}");
            books.say(0, 0);
            assert_eq!(container.info()?.dma_avail(), avail);
            assert_eq!(container.unmap(IOVA, 8 * PAGE64)?, 0);
        }
        failing.map_no_more_than(None)?;
        // What was mapped before is not touched by what fails.
        container.map_part(&memory, 0, 2 * PAGE, 4 * IOVA, READ_WRITE)?;
        failing.map_no_more_than(Some(3))?;
        fails(container.map(&memory, IOVA), Errno::XDEV);
        assert_eq!(mapped()?, [2 * PAGE64; 2]);
        books.say(2, 2);
        failing.map_no_more_than(None)?;
        container.map(&memory, IOVA)?;
        assert_eq!(mapped()?, [10 * PAGE64; 2]);
        books.say(10, 10);
        assert_eq!(container.unmap_all()?, 10 * PAGE64);
        assert_eq!(mapped()?, [0, 0]);
        books.say(0, 0);
    }
    Ok(())
}

/// The same when a group joins, for which all mappings are made anew.
fn F108_joining_domain_fails() -> TestResult {
    let _parameters = (allow()?, one_by_one()?);
    let fixture = Fixture::open()?;
    let first = fixture.build().iommu(ORDINARY, 0).create()?;
    let second = fixture.build().iommu(ORDINARY, IOMMU_COHERENT).create()?;
    let session = first.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(8)?;
    let books = Books::open()?;
    container.map_part(&memory, 0, 3 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(&memory, 3 * PAGE, 5 * PAGE, 2 * IOVA, READ_WRITE)?;
    let group = second.open_group()?;
    for times in [0, 1] {
        second.map_no_more_than(Some(times))?;
        fails(group.set_container(container), Errno::XDEV);
        assert_eq!((first.mapped()?, second.mapped()?), (8 * PAGE64, 0));
        books.say(8, 8);
    }
    second.map_no_more_than(None)?;
    group.set_container(container)?;
    assert_eq!(
        (first.mapped()?, second.mapped()?),
        (8 * PAGE64, 8 * PAGE64)
    );
    books.say(8, 8);
    group.unset_container()?;
    assert_eq!((first.mapped()?, second.mapped()?), (8 * PAGE64, 0));
    assert_eq!(container.unmap_all()?, 8 * PAGE64);
    books.say(0, 0);
    Ok(())
}

/// Who counts how often each page is mapped must not be left with pages of a
/// page table that is gone, whether others stay or not.
fn R71_domain_that_goes_is_unmapped() -> TestResult {
    let _parameter = allow()?;
    let fixture = Fixture::open()?;
    let first = fixture.build().iommu(ORDINARY, 0).create()?;
    let second = fixture.build().iommu(ORDINARY, IOMMU_COHERENT).create()?;
    let third = fixture.build().iommu(ORDINARY, IOMMU_SW_MSI).create()?;
    let session = first.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(300)?;
    let books = Books::open()?;
    container.map_part(&memory, 0, 200 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(&memory, 200 * PAGE, 100 * PAGE, 4 * M, READ_WRITE)?;
    let left = || -> anyhow::Result<[u64; 3]> {
        Ok([
            first.left_mapped()?,
            second.left_mapped()?,
            third.left_mapped()?,
        ])
    };
    for _ in 0..2 {
        let group = second.join(container)?;
        assert_eq!(second.mapped()?, 300 * PAGE64);
        group.unset_container()?;
        assert_eq!(left()?, [0; 3]);
        books.say(300, 300);
    }
    // One that comes and cannot be filled goes at once.
    third.map_no_more_than(Some(1))?;
    let group = third.open_group()?;
    fails(group.set_container(container), Errno::XDEV);
    assert_eq!(left()?, [0; 3]);
    // The end of all.
    let group = second.join(container)?;
    drop(session);
    assert_eq!(left()?, [0; 3]);
    drop(group);
    assert_eq!(left()?, [0; 3]);
    books.say(0, 0);
    Ok(())
}

/// An open session with a device of such an IOMMU.
fn open(target: &Device<'_>) -> anyhow::Result<Session> {
    target.open(uapi::TYPE1v2_IOMMU)
}

/// Sizes below that of a page are of no use to anybody, but a page can be made
/// of them.
fn R19_pages_smaller_than_ours() -> TestResult {
    let _parameter = allow()?;
    let fixture = Fixture::open()?;
    for (sizes, told) in [
        (K, 4 * K),
        (K | (4 * K), 4 * K),
        ((2 * K) | (2 * M), (4 * K) | (2 * M)),
        (K | (64 * K), (4 * K) | (64 * K)),
    ] {
        let target = fixture.build().iommu(sizes, 0).create()?;
        let session = open(&target)?;
        let container = &session.container;
        assert_eq!(container.info()?.head.iova_pgsizes, told, "{sizes:#x}");
        let memory = touched(5)?;
        let books = Books::open()?;
        let vaddr = memory.address() as u64;
        for (vaddr, iova, size) in [
            (vaddr, IOVA, K),
            (vaddr, IOVA + K, 4 * K),
            (vaddr + K, IOVA, 4 * K),
            (vaddr, IOVA, 5 * K),
        ] {
            let result = container.map_raw(READ_WRITE, vaddr, iova, size);
            fails_in(&format!("{size:#x} at {iova:#x}"), result, Errno::INVAL);
        }
        container.map(&memory, IOVA)?;
        assert_eq!(target.mapped()?, 5 * PAGE64);
        books.say(5, 5);
        fails(container.unmap(IOVA, K), Errno::INVAL);
        fails(container.unmap(IOVA + K, 4 * K), Errno::INVAL);
        assert_eq!(container.unmap(IOVA, 5 * PAGE64)?, 5 * PAGE64);
        assert_eq!(target.mapped()?, 0);
        books.say(0, 0);
        // A huge page is taken apart as well as an IOMMU needs it.
        let huge = Memory::transparent_huge(HUGE_2M)?;
        container.map(&huge, 4 * M)?;
        assert_eq!(target.mapped()?, HUGE_2M as u64);
        assert_eq!(container.unmap_all()?, HUGE_2M as u64);
        assert_eq!(target.mapped()?, 0);
    }
    Ok(())
}

/// The C backend warns each time.
fn R19_pages_larger_than_ours() -> TestResult {
    expect_warn(map_larger_pages)
}

fn R75_larger_pages_without_a_warning() -> TestResult {
    map_larger_pages()
}

/// An IOMMU that cannot map a single page.
fn map_larger_pages() -> TestResult {
    let _parameter = allow()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().iommu((64 * K) | (2 * M), 0).create()?;
    let session = open(&target)?;
    let container = &session.container;
    assert_eq!(container.info()?.head.iova_pgsizes, (64 * K) | (2 * M));
    assert_eq!(container.info()?.smallest_page(), 64 * K);
    let Ok(memory) = Memory::hugetlb(HUGE_2M) else {
        anyhow::bail!("no huge page is free");
    };
    memory.fill(1);
    let books = Books::open()?;
    let vaddr = memory.address() as u64;
    for (vaddr, iova, size) in [
        (vaddr, IOVA, PAGE64),
        (vaddr, IOVA, 60 * K),
        (vaddr + PAGE64, IOVA, 64 * K),
        (vaddr, IOVA + PAGE64, 64 * K),
    ] {
        let result = container.map_raw(READ_WRITE, vaddr, iova, size);
        fails_in(&format!("{size:#x} at {iova:#x}"), result, Errno::INVAL);
    }
    container.map_raw(READ_WRITE, vaddr, IOVA, 64 * K)?;
    container.map_raw(READ_WRITE, vaddr + 128 * K, 2 * IOVA, 128 * K)?;
    assert_eq!(target.mapped()?, 192 * K);
    books.say(48, 48);
    fails(container.unmap(IOVA, PAGE64), Errno::INVAL);
    fails(container.unmap(IOVA + PAGE64, 64 * K), Errno::INVAL);
    assert_eq!(container.unmap(IOVA, 64 * K)?, 64 * K);
    assert_eq!(target.mapped()?, 128 * K);
    assert_eq!(container.unmap_all()?, 128 * K);
    assert_eq!(target.mapped()?, 0);
    books.say(0, 0);
    // Small pages lie anywhere, and not so that they make larger ones.
    let scattered = scattered()?;
    fails(
        container.map_raw(READ_WRITE, scattered.address() as u64, IOVA, 64 * K),
        Errno::INVAL,
    );
    assert_eq!(target.mapped()?, 0);
    Ok(())
}

/// 64 KiB of pages, aligned, that do not follow each other in memory.
fn scattered() -> anyhow::Result<Memory> {
    let memory = Memory::reserve(HUGE_2M)?;
    memory.place_anonymous(0, 16 * PAGE)?;
    // Touched from the end on, and with others in between.
    let other = touched(1)?;
    drop(other);
    for page in (0..16).rev() {
        memory.write_u32(page * PAGE, 1);
    }
    Ok(memory)
}

/// Nothing can be mapped for two devices at once if there is no size that both
/// of their IOMMUs have.
fn R76_no_page_size_in_common() -> TestResult {
    let _parameter = allow()?;
    let fixture = Fixture::open()?;
    let small = fixture.build().iommu(4 * K, 0).create()?;
    let large = fixture.build().iommu(64 * K, IOMMU_COHERENT).create()?;
    let session = open(&small)?;
    let container = &session.container;
    let Ok(memory) = Memory::hugetlb(HUGE_2M) else {
        anyhow::bail!("no huge page is free");
    };
    memory.fill(1);
    let books = Books::open()?;
    // What the other cannot map keeps it out.
    container.map_part(&memory, 0, PAGE, IOVA, READ_WRITE)?;
    let group = large.open_group()?;
    fails(group.set_container(container), Errno::INVAL);
    books.say(1, 1);
    assert_eq!(container.unmap_all()?, PAGE64);

    group.set_container(container)?;
    assert_eq!(container.info()?.head.iova_pgsizes, 0);
    let vaddr = memory.address() as u64;
    for size in [K, 4 * K, 64 * K, 2 * M] {
        let result = container.map_raw(READ_WRITE, vaddr, 2 * M, size);
        fails_in(&format!("{size:#x}"), result, Errno::INVAL);
        fails_in(
            &format!("{size:#x}"),
            container.unmap(2 * M, size),
            Errno::INVAL,
        );
    }
    fails(container.dirty_start(), Errno::INVAL);
    assert_eq!((small.mapped()?, large.mapped()?), (0, 0));
    books.say(0, 0);
    // One of them goes.
    group.unset_container()?;
    assert_eq!(container.info()?.head.iova_pgsizes, 4 * K);
    container.map_part(&memory, 0, PAGE, IOVA, READ_WRITE)?;
    assert_eq!(small.mapped()?, PAGE64);
    assert_eq!(container.unmap_all()?, PAGE64);
    books.say(0, 0);
    Ok(())
}

/// Everything is as if the group had never tried to join.
fn R48_cookie_for_interrupts_fails() -> TestResult {
    let _parameter = allow()?;
    let edu = bench::bound_edu()?;
    let fixture = Fixture::open()?;
    let emulated = fixture.device()?;
    let flags = IOMMU_SW_MSI | IOMMU_NO_COOKIE;
    let real = fixture.build().iommu(ORDINARY, flags).create()?;
    let session = open(&emulated)?;
    let container = &session.container;
    let memory = touched(4)?;
    memory.write(0, b"still mine");
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    let before = container.info()?;
    let group = real.open_group()?;
    for _ in 0..2 {
        fails(group.set_container(container), Errno::EXIST);
        books.say(0, 0);
        assert_eq!(real.mapped()?, 0);
        let now = container.info()?;
        assert_eq!(now.iova_ranges(), before.iova_ranges());
        assert_eq!(now.dma_avail(), before.dma_avail());
    }
    // A real device finds all to be mapped.
    let real_group = edu.join(container)?;
    books.say(4, 4);
    let device = real_group.device(edu.name())?;
    copy(&device, IOVA, IOVA + PAGE64, 10)?;
    assert_eq!(memory.read(PAGE, 10), b"still mine");
    // Beside it the group fails as well, and what is mapped stays.
    fails(group.set_container(container), Errno::EXIST);
    books.say(4, 4);
    copy(&device, IOVA, IOVA + 2 * PAGE64, 10)?;
    assert_eq!(memory.read(2 * PAGE, 10), b"still mine");
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    books.say(0, 0);
    Ok(())
}

/// Where there is room for it, it works, and the place of interrupts cannot be
/// used for memory.
fn R48_cookie_for_interrupts() -> TestResult {
    const INTERRUPTS: u64 = 0x800_0000;
    let _parameter = allow()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().iommu(ORDINARY, IOMMU_SW_MSI).create()?;
    let group = target.open_group()?;
    let container = Container::open()?;
    group.set_container(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let device = group.device(target.name())?;
    let memory = touched(2)?;
    let books = Books::open()?;
    fails(container.map(&memory, INTERRUPTS), Errno::INVAL);
    container.map(&memory, INTERRUPTS - 2 * PAGE64)?;
    container.map(&memory, INTERRUPTS + M)?;
    assert_eq!(target.mapped()?, 4 * PAGE64);
    books.say(4, 4);
    drop((device, group));
    books.say(0, 0);
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Which pages devices wrote to: rows F132, F134, F135, R-16, R-17 and R-62.
//!
//! The C backend shifts the bits of a mapping where they are kept if the mapping
//! does not begin with a word of the bitmap. What it reports of that mapping
//! later is wrong: too much, or in the wrong place. So rows that may run on it
//! let mappings begin with a word, or report each of them only once.

use rustix::io::Errno;
use vfio_selftests::{container::READ_WRITE, target::Target, uapi, PAGE};

use super::map::IOVA;
use crate::{
    bench,
    check::{fails, Books},
    emulated::{touched, By, BOTH, READ},
    fixture::{abi, Device, Fixture},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F132_start_and_stop,
    F132_stopping_forgets,
    F134_real_devices_dirty_all,
    F134_emulated_devices_dirty_what_they_use,
    F134_emulated_beside_real,
    F134_mapped_while_tracking,
    F135_pinning_narrows_a_real_device,
    F135_leaving_dirties_all,
    R16_copies_dirty_each_page,
    R17_groups_come_and_go_while_tracking,
    R62_copies_dirty_pages_before_a_fault.holds(Holds::OnlyRustType1),
];

const PAGE64: u64 = PAGE as u64;

pub(super) fn all(pages: usize) -> Vec<usize> {
    (0..pages).collect()
}

/// Lets the device write one byte to a page.
pub(super) fn write_page(target: &Device<'_>, iova: u64, page: usize) -> rustix::io::Result<()> {
    target.dma_write(iova + page as u64 * PAGE64 + 9, &[1], By::Caller)
}

fn F132_start_and_stop() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    // Ending what never began, and doing both twice, is no mistake.
    container.dirty_stop()?;
    fails(container.dirty(IOVA, 1), Errno::INVAL);
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 1)?, []);
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 1)?, []);
    container.dirty_stop()?;
    fails(container.dirty(IOVA, 1), Errno::INVAL);
    container.dirty_stop()?;
    // Each container for itself.
    container.dirty_start()?;
    let other = fixture.device()?;
    let session = other.open(uapi::TYPE1v2_IOMMU)?;
    fails(session.container.dirty(IOVA, 1), Errno::INVAL);
    // And anew after its last group left.
    let memory = touched(1)?;
    session.container.dirty_start()?;
    drop(session.device);
    session.group.unset_container()?;
    session.group.set_container(&session.container)?;
    session.container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    fails(session.container.dirty(IOVA, 1), Errno::INVAL);
    session.container.map(&memory, IOVA)?;
    Ok(())
}

fn F132_stopping_forgets() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(8)?;
    container.map(&memory, IOVA)?;
    // Before it begins nothing is noted, except for what is pinned.
    write_page(&target, IOVA, 0)?;
    target.pin(IOVA + 5 * PAGE64, 2, BOTH)?;
    container.dirty_start()?;
    write_page(&target, IOVA, 1)?;
    // Beginning again is not beginning anew.
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 8)?, [1, 5, 6]);
    write_page(&target, IOVA, 2)?;
    container.dirty_stop()?;
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 8)?, [5, 6]);
    container.dirty_stop()?;
    target.unpin(IOVA + 5 * PAGE64)?;
    write_page(&target, IOVA, 3)?;
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 8)?, []);
    Ok(())
}

fn F134_real_devices_dirty_all() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = touched(100)?;
    container.map_part(&memory, 0, 70 * PAGE, IOVA, READ_WRITE)?;
    let read = uapi::DMA_MAP_FLAG_READ;
    container.map_part(&memory, 0, 30 * PAGE, IOVA + 70 * PAGE64, read)?;
    container.dirty_start()?;
    // Nobody sees what they write, so it may be all, each time. That goes for
    // what they may only read too.
    for _ in 0..3 {
        assert_eq!(container.dirty(IOVA, 70)?, all(70));
        assert_eq!(container.dirty(IOVA + 70 * PAGE64, 64)?, all(30));
    }
    assert_eq!(container.dirty(IOVA, 100)?, all(100));
    // What is unmapped is not reported.
    container.unmap(IOVA + 70 * PAGE64, 30 * PAGE64)?;
    assert_eq!(container.dirty(IOVA, 100)?, all(70));
    Ok(())
}

fn F134_emulated_devices_dirty_what_they_use() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(80)?;
    container.map(&memory, IOVA)?;
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 80)?, []);
    // A copy is over when it is over; what is pinned can change at any time.
    write_page(&target, IOVA, 3)?;
    target.dma_write(IOVA + 64 * PAGE64, b"x", By::Kthread)?;
    target.pin(IOVA + 70 * PAGE64, 2, BOTH)?;
    assert_eq!(container.dirty(IOVA, 80)?, [3, 64, 70, 71]);
    assert_eq!(container.dirty(IOVA, 80)?, [70, 71]);
    assert_eq!(container.dirty(IOVA, 80)?, [70, 71]);
    // Also if it was pinned to be read only, and if it was pinned twice.
    target.pin(IOVA + 10 * PAGE64, 1, READ)?;
    target.pin(IOVA + 70 * PAGE64, 1, READ)?;
    assert_eq!(container.dirty(IOVA, 80)?, [10, 70, 71]);
    // Unpinned after the last report: once more in the next.
    target.unpin(IOVA + 70 * PAGE64)?;
    assert_eq!(container.dirty(IOVA, 80)?, [10, 70, 71]);
    assert_eq!(container.dirty(IOVA, 80)?, [10, 70]);
    target.unpin(IOVA + 10 * PAGE64)?;
    target.unpin(IOVA + 70 * PAGE64)?;
    assert_eq!(container.dirty(IOVA, 80)?, [10, 70]);
    assert_eq!(container.dirty(IOVA, 80)?, []);
    // Pinned and unpinned between two reports.
    assert_eq!(target.pin(IOVA + 20 * PAGE64 + 0xff8, 2, BOTH)?, 2);
    target.unpin(IOVA + 20 * PAGE64 + 0xff8)?;
    assert_eq!(container.dirty(IOVA, 80)?, [20, 21]);
    assert_eq!(container.dirty(IOVA, 80)?, []);
    // Reading is nothing; neither is what the process itself writes.
    target.dma_read(IOVA, 80 * PAGE, By::Caller)?;
    memory.fill(7);
    assert_eq!(container.dirty(IOVA, 80)?, []);
    // Failing writes nothing.
    assert!(target
        .dma_write(IOVA + 79 * PAGE64, &[0; 5000], By::Caller)
        .is_err());
    assert_eq!(container.dirty(IOVA, 80)?, [79], "the part that was there");
    assert!(target.pin(IOVA + 79 * PAGE64, 2, BOTH).is_err());
    let report = container.dirty(IOVA, 80)?;
    assert!(report.is_empty() || report == [79], "{report:?}");
    Ok(())
}

fn F134_emulated_beside_real() -> TestResult {
    let edu = bench::bound_edu()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(10)?;
    container.map(&memory, IOVA)?;
    container.dirty_start()?;
    target.pin(IOVA, 1, BOTH)?;
    write_page(&target, IOVA, 5)?;
    let group = edu.join(container)?;
    for _ in 0..2 {
        assert_eq!(container.dirty(IOVA, 10)?, all(10));
    }
    write_page(&target, IOVA, 6)?;
    assert_eq!(container.dirty(IOVA, 10)?, all(10));
    drop(group);
    Ok(())
}

fn F134_mapped_while_tracking() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(70)?;
    container.dirty_start()?;
    container.map_part(&memory, 0, 64 * PAGE, IOVA, READ_WRITE)?;
    assert_eq!(container.dirty(IOVA, 70)?, []);
    write_page(&target, IOVA, 9)?;
    let behind = IOVA + 64 * PAGE64;
    container.map_part(&memory, 64 * PAGE, 6 * PAGE, behind, READ_WRITE)?;
    target.pin(IOVA + 66 * PAGE64, 1, BOTH)?;
    assert_eq!(container.dirty(IOVA, 70)?, [9, 66]);
    // Mapping again begins with a clean page.
    write_page(&target, IOVA, 4)?;
    container.unmap(IOVA, 64 * PAGE64)?;
    container.map_part(&memory, 0, 64 * PAGE, IOVA, READ_WRITE)?;
    assert_eq!(container.dirty(IOVA, 70)?, [66]);
    // More than 2^31 pages cannot be tracked, so they cannot be mapped.
    let huge = 1_u64 << 44;
    fails(
        container.map_raw(READ_WRITE, 0, 1 << 45, huge),
        Errno::INVAL,
    );
    let avail = container.info()?.dma_avail();
    container.dirty_stop()?;
    container.map_raw(READ_WRITE, 0, 1 << 45, huge)?;
    // And with them it cannot begin.
    fails(container.dirty_start(), Errno::INVAL);
    fails(container.dirty(IOVA, 70), Errno::INVAL);
    assert_eq!(container.unmap(1 << 45, huge)?, huge);
    assert_eq!(container.info()?.dma_avail(), avail);
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 70)?, [66]);
    Ok(())
}

/// A real device whose driver pins what it uses is like an emulated one.
fn F135_pinning_narrows_a_real_device() -> TestResult {
    let fixture = Fixture::open()?;
    let edu = bench::edu_for_fixture(&fixture)?;
    let build = fixture.build().on_pci(edu.name()).flags(abi::PHYSICAL);
    let target = build.create()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(20)?;
    let books = Books::open()?;
    container.map(&memory, IOVA)?;
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 20)?, all(20));
    // Copying and failing does not count as pinning.
    write_page(&target, IOVA, 4)?;
    fails(target.pin(2 * IOVA, 1, BOTH), Errno::INVAL);
    assert_eq!(container.dirty(IOVA, 20)?, all(20));
    assert_eq!(target.pin(IOVA + 7 * PAGE64, 2, BOTH)?, 2);
    books.say(20, 22);
    assert_eq!(container.dirty(IOVA, 20)?, [7, 8]);
    write_page(&target, IOVA, 3)?;
    target.unpin(IOVA + 7 * PAGE64)?;
    assert_eq!(container.dirty(IOVA, 20)?, [3, 7, 8]);
    // Once and for all.
    assert_eq!(container.dirty(IOVA, 20)?, []);
    container.dirty_stop()?;
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 20)?, []);
    // Another real device does not pin; when it is gone, all it had is dirty.
    let [_, second] = &bench::lone_edus()[..] else {
        anyhow::bail!("no second device");
    };
    let second = second.bind()?;
    let group = second.join(container)?;
    assert_eq!(container.dirty(IOVA, 20)?, all(20));
    assert_eq!(target.pin(IOVA, 1, BOTH)?, 1);
    assert_eq!(container.dirty(IOVA, 20)?, all(20));
    group.unset_container()?;
    assert_eq!(container.dirty(IOVA, 20)?, all(20));
    assert_eq!(container.dirty(IOVA, 20)?, [0]);
    Ok(())
}

fn F135_leaving_dirties_all() -> TestResult {
    let fixture = Fixture::open()?;
    let edu = bench::edu_for_fixture(&fixture)?;
    let build = fixture.build().on_pci(edu.name()).flags(abi::PHYSICAL);
    let real = build.create()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(10)?;
    container.map(&memory, IOVA)?;
    container.dirty_start()?;
    write_page(&target, IOVA, 1)?;
    assert_eq!(container.dirty(IOVA, 10)?, [1]);
    for pins in [false, true] {
        let group = real.join(container)?;
        if pins {
            // What it pinned was noted, so nothing is missed when it goes.
            let device = group.device(real.name())?;
            real.pin(IOVA + 2 * PAGE64, 1, BOTH)?;
            real.unpin(IOVA + 2 * PAGE64)?;
            drop(device);
        }
        group.unset_container()?;
        let expected = if pins { vec![2] } else { all(10) };
        assert_eq!(container.dirty(IOVA, 10)?, expected);
        assert_eq!(container.dirty(IOVA, 10)?, []);
    }
    // Another emulated device is none that writes unseen.
    let other = fixture.device()?;
    let group = other.join(container)?;
    assert_eq!(container.dirty(IOVA, 10)?, []);
    group.unset_container()?;
    assert_eq!(container.dirty(IOVA, 10)?, []);
    Ok(())
}

fn R17_groups_come_and_go_while_tracking() -> TestResult {
    let [a, b] = bench::two_bound_edus()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(10)?;
    container.map(&memory, IOVA)?;
    container.dirty_start()?;
    let (a, b) = (a.open_group()?, b.open_group()?);
    for _ in 0..3 {
        a.set_container(container)?;
        b.set_container(container)?;
        assert_eq!(container.dirty(IOVA, 10)?, all(10));
        a.unset_container()?;
        assert_eq!(container.dirty(IOVA, 10)?, all(10), "one left, one there");
        assert_eq!(container.dirty(IOVA, 10)?, all(10));
        b.unset_container()?;
        assert_eq!(container.dirty(IOVA, 10)?, all(10), "both left");
        assert_eq!(container.dirty(IOVA, 10)?, []);
        write_page(&target, IOVA, 4)?;
        assert_eq!(container.dirty(IOVA, 10)?, [4]);
    }
    // The same while nobody looks leaves nothing behind.
    container.dirty_stop()?;
    a.set_container(container)?;
    a.unset_container()?;
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 10)?, []);
    // It began with the device there, and the device leaves.
    container.dirty_stop()?;
    a.set_container(container)?;
    container.dirty_start()?;
    a.unset_container()?;
    container.map(&memory, 2 * IOVA)?;
    assert_eq!(container.dirty(IOVA, 10)?, all(10));
    assert_eq!(container.dirty(2 * IOVA, 10)?, []);
    assert_eq!(container.dirty(IOVA, 10)?, []);
    Ok(())
}

fn R16_copies_dirty_each_page() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(192)?;
    // Three mappings of 64 pages, side by side.
    for first in [0, 64, 128] {
        let iova = IOVA + first as u64 * PAGE64;
        container.map_part(&memory, first * PAGE, 64 * PAGE, iova, READ_WRITE)?;
    }
    container.dirty_start()?;
    let edge = 64 * PAGE;
    for by in [By::Caller, By::Kthread] {
        for (offset, len, first, last) in [
            (0, 1, 0, 0),
            (PAGE - 1, 1, 0, 0),
            (PAGE, 1, 1, 1),
            (PAGE - 1, 2, 0, 1),
            (0, PAGE, 0, 0),
            (0, PAGE + 1, 0, 1),
            (PAGE - 1, PAGE + 2, 0, 2),
            (2 * PAGE + 5, 2 * PAGE, 2, 4),
            (edge - 1, 1, 63, 63),
            (edge - 1, 2, 63, 64),
            (edge, 1, 64, 64),
            (edge - 1, PAGE + 2, 63, 65),
            (edge + 100, edge, 64, 128),
            (100, 191 * PAGE, 0, 191),
            (3 * edge - 1, 1, 191, 191),
        ] {
            let case = format!("{len} bytes at {offset}, {by:?}");
            target.dma_write(IOVA + offset as u64, &vec![9; len], by)?;
            let expected: Vec<usize> = (first..=last).collect();
            assert_eq!(container.dirty(IOVA, 192)?, expected, "{case}");
            assert_eq!(container.dirty(IOVA, 192)?, [], "{case}, later");
        }
    }
    // Up to the end of what is mapped, then it fails.
    let end = IOVA + 192 * PAGE64 - 10;
    fails(target.dma_write(end, &[9; 20], By::Caller), Errno::INVAL);
    assert_eq!(container.dirty(IOVA, 192)?, [191]);
    Ok(())
}

fn R62_copies_dirty_pages_before_a_fault() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(8)?;
    container.map(&memory, IOVA)?;
    memory.protect(2 * PAGE, PAGE, 0)?;
    container.dirty_start()?;
    for by in [By::Caller, By::Kthread] {
        fails(target.dma_write(IOVA, &[9; 3 * PAGE], by), Errno::FAULT);
        assert_eq!(memory.read(PAGE, 1), [9], "{by:?}");
        let dirty = container.dirty(IOVA, 8)?;
        assert!(dirty.starts_with(&[0, 1]), "{by:?}: {dirty:?}");
        // At most what was to be written.
        assert!(dirty.iter().all(|page| *page < 3), "{by:?}: {dirty:?}");
        memory.write(PAGE, &[0]);
    }
    Ok(())
}

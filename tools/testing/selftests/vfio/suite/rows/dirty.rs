// SPDX-License-Identifier: GPL-2.0
//! Which pages devices wrote to: rows F132, F134-F136, R-16 to.
//!
//! The C backend shifts the bits of a mapping where they are kept if the mapping
//! does not begin with a word of the bitmap. What it reports of that mapping
//! later is wrong: too much, or in the wrong place. So rows that may run on it
//! let mappings begin with a word, or report each of them only once.

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    dirty::DirtyPages,
    memory::Memory,
    target::Target,
    uapi, PAGE,
};

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
    F136_unmap_with_bitmap,
    F136_unmap_tells_what_a_driver_pinned,
    F136_unmap_where_the_bitmap_faults,
    R16_copies_dirty_each_page,
    R17_groups_come_and_go_while_tracking,
    R18_mappings_share_words,
    R18_words_beside_mappings,
    R18_words_that_were_not_zero.holds(Holds::OnlyRustType1),
    R45_report_again_and_again.holds(Holds::OnlyRustType1),
    R45_retry_after_a_fault.holds(Holds::OnlyRustType1),
    R45_retry_unmap_after_a_fault.holds(Holds::OnlyRustType1),
];

const PAGE64: u64 = PAGE as u64;

fn all(pages: usize) -> Vec<usize> {
    (0..pages).collect()
}

/// Lets the device write one byte to a page.
fn write_page(target: &Device<'_>, iova: u64, page: usize) -> rustix::io::Result<()> {
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

fn F136_unmap_with_bitmap() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(100)?;
    let map = |first: usize, pages: usize| {
        let iova = IOVA + first as u64 * PAGE64;
        container.map_part(&memory, first * PAGE, pages * PAGE, iova, READ_WRITE)
    };
    container.dirty_start()?;
    map(0, 30)?;
    map(30, 50)?;
    map(90, 10)?;
    for page in [0, 29, 30, 63, 64, 79, 95] {
        write_page(&target, IOVA, page)?;
    }
    // Two of them, with the hole behind them and a bitmap for all of that.
    let out = DirtyPages::new(90);
    assert_eq!(container.unmap_dirty(IOVA, &out)?, 80 * PAGE64);
    assert_eq!(out.list(), [0, 29, 30, 63, 64, 79]);
    fails(target.dma_read(IOVA, 1, By::Caller), Errno::INVAL);
    // Nothing there: nothing to tell.
    let out = DirtyPages::full(90);
    assert_eq!(container.unmap_dirty(IOVA, &out)?, 0);
    assert_eq!(out.words(), [u64::MAX; 2]);
    // Others were not touched.
    assert_eq!(container.dirty(IOVA + 90 * PAGE64, 10)?, [5]);
    let out = DirtyPages::full(10);
    assert_eq!(
        container.unmap_dirty(IOVA + 90 * PAGE64, &out)?,
        10 * PAGE64
    );
    assert_eq!(out.words(), [0], "reported before");
    assert_eq!(container.unmap_all()?, 0);

    // Without the flag for it unmapping works as ever.
    map(0, 4)?;
    write_page(&target, IOVA, 1)?;
    assert_eq!(container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
    // With a real device all is dirty.
    let edu = bench::bound_edu()?;
    let _group = edu.join(container)?;
    map(0, 30)?;
    let out = DirtyPages::new(30);
    assert_eq!(container.unmap_dirty(IOVA, &out)?, 30 * PAGE64);
    assert_eq!(out.list(), all(30));
    Ok(())
}

fn F136_unmap_tells_what_a_driver_pinned() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(20)?;
    let books = Books::open()?;
    for tracking_first in [true, false] {
        if tracking_first {
            container.dirty_start()?;
        }
        container.map_part(&memory, 0, 10 * PAGE, IOVA, READ_WRITE)?;
        container.map_part(
            &memory,
            10 * PAGE,
            10 * PAGE,
            IOVA + 10 * PAGE64,
            READ_WRITE,
        )?;
        target.pin(IOVA + 8 * PAGE64, 4, BOTH)?;
        container.dirty_start()?;
        target.events()?;
        // The driver unpins when it is told, and that is no reason to forget.
        let out = DirtyPages::new(20);
        assert_eq!(container.unmap_dirty(IOVA, &out)?, 20 * PAGE64);
        assert_eq!(out.list(), [8, 9, 10, 11]);
        let told = target.told()?;
        assert_eq!(told[0], (IOVA, 10 * PAGE64));
        books.say(0, 0);
        container.dirty_stop()?;
    }
    Ok(())
}

/// A place for a bitmap of which only the first word can be written.
struct OneWord(Memory);

impl OneWord {
    fn new() -> rustix::io::Result<Self> {
        let memory = Memory::anonymous(2 * PAGE)?;
        memory.protect(PAGE, PAGE, libc::PROT_READ)?;
        Ok(Self(memory))
    }

    fn bitmap(&self, pages: u64) -> uapi::Bitmap {
        uapi::Bitmap {
            pgsize: PAGE64,
            size: pages.div_ceil(64) * 8,
            data: (self.0.address() + PAGE - 8) as u64,
        }
    }

    fn word(&self) -> u64 {
        let bytes = self.0.read(PAGE - 8, 8);
        u64::from_ne_bytes(bytes.try_into().expect("8 bytes"))
    }
}

fn unmap_into(container: &Container, pages: u64, bitmap: uapi::Bitmap) -> rustix::io::Result<u32> {
    let arg = vfio_selftests::dirty::unmap(IOVA, pages * PAGE64, bitmap);
    arg.send(container, uapi::IOMMU_UNMAP_DMA)
}

fn F136_unmap_where_the_bitmap_faults() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(128)?;
    let books = Books::open()?;
    container.dirty_start()?;
    container.map_part(&memory, 0, 64 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(
        &memory,
        64 * PAGE,
        64 * PAGE,
        IOVA + 64 * PAGE64,
        READ_WRITE,
    )?;
    write_page(&target, IOVA, 5)?;
    target.pin(IOVA + 70 * PAGE64, 1, BOTH)?;
    let place = OneWord::new()?;
    // The first went and was told of, the second did not.
    fails(unmap_into(container, 128, place.bitmap(128)), Errno::FAULT);
    assert_eq!(place.word(), 1 << 5);
    fails(target.dma_read(IOVA, 1, By::Caller), Errno::INVAL);
    target.dma_read(IOVA + 64 * PAGE64, 1, By::Caller)?;
    // Its driver has unpinned for it, though.
    books.say(0, 0);
    let out = DirtyPages::new(128);
    assert_eq!(container.unmap_dirty(IOVA, &out)?, 64 * PAGE64);
    assert_eq!(out.list(), [70]);
    assert_eq!(container.unmap_all()?, 0);
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

/// A sequence of numbers that look random, the same each time.
fn numbers(mut state: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    })
}

/// Numbers of pages of mappings that lie side by side, and of all of them.
const SIZES: [usize; 12] = [3, 61, 1, 64, 70, 5, 128, 2, 63, 65, 1, 1];
const TOTAL: usize = 464;

fn map_side_by_side(container: &Container, memory: &Memory) -> rustix::io::Result<()> {
    let mut at = 0;
    for pages in SIZES {
        let iova = IOVA + at as u64 * PAGE64;
        container.map_part(memory, at * PAGE, pages * PAGE, iova, READ_WRITE)?;
        at += pages;
    }
    assert_eq!(at, TOTAL);
    Ok(())
}

/// Writes to some of the pages, and tells to which.
fn write_some(target: &Device<'_>, round: u64) -> rustix::io::Result<Vec<usize>> {
    let mut dirty: Vec<usize> = numbers(round)
        .take(80)
        .map(|number| number as usize % TOTAL)
        .chain([0, 2, 3, 63, 64, TOTAL - 1])
        .collect();
    dirty.sort_unstable();
    dirty.dedup();
    for page in &dirty {
        write_page(target, IOVA, *page)?;
    }
    Ok(dirty)
}

fn R18_mappings_share_words() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(TOTAL)?;
    container.dirty_start()?;
    for round in 0..6 {
        map_side_by_side(container, &memory)?;
        let dirty = write_some(&target, round)?;
        // What was in the bitmap before makes no difference.
        let out = match round % 2 {
            0 => DirtyPages::new(TOTAL),
            _ => DirtyPages::full(TOTAL),
        };
        match round {
            0..=1 => container.dirty_into(IOVA, &out)?,
            2..=3 => assert_eq!(container.unmap_dirty(IOVA, &out)?, TOTAL as u64 * PAGE64),
            // A part of the mappings: the fifth to the seventh.
            _ => {
                let iova = IOVA + 129 * PAGE64;
                let part: Vec<usize> = dirty
                    .iter()
                    .filter(|page| (129..332).contains(*page))
                    .map(|page| page - 129)
                    .collect();
                assert_eq!(container.dirty(iova, 203)?, part, "round {round}");
            }
        }
        if round < 4 {
            assert_eq!(out.list(), dirty, "round {round}");
        }
        container.unmap_all()?;
    }
    Ok(())
}

/// Pages 5 to 14, 20 to 29 and 150 to 189, of which some are dirty.
fn map_apart(container: &Container, memory: &Memory, target: &Device<'_>) -> TestResult {
    for (first, pages) in [(5, 10), (20, 10), (150, 40)] {
        let iova = IOVA + first * PAGE64;
        container.map_part(memory, 0, pages * PAGE, iova, READ_WRITE)?;
    }
    for page in [5, 14, 20, 150, 189] {
        write_page(target, IOVA, page)?;
    }
    Ok(())
}

fn R18_words_beside_mappings() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(40)?;
    container.dirty_start()?;
    map_apart(container, &memory, &target)?;
    // What lies before a mapping in its word stays, and so do words without
    // any mapping.
    let (before_5, before_150) = (0b11111, (1 << 22) - 1);
    let out = DirtyPages::from_words(&[before_5, u64::MAX, before_150, u64::MAX, 7]);
    container.dirty_into(IOVA, &out)?;
    let expected = [
        before_5 | 1 << 5 | 1 << 14 | 1 << 20,
        u64::MAX,
        before_150 | 1 << 22 | 1 << 61,
        u64::MAX,
        7,
    ];
    assert_eq!(out.words(), expected);
    Ok(())
}

/// The C backend takes over whatever was in the first word of a mapping that
/// does not begin with it, also what stands for the mapping.
fn R18_words_that_were_not_zero() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(40)?;
    container.dirty_start()?;
    map_apart(container, &memory, &target)?;
    let out = DirtyPages::full(320);
    container.dirty_into(IOVA, &out)?;
    let words = out.words();
    // What lies behind a mapping in its word is 0.
    assert_eq!(words[0], 0b11111 | 1 << 5 | 1 << 14 | 1 << 20);
    assert_eq!(words[1], u64::MAX);
    assert_eq!(words[2], ((1 << 22) - 1) | 1 << 22 | 1 << 61);
    assert_eq!(words[3..], [u64::MAX; 2]);
    Ok(())
}

fn R45_report_again_and_again() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(TOTAL)?;
    container.dirty_start()?;
    map_side_by_side(container, &memory)?;
    target.pin(IOVA + 2 * PAGE64, 3, BOTH)?;
    for round in 0..5 {
        let mut dirty = write_some(&target, round)?;
        dirty.extend([2, 3, 4]);
        dirty.sort_unstable();
        dirty.dedup();
        assert_eq!(container.dirty(IOVA, TOTAL)?, dirty, "round {round}");
        assert_eq!(container.dirty(IOVA, TOTAL)?, [2, 3, 4], "round {round}");
    }
    // From another address on, so shifted by another number.
    for before in [1, 7, 63, 64] {
        write_page(&target, IOVA, 5)?;
        let iova = IOVA - before as u64 * PAGE64;
        let expected = [2, 3, 4, 5].map(|page| page + before);
        assert_eq!(container.dirty(iova, TOTAL + before)?, expected);
    }
    Ok(())
}

/// The C backend shifts the bits where they are kept, and does so again when
/// it is asked again.
fn R45_retry_after_a_fault() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(200)?;
    container.dirty_start()?;
    // From page 5 to 104 and from 130 to 229.
    for first in [5, 130] {
        let iova = IOVA + first * PAGE64;
        container.map_part(&memory, 0, 100 * PAGE, iova, READ_WRITE)?;
    }
    for page in [5, 14, 63, 64, 104, 130, 192, 229] {
        write_page(&target, IOVA, page)?;
    }
    for _ in 0..3 {
        let out = DirtyPages::new(230);
        out.make_read_only();
        fails(container.dirty_into(IOVA, &out), Errno::FAULT);
    }
    let expected = [5, 14, 63, 64, 104, 130, 192, 229];
    assert_eq!(container.dirty(IOVA, 230)?, expected);
    assert_eq!(container.dirty(IOVA, 230)?, []);
    Ok(())
}

fn R45_retry_unmap_after_a_fault() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(100)?;
    container.dirty_start()?;
    let iova = IOVA + 5 * PAGE64;
    container.map_part(&memory, 0, 100 * PAGE, iova, READ_WRITE)?;
    for page in [5, 63, 64, 104] {
        write_page(&target, IOVA, page)?;
    }
    let place = OneWord::new()?;
    fails(unmap_into(container, 105, place.bitmap(105)), Errno::FAULT);
    let out = DirtyPages::new(105);
    assert_eq!(container.unmap_dirty(IOVA, &out)?, 100 * PAGE64);
    assert_eq!(out.list(), [5, 63, 64, 104]);
    Ok(())
}

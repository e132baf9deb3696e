// SPDX-License-Identifier: GPL-2.0
//! Bitmaps of dirty pages, bit by bit, and when memory is unmapped: rows F136,
//!
//!
//! The C backend shifts the bits of a mapping where they are kept if the mapping
//! does not begin with a word of the bitmap. What it reports of that mapping
//! later is wrong: too much, or in the wrong place. So rows that may run on it
//! let mappings begin with a word, or report each of them only once.

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    dirty::{self, DirtyPages},
    memory::Memory,
    target::Target,
    uapi, PAGE,
};

use super::{
    dirty::{all, write_page},
    map::IOVA,
};
use crate::{
    bench,
    check::{fails, Books},
    emulated::{touched, By, BOTH},
    fixture::{Device, Fixture},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F136_unmap_with_bitmap,
    F136_unmap_tells_what_a_driver_pinned,
    F136_unmap_where_the_bitmap_faults,
    R18_mappings_share_words,
    R18_large_mappings,
    R18_words_beside_mappings,
    R18_words_that_were_not_zero.holds(Holds::OnlyRustType1),
    R45_report_again_and_again.holds(Holds::OnlyRustType1),
    R45_retry_after_a_fault.holds(Holds::OnlyRustType1),
    R45_retry_unmap_after_a_fault.holds(Holds::OnlyRustType1),
];

const PAGE64: u64 = PAGE as u64;

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
    let arg = dirty::unmap(IOVA, pages * PAGE64, bitmap);
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

/// Mappings with very many words, and neighbours that share a word with them.
fn R18_large_mappings() -> TestResult {
    const PAGES: usize = 40_000;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    // Only what is written to will be there.
    let memory = Memory::anonymous(PAGES * PAGE)?;
    container.dirty_start()?;
    for round in 0..3 {
        for (first, pages) in [(0, 4100), (4100, 60), (4160, 33_000), (37_160, 2840)] {
            let iova = IOVA + first as u64 * PAGE64;
            container.map_part(&memory, first * PAGE, pages * PAGE, iova, READ_WRITE)?;
        }
        let dirty: Vec<usize> = [
            0, 63, 64, 4095, 4099, 4100, 4159, 4160, 36_927, 36_928, 37_119, 37_159, 37_160, 39_999,
        ]
        .into_iter()
        .filter(|page| page % 3 != round)
        .collect();
        for page in &dirty {
            write_page(&target, IOVA, *page)?;
        }
        let out = DirtyPages::full(PAGES);
        match round {
            0..=1 => container.dirty_into(IOVA, &out)?,
            _ => assert_eq!(container.unmap_dirty(IOVA, &out)?, PAGES as u64 * PAGE64),
        }
        assert_eq!(out.list(), dirty, "round {round}");
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

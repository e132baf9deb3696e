// SPDX-License-Identifier: GPL-2.0
//! Mappings whose pages lie anywhere in the RAM: rows F195 and F196.
//!
//! Our backend records the frames of a mapping only where they are consecutive,
//! and asks the IOMMU for those that are scattered. So the mappings here have as
//! many scattered pages as make a difference, alone and beside memory of other
//! kinds.

use anyhow::Context;
use vfio_selftests::{
    container::READ_WRITE,
    memory::{Memory, HUGE_2M},
    pci::{self, Config, PciDevice},
    target::Target,
    uapi, PAGE,
};

use super::map::copy;
use crate::{
    bench::{self, Open},
    check::Books,
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F195_scattered_pages.limit(120),
    F195_fewer_directions,
    F195_short_runs.limit(120),
    F195_a_huge_page_among_them,
    F196_scattered_pages_and_others.limit(120),
];

const PAGE64: u64 = PAGE as u64;
/// Where edu puts what it read.
const RESULT: u64 = 0x20_0000;
/// Where the mappings begin, with room for huge pages.
const FAR: u64 = 1 << 32;

/// Touches the pages of both in turn, so that few neighbours are side by side in
/// RAM. Each page begins with its number.
fn scatter(memory: &Memory, other: &Memory) -> anyhow::Result<()> {
    for page in 0..memory.len() / PAGE {
        memory.write_u32(page * PAGE, page as u32);
        other.write_u32(page * PAGE, 0);
    }
    let frames = memory.frames()?;
    let together = frames.windows(2).filter(|pair| pair[0] + 1 == pair[1]);
    let together = together.count();
    assert!(
        // Of a few pages one may follow another by chance.
        together * 4 < frames.len() + 4,
        "{together} of {} pages follow their neighbours",
        frames.len()
    );
    Ok(())
}

/// Two memories of the same size whose pages are mixed in RAM.
fn scattered(pages: usize) -> anyhow::Result<[Memory; 2]> {
    let both = [
        Memory::anonymous(pages * PAGE)?,
        Memory::anonymous(pages * PAGE)?,
    ];
    scatter(&both[0], &both[1])?;
    Ok(both)
}

/// The pages that are worth a look: those at the ends of pieces, and the last.
fn some_pages(pages: usize) -> impl Iterator<Item = usize> {
    let ends = [63, 64, 512].into_iter();
    ends.filter(move |page| *page < pages - 1)
        .chain([pages - 1])
}

/// The device must see the number of the page at that address.
fn check_page(open: &Open, result: &Memory, iova: u64, page: usize) -> TestResult {
    result.write_u32(0, u32::MAX);
    copy(&open.session.device, iova + page as u64 * PAGE64, RESULT, 4)
        .with_context(|| format!("page {page}"))?;
    assert_eq!(result.read_u32(0), page as u32);
    Ok(())
}

fn F195_scattered_pages() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let result = Memory::anonymous(PAGE)?;
    container.map(&result, RESULT)?;
    for pages in [2, 64, 65, 129, 513, 1100] {
        let [memory, _other] = scattered(pages)?;
        let books = Books::open()?;
        container.map(&memory, FAR)?;
        books.say(pages as i64, pages as i64);
        for page in some_pages(pages) {
            check_page(&open, &result, FAR, page)?;
        }
        // And it writes there.
        let last = pages - 1;
        copy(
            &open.session.device,
            RESULT,
            FAR + last as u64 * PAGE64 + 8,
            4,
        )?;
        assert_eq!(memory.read_u32(last * PAGE + 8), last as u32);
        assert_eq!(
            container.unmap(FAR, pages as u64 * PAGE64)?,
            pages as u64 * PAGE64
        );
        books.say(0, 0);
    }
    Ok(())
}

fn F195_fewer_directions() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let [memory, _other] = scattered(200)?;
    let books = Books::open()?;
    for flags in [uapi::DMA_MAP_FLAG_READ, uapi::DMA_MAP_FLAG_WRITE] {
        container.map_part(&memory, 0, memory.len(), FAR, flags)?;
        books.say(200, 200);
        assert_eq!(container.unmap_all()?, 200 * PAGE64);
        books.say(0, 0);
    }
    // A mapping that fails on its last page leaves nothing.
    memory.protect(199 * PAGE, PAGE, libc::PROT_NONE)?;
    assert!(container.map(&memory, FAR).is_err());
    books.say(0, 0);
    assert_eq!(container.unmap_all()?, 0);
    Ok(())
}

/// Maps all of `memory`, whose pages begin with their numbers, at `iova` and looks at
/// some of them. Nothing may be left behind.
fn map_check_unmap(open: &Open, result: &Memory, memory: &Memory, iova: u64) -> TestResult {
    let pages = memory.len() / PAGE;
    let books = Books::open()?;
    open.session.container.map(memory, iova)?;
    books.say(pages as i64, pages as i64);
    for page in some_pages(pages) {
        check_page(open, result, iova, page)?;
    }
    let removed = open.session.container.unmap(iova, memory.len() as u64)?;
    assert_eq!(removed, memory.len() as u64);
    books.say(0, 0);
    Ok(())
}

/// Some IOMMUs map any power of two of consecutive pages by one entry, which can only
/// be removed as a whole. Here these lie across all multiples of anything.
fn F195_short_runs() -> TestResult {
    let open = bench::open()?;
    let result = Memory::anonymous(PAGE)?;
    open.session.container.map(&result, RESULT)?;
    // Four or eight pages each in no order, in RAM at multiples of that. Those of a size
    // are taken from the end of huge pages, so that none follows the one before it.
    let sizes: Vec<usize> = (0..1200)
        .map(|n: usize| [4, 8][(n * 0x9e37_79b9) >> 17 & 1])
        .collect();
    let pages = sizes.iter().sum::<usize>();
    let mut rest = [4, 8].map(|size| {
        let all = sizes.iter().filter(|other| **other == size).count() * size;
        Memory::transparent_huge(all * PAGE).ok()
    });
    let memory = Memory::reserve(pages * PAGE)?.split(pages * PAGE).0;
    let mut at = 0;
    for size in &sizes {
        let from = rest[size / 8].take().context("no huge pages")?;
        let before = from.len() - size * PAGE;
        let (before, piece) = from.split(before);
        rest[size / 8] = Some(before);
        memory.place(at * PAGE, piece)?;
        at += size;
    }
    for page in 0..pages {
        memory.write_u32(page * PAGE, page as u32);
    }
    for start in [0, 1, 2, 4] {
        map_check_unmap(&open, &result, &memory, FAR + start * PAGE64)?;
    }
    Ok(())
}

fn F195_a_huge_page_among_them() -> TestResult {
    let open = bench::open()?;
    let result = Memory::anonymous(PAGE)?;
    open.session.container.map(&result, RESULT)?;
    let (before, huge, behind) = (10, HUGE_2M / PAGE, 110);
    let pages = before + huge + behind;
    let memory = Memory::reserve(pages * PAGE)?.split(pages * PAGE).0;
    let other = Memory::anonymous(pages * PAGE)?;
    memory.place_anonymous(0, pages * PAGE)?;
    memory.place(before * PAGE, Memory::transparent_huge(HUGE_2M)?)?;
    for page in 0..pages {
        memory.write_u32(page * PAGE, page as u32);
        other.write_u32(page * PAGE, 0);
    }
    // Where the huge page is at a multiple of its size, and where it is not.
    let aligned = FAR + HUGE_2M as u64 - before as u64 * PAGE64;
    for iova in [aligned, aligned + PAGE64] {
        map_check_unmap(&open, &result, &memory, iova)?;
    }
    Ok(())
}

fn F196_scattered_pages_and_others() -> TestResult {
    let bound = PciDevice::find(pci::IVSHMEM)
        .first()
        .context("no device made of memory")?
        .bind()?;
    let open = bench::open()?;
    let container = &open.session.container;
    let group = bound.join(container)?;
    let shmem = group.device(bound.name())?;
    Config::of(&shmem)?.enable()?;
    let region = shmem.region(uapi::PCI_BAR2_REGION_INDEX)?.head;
    let result = Memory::anonymous(PAGE)?;
    container.map(&result, RESULT)?;

    // Pages that are numbered from the beginning of all; those of the device are
    // left out, and those of a huge page follow each other.
    enum Kind {
        Scattered,
        Huge,
        Device,
    }
    use Kind::{Device, Huge, Scattered};
    let huge = HUGE_2M / PAGE;
    let parts = [
        (Scattered, 70),
        (Device, 3),
        (Scattered, 130),
        (Device, 1),
        (Scattered, 2 * huge - 204),
        (Huge, 2 * huge),
        (Scattered, 640),
        (Device, 64),
        (Scattered, 1),
    ];
    let pages: usize = parts.iter().map(|(_, pages)| pages).sum();
    let memory = Memory::reserve(pages * PAGE)?;
    let other = Memory::anonymous(pages * PAGE)?;
    let mut at = 0;
    let (mut own, mut wanted) = (0, Vec::new());
    for (kind, pages) in parts {
        let (offset, len) = (at * PAGE, pages * PAGE);
        match kind {
            Device => memory.place_file(offset, &shmem, region.offset, len, true)?,
            Huge | Scattered => {
                if matches!(kind, Huge) {
                    memory.place_huge(offset, len)?;
                } else {
                    memory.place_anonymous(offset, len)?;
                }
                for page in at..at + pages {
                    memory.write_u32(page * PAGE, page as u32);
                    other.write_u32(page * PAGE, 0);
                }
                own += pages as i64;
                wanted.extend([at, at + pages / 2, at + pages - 1]);
            }
        }
        at += pages;
    }
    let books = Books::open()?;
    for _ in 0..2 {
        container.map_part(&memory, 0, pages * PAGE, FAR, READ_WRITE)?;
        books.say(own, own);
        for page in &wanted {
            check_page(&open, &result, FAR, *page)?;
        }
        assert_eq!(
            container.unmap(FAR, pages as u64 * PAGE64)?,
            pages as u64 * PAGE64
        );
        books.say(0, 0);
    }
    // The end of the container is another way.
    container.map_part(&memory, 0, pages * PAGE, FAR, READ_WRITE)?;
    // The memory of the device keeps it open, so it goes before it is given back.
    drop((memory, shmem, group, open, bound));
    // With it goes the page for results, which was there before.
    books.say(-1, -1);
    Ok(())
}

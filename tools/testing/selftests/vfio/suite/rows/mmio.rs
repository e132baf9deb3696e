// SPDX-License-Identifier: GPL-2.0
//! Devices reach the memory of other devices: rows F107, R-07, R-08, R-10 and
//!
//!
//! The memory is that of a device made of nothing else, mapped into this
//! process, from where it is mapped for an edu device. What edu copies shows
//! whether it is the right memory.

use anyhow::Context;
use rustix::{io::Errno, thread::CapabilitySet};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    device::Device,
    group::Group,
    memory::{Memory, HUGE_2M},
    module::{self, Parameter},
    pci::{self, Bound, Config, PciDevice, COMMAND, COMMAND_MEMORY},
    process,
    target::Target,
    uapi, PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench::{self, Open},
    check::{fails, fails_in, Books},
    emulated::By,
    fixture::Fixture,
    harness::{cases, rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F107_whole_region.limit(120),
    F107_small_region,
    F107_parts_of_a_region,
    F107_region_that_does_not_answer,
    F107_replay,
    R07_not_touched_before,
    R08_memory_around_a_region,
    R08_memory_around_a_region_fails,
    R08_only_memory_counts,
    R10_read_only_region,
    R11_misaligned_in_huge_pages,
];

const PAGE64: u64 = PAGE as u64;
/// Where edu puts what it read.
const RESULT: u64 = 0x20_0000;
/// Where regions are mapped, far from everything.
pub(super) const FAR: u64 = 1 << 32;

/// The device made of memory, handed to VFIO.
fn shmem() -> anyhow::Result<Bound> {
    PciDevice::find(pci::IVSHMEM)
        .first()
        .context("no device made of memory")?
        .bind()
}

/// An edu device and the memory of another device, in one container.
pub(super) struct Bench {
    // Closed in this order.
    shmem: Device,
    _group: Group,
    result: Memory,
    open: Open,
    _bound: Bound,
    /// The region of memory: where it is in the file, and its length.
    offset: u64,
    len: usize,
}

impl Bench {
    pub(super) fn new() -> anyhow::Result<Self> {
        let bound = shmem()?;
        let open = bench::open()?;
        let group = bound.join(&open.session.container)?;
        let shmem = group.device(bound.name())?;
        Config::of(&shmem)?.enable()?;
        let region = shmem.region(uapi::PCI_BAR2_REGION_INDEX)?.head;
        let result = Memory::anonymous(PAGE)?;
        open.session.container.map(&result, RESULT)?;
        Ok(Self {
            offset: region.offset,
            len: usize::try_from(region.size)?,
            shmem,
            _group: group,
            result,
            open,
            _bound: bound,
        })
    }

    pub(super) fn container(&self) -> &Container {
        &self.open.session.container
    }

    /// A new mapping of all of it into this process.
    fn view(&self) -> rustix::io::Result<Memory> {
        Memory::of_file(&self.shmem, self.offset, self.len, true)
    }

    /// Puts a part of it, from that page of it on, at a part of this memory.
    pub(super) fn place(&self, at: &Memory, page: usize, first: usize, pages: usize) -> TestResult {
        let offset = self.offset + (first * PAGE) as u64;
        at.place_file(page * PAGE, &self.shmem, offset, pages * PAGE, true)?;
        Ok(())
    }

    /// What edu finds at an address.
    pub(super) fn look(&self, iova: u64) -> anyhow::Result<u32> {
        self.result.write_u32(0, 0xdead_beef);
        copy(&self.open.session.device, iova, RESULT, 4)?;
        Ok(self.result.read_u32(0))
    }

    /// Lets edu write to an address.
    fn put(&self, iova: u64, value: u32) -> TestResult {
        self.result.write_u32(0, value);
        copy(&self.open.session.device, RESULT, iova, 4)?;
        Ok(())
    }
}

/// Writes the number of each page into it, plus something.
fn number(view: &Memory, pages: std::ops::Range<usize>, plus: u32) {
    for page in pages {
        view.write_u32(page * PAGE, page as u32 + plus);
    }
}

fn F107_whole_region() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let view = bench.view()?;
    let books = Books::open()?;
    let last = bench.len / PAGE - 1;
    let pages = [0, 1, HUGE_2M / PAGE - 1, HUGE_2M / PAGE, 1000, last];
    for page in pages {
        number(&view, page..page + 1, 0x100_0000);
    }
    for small in ["N", "Y"] {
        let _small = Parameter::set(module::TYPE1, "disable_hugepages", small)?;
        container.map(&view, FAR)?;
        // It is nobody's memory, so nobody is charged.
        books.say(0, 0);
        for page in pages {
            let found = bench.look(FAR + page as u64 * PAGE64)?;
            assert_eq!(found, page as u32 + 0x100_0000, "page {page}");
        }
        bench.put(FAR + last as u64 * PAGE64 + 64, 0x1234_5678)?;
        assert_eq!(view.read_u32(last * PAGE + 64), 0x1234_5678);
        view.write_u32(last * PAGE + 64, 0);
        let len = bench.len as u64;
        assert_eq!(container.unmap(FAR, len)?, len);
        books.say(0, 0);
        // And it cannot be reached any more.
        bench.put(FAR + last as u64 * PAGE64 + 64, 0x1234_5678)?;
        assert_eq!(view.read_u32(last * PAGE + 64), 0);
        assert_ne!(bench.look(FAR)?, 0x100_0000);
    }
    Ok(())
}

fn F107_small_region() -> TestResult {
    for backend in [uapi::TYPE1_IOMMU, uapi::TYPE1v2_IOMMU] {
        let open = bench::open_edu(backend)?;
        let (container, device) = (&open.session.container, &open.session.device);
        Config::of(device)?.enable()?;
        let bar = device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
        let books = Books::open()?;
        let avail = container.info()?.dma_avail();
        container.map(&bar, FAR)?;
        books.say(0, 0);
        fails(container.map(&bar, FAR), Errno::EXIST);
        // The same twice is fine.
        container.map(&bar, 2 * FAR)?;
        assert_eq!(container.unmap(FAR, bar.len() as u64)?, bar.len() as u64);
        // It stays when the process gives its own mapping up.
        let len = bar.len() as u64;
        drop(bar);
        assert_eq!(container.unmap_all()?, len);
        books.say(0, 0);
        assert_eq!(container.info()?.dma_avail(), avail);
    }
    Ok(())
}

fn F107_parts_of_a_region() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let view = bench.view()?;
    number(&view, 0..16, 0x200_0000);
    view.write(16 * PAGE, &[0; 4]);
    let books = Books::open()?;
    for (first, pages) in [(0, 1), (3, 5), (15, 1)] {
        container.map_part(&view, first * PAGE, pages * PAGE, IOVA, READ_WRITE)?;
        for page in 0..pages {
            let found = bench.look(IOVA + page as u64 * PAGE64)?;
            assert_eq!(found, (first + page) as u32 + 0x200_0000);
        }
        // Not a page more.
        bench.put(IOVA + pages as u64 * PAGE64, 1)?;
        assert_eq!(
            view.read_u32((first + pages) * PAGE) & 0xffff_fff0,
            if first + pages < 16 { 0x200_0000 } else { 0 }
        );
        books.say(0, 0);
        assert_eq!(
            container.unmap(IOVA, pages as u64 * PAGE64)?,
            pages as u64 * PAGE64
        );
    }
    // Two mappings that touch, the second of the same page as the first.
    container.map_part(&view, 7 * PAGE, PAGE, IOVA, READ_WRITE)?;
    container.map_part(&view, 7 * PAGE, 2 * PAGE, IOVA + PAGE64, READ_WRITE)?;
    assert_eq!(bench.look(IOVA)?, bench.look(IOVA + PAGE64)?);
    assert_eq!(container.unmap(IOVA, 3 * PAGE64)?, 3 * PAGE64);
    // For reading only: edu cannot write there.
    let read = uapi::DMA_MAP_FLAG_READ;
    container.map_part(&view, 0, PAGE, IOVA, read)?;
    assert_eq!(bench.look(IOVA)?, 0x200_0000);
    bench.put(IOVA, 1)?;
    assert_eq!(view.read_u32(0), 0x200_0000);
    Ok(())
}

/// A device whose memory is switched off has none to be mapped.
fn F107_region_that_does_not_answer() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let view = bench.view()?;
    let books = Books::open()?;
    let avail = container.info()?.dma_avail();
    let config = Config::of(&bench.shmem)?;
    let command = config.read_u16(COMMAND)?;
    config.write_u16(COMMAND, command & !COMMAND_MEMORY)?;
    fails(container.map(&view, FAR), Errno::FAULT);
    books.say(0, 0);
    assert_eq!(container.info()?.dma_avail(), avail);
    config.write_u16(COMMAND, command)?;
    container.map(&view, FAR)?;
    view.write_u32(0, 77);
    assert_eq!(bench.look(FAR)?, 77);
    Ok(())
}

/// A real device joins after the region was mapped for an emulated one. The
/// region's own device is in another container.
fn F107_replay() -> TestResult {
    let bound = shmem()?;
    let edu = bench::bound_edu()?;
    let owner = bound.open(uapi::TYPE1v2_IOMMU)?;
    Config::of(&owner.device)?.enable()?;
    let view = owner.device.map_region(uapi::PCI_BAR2_REGION_INDEX)?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    number(&view, 0..4, 0x300_0000);
    let result = Memory::anonymous(PAGE)?;
    let books = Books::open()?;
    container.map_part(&view, 0, 4 * PAGE, IOVA, READ_WRITE)?;
    container.map(&result, RESULT)?;
    target.dma_write(IOVA + 8, b"seen", By::Caller)?;
    assert_eq!(view.read(8, 4), b"seen");
    for _ in 0..2 {
        let group = edu.join(container)?;
        books.say(1, 1);
        let device = group.device(edu.name())?;
        for page in 0..4 {
            copy(&device, IOVA + page * PAGE64, RESULT, 4)?;
            assert_eq!(result.read_u32(0), page as u32 + 0x300_0000);
        }
        drop(device);
        group.unset_container()?;
        books.say(0, 0);
    }
    let _group = edu.join(container)?;
    assert_eq!(container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
    books.say(1, 1);
    Ok(())
}

fn R07_not_touched_before() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let view = bench.view()?;
    number(&view, 0..600, 0x400_0000);
    let books = Books::open()?;
    for (first, pages) in [(0, 1), (5, 3), (511, 2), (100, 500)] {
        // No page of this one was ever looked at.
        let fresh = bench.view()?;
        container.map_part(&fresh, first * PAGE, pages * PAGE, FAR, READ_WRITE)?;
        books.say(0, 0);
        for page in [0, pages / 2, pages - 1] {
            let found = bench.look(FAR + page as u64 * PAGE64)?;
            assert_eq!(found, (first + page) as u32 + 0x400_0000, "{first}+{page}");
        }
        drop(fresh);
        assert_eq!(
            container.unmap(FAR, pages as u64 * PAGE64)?,
            pages as u64 * PAGE64
        );
    }
    // Looked at in the middle only.
    let fresh = bench.view()?;
    fresh.read_u32(10 * PAGE);
    container.map_part(&fresh, 8 * PAGE, 4 * PAGE, FAR, READ_WRITE)?;
    for page in 0..4 {
        let found = bench.look(FAR + page * PAGE64)?;
        assert_eq!(found, 8 + page as u32 + 0x400_0000);
    }
    Ok(())
}

fn R08_memory_around_a_region() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let view = bench.view()?;
    number(&view, 0..64, 0x500_0000);
    // How many pages of memory, of the region, and of memory again.
    for (before, region, behind) in [(3, 4, 2), (1, 1, 1), (0, 2, 5), (600, 3, 1), (511, 60, 513)] {
        let total = before + region + behind;
        let memory = Memory::reserve(total * PAGE)?;
        memory.place_anonymous(0, (before + behind + region) * PAGE)?;
        bench.place(&memory, before, 2, region)?;
        let books = Books::open()?;
        let case = format!("{before}, {region}, {behind}");
        container.map_part(&memory, 0, total * PAGE, FAR, READ_WRITE)?;
        books.say((before + behind) as i64, (before + behind) as i64);
        for page in (0..before).chain(before + region..total) {
            memory.write_u32(page * PAGE, page as u32);
        }
        for page in [
            0,
            before.saturating_sub(1),
            before,
            before + region - 1,
            total - 1,
        ] {
            let found = bench.look(FAR + page as u64 * PAGE64)?;
            let expected = match page.checked_sub(before) {
                Some(n) if n < region => n as u32 + 2 + 0x500_0000,
                _ => page as u32,
            };
            assert_eq!(found, expected, "{case}: page {page}");
        }
        let size = (total * PAGE) as u64;
        assert_eq!(container.unmap(FAR, size)?, size, "{case}");
        books.say(0, 0);
    }
    Ok(())
}

fn R08_memory_around_a_region_fails() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let avail = container.info()?.dma_avail();
    /// A name, where memory is and how many pages, and where the hole ends.
    type Layout = (&'static str, &'static [(usize, usize)], usize);
    let layouts: &[Layout] = &[
        ("memory, region, memory, hole", &[(0, 10), (20, 10)], 35),
        ("memory, region, hole", &[(0, 10)], 30),
        ("region, memory, hole", &[(20, 10)], 31),
        ("much memory, region, hole", &[(0, 10), (20, 600)], 621),
    ];
    for (name, anonymous, total) in layouts {
        let books = Books::open()?;
        let fresh = Memory::reserve(700 * PAGE)?;
        let mut first = 10;
        for (at, pages) in *anonymous {
            fresh.place_anonymous(at * PAGE, pages * PAGE)?;
            first = first.min(*at);
        }
        bench.place(&fresh, 10, 0, 10)?;
        let result = container.map_part(
            &fresh,
            first * PAGE,
            (total - first) * PAGE,
            FAR,
            READ_WRITE,
        );
        fails_in(name, result, Errno::FAULT);
        books.say(0, 0);
        assert_eq!(container.info()?.dma_avail(), avail, "{name}");
        assert_eq!(container.unmap(FAR, 1 << 30)?, 0, "{name}");
        // Without the hole it works.
        let pages = anonymous.iter().map(|(_, pages)| *pages as i64).sum();
        let end = anonymous
            .iter()
            .map(|(at, pages)| at + pages)
            .chain([20])
            .max()
            .unwrap_or_default();
        container.map_part(&fresh, first * PAGE, (end - first) * PAGE, FAR, READ_WRITE)?;
        books.say(pages, pages);
        container.unmap(FAR, ((end - first) * PAGE) as u64)?;
        books.say(0, 0);
    }
    Ok(())
}

/// What one may lock is about memory.
fn R08_only_memory_counts() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    container.unmap_all()?;
    let memory = Memory::reserve(64 * PAGE)?;
    memory.place_anonymous(0, 4 * PAGE)?;
    bench.place(&memory, 4, 0, 40)?;
    memory.place_anonymous(44 * PAGE, 4 * PAGE)?;
    let books = Books::open()?;
    process::drop_capability(CapabilitySet::IPC_LOCK)?;
    process::limit_locked(8 * PAGE64)?;
    container.map_part(&memory, 0, 48 * PAGE, FAR, READ_WRITE)?;
    books.say(8, 8);
    container.unmap_all()?;
    memory.place_anonymous(48 * PAGE, PAGE)?;
    fails(
        container.map_part(&memory, 0, 49 * PAGE, FAR, READ_WRITE),
        Errno::NOMEM,
    );
    books.say(0, 0);
    container.map(&bench.view()?, FAR)?;
    books.say(0, 0);
    Ok(())
}

fn R10_read_only_region() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let view = bench.view()?;
    number(&view, 0..8, 0x600_0000);
    let books = Books::open()?;
    let avail = container.info()?.dma_avail();
    for touched in [false, true] {
        let fixed = Memory::of_file(&bench.shmem, bench.offset, 8 * PAGE, false)?;
        if touched {
            assert_eq!(fixed.read_u32(PAGE), 0x600_0001);
        }
        for flags in [READ_WRITE, uapi::DMA_MAP_FLAG_WRITE] {
            fails(
                container.map_part(&fixed, 0, 8 * PAGE, FAR, flags),
                Errno::FAULT,
            );
        }
        assert_eq!(container.info()?.dma_avail(), avail);
        let read = uapi::DMA_MAP_FLAG_READ;
        container.map_part(&fixed, 0, 8 * PAGE, FAR, read)?;
        assert_eq!(bench.look(FAR + 3 * PAGE64)?, 0x600_0003);
        bench.put(FAR + 3 * PAGE64, 1)?;
        assert_eq!(view.read_u32(3 * PAGE), 0x600_0003);
        assert_eq!(container.unmap(FAR, 8 * PAGE64)?, 8 * PAGE64);
        books.say(0, 0);
    }
    // Writable memory before it does not help.
    let memory = Memory::reserve(4 * PAGE)?;
    memory.place_anonymous(0, 2 * PAGE)?;
    memory.place_file(2 * PAGE, &bench.shmem, bench.offset, 2 * PAGE, false)?;
    fails(
        container.map_part(&memory, 0, 4 * PAGE, FAR, READ_WRITE),
        Errno::FAULT,
    );
    books.say(0, 0);
    Ok(())
}

/// The kernel maps regions by 2 MiB where they are aligned. A mapping for
/// devices may begin and end anywhere in that.
fn R11_misaligned_in_huge_pages() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    let view = bench.view()?;
    let huge = HUGE_2M / PAGE;
    number(&view, 0..3 * huge + 4, 0x700_0000);
    let books = Books::open()?;
    let memory = Memory::reserve(bench.len + HUGE_2M)?;
    // How far the addresses are from the region's own alignment, in pages.
    for shift in cases([0, 1, 511]) {
        bench.place(&memory, shift, 0, 4 * huge)?;
        for (first, pages) in [
            (1, 2),
            (1, huge),
            (huge - 3, 6),
            (huge - 1, 1),
            (huge, huge),
            (5, 2 * huge),
            (0, 3 * huge),
        ] {
            let case = format!("shift {shift}, {pages} from {first}");
            // Addresses for devices that fit together with those, and not.
            for iova in [FAR + first as u64 * PAGE64, FAR + 3 * PAGE64] {
                let size = (pages * PAGE) as u64;
                let at = (shift + first) * PAGE;
                container.map_part(&memory, at, pages * PAGE, iova, READ_WRITE)?;
                books.say(0, 0);
                for page in [0, pages / 2, pages - 1] {
                    let found = bench.look(iova + page as u64 * PAGE64)?;
                    let expected = (first + page) as u32 + 0x700_0000;
                    assert_eq!(found, expected, "{case}: page {page}");
                }
                // The pages beside it are not reachable.
                bench.put(iova + size, 5)?;
                let expected = (first + pages) as u32 + 0x700_0000;
                assert_eq!(view.read_u32((first + pages) * PAGE), expected, "{case}");
                if first > 0 {
                    bench.put(iova - PAGE64, 5)?;
                    let expected = (first - 1) as u32 + 0x700_0000;
                    assert_eq!(view.read_u32((first - 1) * PAGE), expected, "{case}");
                }
                assert_eq!(container.unmap(iova, size)?, size, "{case}");
            }
        }
    }
    Ok(())
}

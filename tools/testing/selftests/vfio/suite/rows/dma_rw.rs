// SPDX-License-Identifier: GPL-2.0
//! Emulated devices copy from and to memory: row F128.

use rustix::io::Errno;
use vfio_selftests::{
    container::READ_WRITE,
    device::Event,
    memory::Memory,
    process::{in_child, Child},
    target::{wait_for, Target},
    uapi, PAGE,
};

use super::map::IOVA;
use crate::{
    bench,
    check::{fails, fails_in, Books},
    emulated::{touched, By, BOTH},
    fixture::Fixture,
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F128_copy,
    F128_copy_large,
    F128_copy_across_mappings,
    F128_copy_permissions,
    F128_copy_errors,
    F128_copy_brings_pages_in,
    F128_copy_in_another_process,
    F128_copy_after_the_process_ended,
    F128_copy_beside_a_real_device,
];

const PAGE64: u64 = PAGE as u64;
const WHO: [By; 2] = [By::Caller, By::Kthread];

fn F128_copy() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    for backend in [uapi::TYPE1_IOMMU, uapi::TYPE1v2_IOMMU] {
        let session = target.open(backend)?;
        let memory = touched(3)?;
        session.container.map(&memory, IOVA)?;
        let books = Books::open()?;
        for by in WHO {
            for (offset, len) in [
                (0, 1),
                (0, PAGE),
                (1, 7),
                (PAGE - 1, 1),
                (PAGE - 3, 8),
                (PAGE - 1, PAGE + 2),
                (0, 3 * PAGE),
                (3 * PAGE - 1, 1),
            ] {
                let case = format!("{len} at {offset}, {by:?}");
                memory.fill(0x11);
                let bytes: Vec<u8> = (0..len).map(|n| (n * 7 + offset) as u8).collect();
                target.dma_write(IOVA + offset as u64, &bytes, by)?;
                let mut expected = vec![0x11; 3 * PAGE];
                expected[offset..offset + len].copy_from_slice(&bytes);
                assert!(memory.read(0, 3 * PAGE) == expected, "{case}: written");
                let read = target.dma_read(IOVA + offset as u64, len, by)?;
                assert!(read == bytes, "{case}: read");
            }
        }
        // Copying holds nothing.
        books.say(0, 0);
    }
    Ok(())
}

fn F128_copy_large() -> TestResult {
    const SIZE: usize = 4 << 20;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(SIZE)?;
    session.container.map(&memory, IOVA)?;
    for (by, seed) in [(By::Caller, 3), (By::Kthread, 5)] {
        let bytes: Vec<u8> = (0..SIZE).map(|n| (n / 257 * seed + n) as u8).collect();
        target.dma_write(IOVA, &bytes, by)?;
        assert!(memory.read(0, SIZE) == bytes, "{by:?}: written");
        memory.write(SIZE / 2, b"changed");
        let read = target.dma_read(IOVA, SIZE, by)?;
        assert!(read == memory.read(0, SIZE), "{by:?}: read");
    }
    Ok(())
}

fn F128_copy_across_mappings() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(6)?;
    // Side by side for the device, apart and the other way round in memory.
    for (n, page) in [4, 2, 0].into_iter().enumerate() {
        let iova = IOVA + n as u64 * PAGE64;
        container.map_part(&memory, page * PAGE, PAGE, iova, READ_WRITE)?;
    }
    for by in WHO {
        memory.fill(0x11);
        let bytes: Vec<u8> = (0..PAGE + 20).map(|n| (n * 3) as u8).collect();
        target.dma_write(IOVA + PAGE64 - 10, &bytes, by)?;
        assert_eq!(memory.read(5 * PAGE - 10, 10), bytes[..10]);
        assert_eq!(memory.read(2 * PAGE, PAGE), bytes[10..PAGE + 10]);
        assert_eq!(memory.read(0, 10), bytes[PAGE + 10..]);
        // Not a byte beside it.
        for offset in [PAGE, 3 * PAGE, 5 * PAGE] {
            assert_eq!(memory.read(offset, 4), [0x11; 4]);
        }
        let read = target.dma_read(IOVA + PAGE64 - 10, bytes.len(), by)?;
        assert_eq!(read, bytes);

        // Where the mappings end it fails, and what was copied stays copied.
        memory.fill(0x22);
        let end = IOVA + 3 * PAGE64 - 5;
        fails(target.dma_write(end, b"too long", by), Errno::INVAL);
        assert_eq!(memory.read(PAGE - 5, 5), b"too l");
        fails(target.dma_read(end, 8, by), Errno::INVAL);
        fails(target.dma_write(IOVA - 2, b"early", by), Errno::INVAL);
        assert_eq!(memory.read(4 * PAGE, 4), [0x22; 4]);
    }
    Ok(())
}

fn F128_copy_permissions() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(2)?;
    for by in WHO {
        // For reading only: it can be read.
        let flags = uapi::DMA_MAP_FLAG_READ;
        container.map_part(&memory, 0, PAGE, IOVA, flags)?;
        assert_eq!(target.dma_read(IOVA, 3, by)?, [0x11; 3]);
        fails(target.dma_write(IOVA, b"no", by), Errno::PERM);
        // For writing only: not even that.
        let flags = uapi::DMA_MAP_FLAG_WRITE;
        container.map_part(&memory, PAGE, PAGE, IOVA + PAGE64, flags)?;
        fails(target.dma_read(IOVA + PAGE64, 3, by), Errno::PERM);
        fails(target.dma_write(IOVA + PAGE64, b"no", by), Errno::PERM);
        // From one into the other: up to there.
        fails(target.dma_read(IOVA + PAGE64 - 2, 4, by), Errno::PERM);
        assert_eq!(memory.read(0, 2), [0x11; 2]);
        assert_eq!(memory.read(PAGE, 2), [0x11; 2]);
        container.unmap_all()?;
        // Bytes before the wall are written.
        container.map_part(&memory, 0, PAGE, IOVA, READ_WRITE)?;
        let flags = uapi::DMA_MAP_FLAG_READ;
        container.map_part(&memory, PAGE, PAGE, IOVA + PAGE64, flags)?;
        fails(
            target.dma_write(IOVA + PAGE64 - 2, b"wall", by),
            Errno::PERM,
        );
        assert_eq!(memory.read(PAGE - 2, 3), [b'w', b'a', 0x11]);
        memory.fill(0x11);
        container.unmap_all()?;
    }
    Ok(())
}

fn F128_copy_errors() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = touched(3)?;
    memory.protect(PAGE, PAGE, 0)?;
    for by in WHO {
        fails_in("nothing", target.dma_read(IOVA, 1, by), Errno::INVAL);
        container.map(&memory, IOVA)?;
        fails_in("no bytes", target.dma_read(IOVA, 0, by), Errno::INVAL);
        fails_in("no bytes", target.dma_write(IOVA, b"", by), Errno::INVAL);
        // Mapped, but not there for the process.
        for (offset, len) in [(PAGE, 1), (PAGE - 4, 8), (0, 3 * PAGE)] {
            let iova = IOVA + offset as u64;
            fails(target.dma_read(iova, len, by), Errno::FAULT);
            fails(target.dma_write(iova, &vec![9; len], by), Errno::FAULT);
        }
        target.dma_read(IOVA, PAGE, by)?;
        target.dma_read(IOVA + 2 * PAGE64, PAGE, by)?;
        assert_eq!(container.unmap_all()?, 3 * PAGE64);
        // And gone is gone.
        fails(target.dma_read(IOVA, 1, by), Errno::INVAL);
    }
    // Memory that can only be read by the process.
    let fixed = Memory::read_only(PAGE)?;
    container.map(&fixed, IOVA)?;
    for by in WHO {
        fails(target.dma_write(IOVA, b"no", by), Errno::FAULT);
        assert_eq!(target.dma_read(IOVA, 2, by)?, [0, 0]);
    }
    Ok(())
}

fn F128_copy_brings_pages_in() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    for by in WHO {
        let memory = Memory::anonymous(4 * PAGE)?;
        session.container.map(&memory, IOVA)?;
        target.dma_write(IOVA + PAGE64 + 5, b"new page", by)?;
        assert_eq!(memory.read(PAGE + 5, 8), b"new page");
        // Dropped by the process: the device sees what the process sees.
        memory.discard()?;
        assert_eq!(target.dma_read(IOVA + PAGE64 + 5, 8, by)?, [0; 8]);
        session.container.unmap_all()?;
    }
    Ok(())
}

/// A process can lend its device to another one, but not its memory: only a
/// thread of the kernel works for whom the memory belongs to.
fn F128_copy_in_another_process() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = touched(1)?;
    session.container.map(&memory, IOVA)?;
    in_child(|| {
        memory.write(0, b"child's");
        fails(target.dma_read(IOVA, 7, By::Caller), Errno::FAULT);
        fails(target.dma_write(IOVA, b"x", By::Caller), Errno::FAULT);
        assert_eq!(memory.read(0, 7), b"child's");
        assert_eq!(target.dma_read(IOVA, 7, By::Kthread)?, [0x11; 7]);
        target.dma_write(IOVA, b"mapper", By::Kthread)?;
        assert_eq!(memory.read(0, 7), b"child's");
        // Permission and address are looked at first.
        fails(target.dma_read(2 * IOVA, 7, By::Caller), Errno::INVAL);
        // Pinning is for the memory of the mapper, whoever asks.
        assert_eq!(target.pin(IOVA, 1, BOTH)?, 1);
        Ok(())
    })?;
    assert_eq!(memory.read(0, 6), b"mapper");
    target.unpin(IOVA)?;
    assert_eq!(target.dma_read(IOVA, 6, By::Caller)?, b"mapper");
    Ok(())
}

fn F128_copy_after_the_process_ended() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let (mapped, done) = (Event::new()?, Event::new()?);
    let books = Books::open()?;
    let mapper = Child::fork(|| {
        let memory = touched(2)?;
        session.container.map(&memory, IOVA)?;
        rustix::io::write(&mapped, &1_u64.to_ne_bytes())?;
        done.wait(50)?;
        // Not unmapped, and the pin is left behind.
        std::mem::forget(memory);
        Ok(())
    })?;
    assert_eq!(mapped.wait(20)?, 1);
    assert_eq!(target.pin(IOVA, 1, BOTH)?, 1);
    books.say(0, 1);
    rustix::io::write(&done, &1_u64.to_ne_bytes())?;
    mapper.join()?;
    wait_for("the memory to be gone", || {
        target.dma_read(IOVA, 1, By::Kthread) == Err(Errno::PERM)
    })?;
    for by in WHO {
        fails(target.dma_read(IOVA, 1, by), Errno::PERM);
        fails(target.dma_write(IOVA + 100, b"x", by), Errno::PERM);
    }
    fails(target.pin(IOVA + PAGE64, 1, BOTH), Errno::NODEV);
    // What was pinned still is, and nobody is charged when it goes.
    assert_eq!(target.pin(IOVA, 1, BOTH)?, 1);
    books.say(0, 1);
    target.unpin(IOVA)?;
    books.say(0, 1);
    assert_eq!(session.container.unmap_all()?, 2 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn F128_copy_beside_a_real_device() -> TestResult {
    let edu = bench::open()?;
    let container = &edu.session.container;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let group = target.join(container)?;
    let _device = group.device(target.name())?;
    let memory = touched(2)?;
    container.map(&memory, IOVA)?;
    // One writes, the other reads.
    for (n, by) in WHO.into_iter().enumerate() {
        let text = format!("round {n}");
        target.dma_write(IOVA + 8, text.as_bytes(), by)?;
        super::map::copy(&edu.session.device, IOVA + 8, IOVA + PAGE64, 7)?;
        assert_eq!(target.dma_read(IOVA + PAGE64, 7, by)?, text.as_bytes());
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Requests about dirty pages that make no sense: rows F109, F132, F133 and
//!

use std::mem;

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    dirty::{self, DirtyPages},
    memory::Memory,
    request::{self, bytes_of, Arg, BAD_ADDRESS},
    target::Target,
    uapi::{self, Bitmap, IommuType1DirtyBitmap, IommuType1DirtyBitmapGet, IommuType1DmaUnmap},
    PAGE,
};

use super::map::IOVA;
use crate::{
    bench,
    check::{fails, fails_in},
    emulated::{touched, By},
    fixture::{Device, Fixture},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F109_unmap_with_bitmap_order,
    F109_unmap_with_bitmap_argument,
    F132_flags,
    F132_first_version,
    F133_get_bitmap_order,
    F133_get_bitmap_argument,
    F133_get_bitmap_sizes,
    F133_get_bitmap_ranges,
    R46_no_page_size_no_flag.holds(Holds::OnlyRustType1),
];

const PAGE64: u64 = PAGE as u64;
/// The last page there is.
const TOP: u64 = u64::MAX - (PAGE64 - 1);
/// The largest bitmap, in bytes.
const LARGEST: u64 = 1 << 28;

fn send(container: &Container, arg: &Arg) -> rustix::io::Result<u32> {
    arg.send(container, uapi::IOMMU_DIRTY_PAGES)
}

fn F132_flags() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    fails(
        request::with_bad_address(container, uapi::IOMMU_DIRTY_PAGES),
        Errno::FAULT,
    );
    let start = IommuType1DirtyBitmap {
        argsz: 8,
        flags: uapi::IOMMU_DIRTY_PAGES_FLAG_START,
        data: [],
    };
    let half = Arg::from_bytes(&bytes_of(&start.argsz)[..4]);
    fails(send(container, &half), Errno::FAULT);
    for argsz in [0, 4, 7] {
        let head = IommuType1DirtyBitmap { argsz, ..start };
        fails(send(container, &Arg::with_tail(&head, 40)), Errno::INVAL);
    }
    // Exactly one of three.
    for flags in [3, 5, 6, 7, 8, 9, 0x10, 1 << 31, u32::MAX] {
        let head = IommuType1DirtyBitmap {
            argsz: 48,
            flags,
            ..start
        };
        fails_in(
            &format!("flags {flags:#x}"),
            send(container, &Arg::with_tail(&head, 40)),
            Errno::INVAL,
        );
    }
    // None of that began anything.
    fails(container.dirty(IOVA, 1), Errno::INVAL);
    // More than needed is fine, and nothing is written.
    for argsz in [8, 9, 48, u32::MAX] {
        let arg = Arg::new(&IommuType1DirtyBitmap { argsz, ..start });
        arg.make_read_only();
        send(container, &arg)?;
        assert_eq!(container.dirty(IOVA, 1)?, []);
        container.dirty_stop()?;
    }
    Ok(())
}

fn F132_first_version() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1_IOMMU)?;
    let container = &session.container;
    let memory = touched(2)?;
    container.map(&memory, IOVA)?;
    fails(container.dirty_start(), Errno::ACCESS);
    fails(container.dirty_stop(), Errno::ACCESS);
    fails(container.dirty(IOVA, 2), Errno::ACCESS);
    // Whatever is asked: it is not even read.
    fails(
        request::with_bad_address(container, uapi::IOMMU_DIRTY_PAGES),
        Errno::ACCESS,
    );
    fails(send(container, &dirty::simple(7)), Errno::ACCESS);
    // Unmapping with a bitmap needs what cannot be begun.
    let out = DirtyPages::new(2);
    fails(container.unmap_dirty(IOVA, &out), Errno::INVAL);
    assert_eq!(container.unmap_all()?, 2 * PAGE64);
    Ok(())
}

/// All that a request to read says.
#[derive(Clone, Copy)]
struct Get {
    argsz: u32,
    range: IommuType1DirtyBitmapGet,
}

impl Get {
    fn arg(&self) -> Arg {
        let head = IommuType1DirtyBitmap {
            argsz: self.argsz,
            flags: uapi::IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
            data: [],
        };
        Arg::from_bytes(&[bytes_of(&head), bytes_of(&self.range)].concat())
    }
}

/// A tracking container with a mapping of four pages, of which one is dirty.
fn prepare(container: &Container, target: &Device<'_>) -> anyhow::Result<Memory> {
    let memory = touched(4)?;
    container.map(&memory, IOVA)?;
    container.dirty_start()?;
    target.dma_write(IOVA + PAGE64, b"dirty", By::Caller)?;
    Ok(memory)
}

fn F133_get_bitmap_order() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let _memory = prepare(container, &target)?;
    let out = DirtyPages::new(64);
    let good = Get {
        argsz: 48,
        range: IommuType1DirtyBitmapGet {
            iova: IOVA,
            size: 4 * PAGE64,
            bitmap: out.bitmap(),
        },
    };
    let read_only = DirtyPages::new(64);
    read_only.make_read_only();
    let unwritable = read_only.bitmap().data;

    // Each thing that can be wrong, in the order in which it is found.
    type Wrong<'a> = (&'static str, &'a dyn Fn(&mut Get), Errno);
    let wrong: &[Wrong<'_>] = &[
        ("argsz", &|get| get.argsz = 47, Errno::INVAL),
        ("only the head", &|get| get.argsz = 8, Errno::INVAL),
        ("size 0", &|get| get.range.size = 0, Errno::INVAL),
        (
            "wraps",
            &|get| {
                get.range.iova = TOP;
                get.range.size |= 2 * PAGE64;
            },
            Errno::OVERFLOW,
        ),
        (
            "address of the kernel",
            &|get| get.range.bitmap.data = BAD_ADDRESS as u64,
            Errno::INVAL,
        ),
        ("no bitmap", &|get| get.range.bitmap.size = 0, Errno::INVAL),
        (
            "bitmap too large",
            &|get| get.range.bitmap.size = LARGEST + 8,
            Errno::INVAL,
        ),
        (
            "bitmap too small",
            &|get| get.range.bitmap.size = 7,
            Errno::INVAL,
        ),
        (
            "other page size",
            &|get| get.range.bitmap.pgsize = 2 * PAGE64,
            Errno::INVAL,
        ),
        ("iova unaligned", &|get| get.range.iova |= 8, Errno::INVAL),
        ("size unaligned", &|get| get.range.size |= 16, Errno::INVAL),
        (
            "cuts a mapping",
            &|get| get.range.iova |= 2 * PAGE64,
            Errno::INVAL,
        ),
        (
            "read-only bitmap",
            &|get| get.range.bitmap.data = unwritable,
            Errno::FAULT,
        ),
    ];
    for tracking in [true, false] {
        if !tracking {
            container.dirty_stop()?;
        }
        for (n, (name, make, errno)) in wrong.iter().enumerate() {
            // What is found after tracking was found to be off is not found.
            let errno = match *errno {
                Errno::FAULT if !tracking => Errno::INVAL,
                errno => errno,
            };
            let mut get = good;
            make(&mut get);
            fails_in(name, send(container, &get.arg()), errno);
            for (later, make_later, _) in &wrong[n + 1..] {
                // The later one first: what it puts there may be changed again.
                let mut get = good;
                make_later(&mut get);
                make(&mut get);
                let case = format!("{name} and {later}");
                fails_in(&case, send(container, &get.arg()), errno);
            }
        }
        if !tracking {
            fails(send(container, &good.arg()), Errno::INVAL);
            break;
        }
        // Nothing was lost by that, and nothing written.
        assert_eq!(out.list(), []);
        send(container, &good.arg())?;
        assert_eq!(out.list(), [1]);
    }
    Ok(())
}

fn F133_get_bitmap_argument() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let _memory = prepare(container, &target)?;
    let out = DirtyPages::new(4);
    let arg = dirty::get(IOVA, 4 * PAGE64, out.bitmap());
    // It ends before the size says.
    let bytes = arg.bytes();
    for len in [8, 16, 40, 47] {
        fails(
            send(container, &Arg::from_bytes(&bytes[..len & !3])),
            Errno::FAULT,
        );
    }
    // It is not written to.
    arg.make_read_only();
    send(container, &arg)?;
    assert_eq!(out.list(), [1]);
    // More than needed, with whatever there.
    let mut bytes = bytes;
    bytes[..4].copy_from_slice(&64_u32.to_ne_bytes());
    bytes.extend_from_slice(&[0xff; 16]);
    send(container, &Arg::from_bytes(&bytes))?;
    assert_eq!(out.list(), []);
    Ok(())
}

fn F133_get_bitmap_sizes() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let _memory = prepare(container, &target)?;
    let out = DirtyPages::new(256);
    let ask = |pages: u64, size: u64, pgsize: u64| {
        let bitmap = Bitmap {
            size,
            pgsize,
            ..out.bitmap()
        };
        send(container, &dirty::get(IOVA, pages * PAGE64, bitmap))
    };
    // Whole words, a bit for each page. Larger ones are fine, up to a limit.
    for (pages, needed) in [(4, 8), (64, 8), (65, 16), (128, 16), (129, 24), (256, 32)] {
        let case = format!("{pages} pages");
        fails_in(&case, ask(pages, needed - 1, PAGE64), Errno::INVAL);
        fails_in(&case, ask(pages, needed - 8, PAGE64), Errno::INVAL);
        for size in [needed, needed + 1, needed + 8, 1 << 20, LARGEST] {
            ask(pages, size, PAGE64)?;
        }
        for size in [LARGEST + 1, LARGEST * 2, 1 << 62, u64::MAX] {
            fails_in(&case, ask(pages, size, PAGE64), Errno::INVAL);
        }
    }
    // One page size is right, each other wrong.
    for pgsize in [
        1,
        3,
        8,
        2048,
        4095,
        4097,
        12288,
        8192,
        1 << 21,
        1 << 63,
        u64::MAX,
    ] {
        fails_in(&format!("{pgsize}"), ask(4, LARGEST, pgsize), Errno::INVAL);
    }
    // The largest range that a bitmap can hold, and one page more.
    let most = LARGEST * 8;
    container.unmap_all()?;
    ask(most, LARGEST, PAGE64)?;
    fails(ask(most + 1, LARGEST, PAGE64), Errno::INVAL);
    Ok(())
}

fn F133_get_bitmap_ranges() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = prepare(container, &target)?;
    let at = |page: i64| IOVA.wrapping_add_signed(page * PAGE as i64);
    container.map_part(&memory, 0, PAGE, at(4), READ_WRITE)?;
    container.map_part(&memory, 0, 2 * PAGE, at(10), READ_WRITE)?;
    target.dma_write(at(11), b"dirty", By::Caller)?;
    // Whole mappings only, at both ends.
    for (first, pages) in [(1, 4), (0, 3), (-2, 4), (2, 1), (0, 11), (11, 1), (3, 20)] {
        fails_in(
            &format!("{pages} from {first}"),
            container.dirty(at(first), pages),
            Errno::INVAL,
        );
    }
    // Holes are no mappings, so they can be cut as one likes.
    let out = DirtyPages::full(5);
    container.dirty_into(at(5), &out)?;
    assert_eq!(out.words(), [u64::MAX], "nothing to tell");
    assert_eq!(container.dirty(at(-7), 11)?, [8]);
    assert_eq!(container.dirty(at(4), 1)?, []);
    assert_eq!(container.dirty(at(8), 100)?, [3]);
    // To the very end of all addresses.
    container.map_part(&memory, 0, PAGE, TOP, READ_WRITE)?;
    target.dma_write(TOP, b"dirty", By::Caller)?;
    assert_eq!(container.dirty(TOP - 9 * PAGE64, 10)?, [9]);
    fails(container.dirty(TOP - 8 * PAGE64, 10), Errno::OVERFLOW);
    Ok(())
}

fn F109_unmap_with_bitmap_order() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = prepare(container, &target)?;
    let out = DirtyPages::new(64);
    let head = IommuType1DmaUnmap {
        argsz: 48,
        flags: uapi::DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
        iova: IOVA,
        size: 4 * PAGE64,
        data: [],
    };
    type Request = (IommuType1DmaUnmap, Bitmap);
    let good: Request = (head, out.bitmap());
    let unmap = |request: &Request| {
        let arg = Arg::from_bytes(&[bytes_of(&request.0), bytes_of(&request.1)].concat());
        let result = arg.send(container, uapi::IOMMU_UNMAP_DMA);
        if result.is_err() {
            let after: IommuType1DmaUnmap = arg.get(0);
            assert_eq!(after, request.0, "written in spite of the error");
        }
        result
    };
    let read_only = DirtyPages::new(64);
    read_only.make_read_only();
    let unwritable = read_only.bitmap().data;
    type Wrong<'a> = (&'static str, &'a dyn Fn(&mut Request), Errno);
    let wrong: &[Wrong<'_>] = &[
        ("argsz", &|(head, _)| head.argsz = 23, Errno::INVAL),
        ("flag", &|(head, _)| head.flags |= 8, Errno::INVAL),
        (
            "and all",
            &|(head, _)| head.flags |= uapi::DMA_UNMAP_FLAG_ALL,
            Errno::INVAL,
        ),
        (
            "and addresses",
            &|(head, _)| head.flags |= uapi::DMA_UNMAP_FLAG_VADDR,
            Errno::INVAL,
        ),
        ("no room", &|(head, _)| head.argsz = 47, Errno::INVAL),
        (
            "address of the kernel",
            &|(_, bitmap)| bitmap.data = BAD_ADDRESS as u64,
            Errno::INVAL,
        ),
        ("size 0", &|(head, _)| head.size = 0, Errno::INVAL),
        ("no bitmap", &|(_, bitmap)| bitmap.size = 0, Errno::INVAL),
        (
            "bitmap too large",
            &|(_, bitmap)| bitmap.size = LARGEST + 8,
            Errno::INVAL,
        ),
        (
            "bitmap too small",
            &|(_, bitmap)| bitmap.size = 7,
            Errno::INVAL,
        ),
        ("iova unaligned", &|(head, _)| head.iova |= 8, Errno::INVAL),
        ("size unaligned", &|(head, _)| head.size |= 16, Errno::INVAL),
        (
            "wraps",
            &|(head, _)| {
                head.iova |= TOP;
                head.size |= 2 * PAGE64;
            },
            Errno::OVERFLOW,
        ),
        (
            "other page size",
            &|(_, bitmap)| bitmap.pgsize = 2 * PAGE64,
            Errno::INVAL,
        ),
        (
            "cuts a mapping",
            &|(head, _)| head.iova |= 2 * PAGE64,
            Errno::INVAL,
        ),
        (
            "read-only bitmap",
            &|(_, bitmap)| bitmap.data = unwritable,
            Errno::FAULT,
        ),
    ];
    for tracking in [true, false] {
        if !tracking {
            container.dirty_stop()?;
        }
        for (n, (name, make, errno)) in wrong.iter().enumerate() {
            let errno = match *errno {
                Errno::FAULT if !tracking => Errno::INVAL,
                errno => errno,
            };
            let mut request = good;
            make(&mut request);
            fails_in(name, unmap(&request), errno);
            for (later, make_later, _) in &wrong[n + 1..] {
                let mut request = good;
                make_later(&mut request);
                make(&mut request);
                fails_in(&format!("{name} and {later}"), unmap(&request), errno);
            }
        }
        fails(container.map(&memory, IOVA), Errno::EXIST);
    }
    fails(unmap(&good), Errno::INVAL);
    assert_eq!(out.list(), []);
    container.dirty_start()?;
    unmap(&good)?;
    assert_eq!(container.unmap_all()?, 0);
    Ok(())
}

fn F109_unmap_with_bitmap_argument() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = touched(4)?;
    container.map(&memory, IOVA)?;
    container.dirty_start()?;
    let out = DirtyPages::new(4);
    let bytes = dirty::unmap(IOVA, 4 * PAGE64, out.bitmap()).bytes();
    for len in [24, 32, 44] {
        let arg = Arg::from_bytes(&bytes[..len]);
        fails(arg.send(container, uapi::IOMMU_UNMAP_DMA), Errno::FAULT);
    }
    fails(container.map(&memory, IOVA), Errno::EXIST);
    // The size cannot be told, but the rest is done.
    let arg = Arg::from_bytes(&bytes);
    arg.make_read_only();
    fails(arg.send(container, uapi::IOMMU_UNMAP_DMA), Errno::FAULT);
    assert_eq!(out.list(), [0, 1, 2, 3]);
    container.map(&memory, IOVA)?;
    // Only the first part is written back.
    let mut bytes = bytes;
    bytes[..4].copy_from_slice(&200_u32.to_ne_bytes());
    let arg = Arg::from_bytes(&bytes);
    arg.send(container, uapi::IOMMU_UNMAP_DMA)?;
    let size = mem::offset_of!(IommuType1DmaUnmap, size);
    assert_eq!(arg.get::<u64>(size), 4 * PAGE64);
    assert_eq!(arg.bytes(), bytes);
    Ok(())
}

/// The C backend looks for the lowest bit of numbers that have none, before it
/// refuses them.
fn R46_no_page_size_no_flag() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    fails(send(container, &dirty::simple(0)), Errno::INVAL);
    let _memory = prepare(container, &target)?;
    fails(send(container, &dirty::simple(0)), Errno::INVAL);
    let out = DirtyPages::new(4);
    for size in [8, LARGEST] {
        let bitmap = Bitmap {
            pgsize: 0,
            size,
            ..out.bitmap()
        };
        let get = dirty::get(IOVA, 4 * PAGE64, bitmap);
        fails(send(container, &get), Errno::INVAL);
        let unmap = dirty::unmap(IOVA, 4 * PAGE64, bitmap);
        fails(unmap.send(container, uapi::IOMMU_UNMAP_DMA), Errno::INVAL);
    }
    assert_eq!(container.dirty(IOVA, 4)?, [1]);
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    Ok(())
}

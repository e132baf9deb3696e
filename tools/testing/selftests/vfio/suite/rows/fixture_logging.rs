// SPDX-License-Identifier: GPL-2.0
//! DMA logging: rows F094-F096, F153, R-34, R-49.

use rustix::io::{Errno, Result};
use vfio_selftests::{
    config,
    request::{bytes_of, Arg, BAD_ADDRESS},
    target::{Session, Target},
    uapi::{
        self, DeviceFeatureDmaLoggingControl as Control, DeviceFeatureDmaLoggingRange as Range,
        DeviceFeatureDmaLoggingReport as Report,
    },
};

use crate::{
    fixture::{abi, Build, Device, Fixture, Kind, Knob, Op},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F094_logging_start_validation,
    F095_logging_start_copy_back_fault,
    F096_logging_stop_and_report,
    F153_logging_order_of_errors,
    R34_logging_range_overflow,
    R49_logging_zero_length_or_page_size.holds(Holds::OnlyRustCore),
];

const START: u32 = uapi::DEVICE_FEATURE_DMA_LOGGING_START | uapi::DEVICE_FEATURE_SET;
const STOP: u32 = uapi::DEVICE_FEATURE_DMA_LOGGING_STOP | uapi::DEVICE_FEATURE_SET;
const REPORT: u32 = uapi::DEVICE_FEATURE_DMA_LOGGING_REPORT | uapi::DEVICE_FEATURE_GET;
/// The kernel has bitmaps of IOVAs, which reports are made of.
pub(crate) const BITMAPS: &str = "IOMMUFD_DRIVER";
const PROBE: u32 = uapi::DEVICE_FEATURE_PROBE;

fn logging(fixture: &Fixture) -> Build<'_> {
    fixture.build().flags(abi::LOGGING)
}

fn open(device: &Device<'_>) -> anyhow::Result<Session> {
    device.open(uapi::TYPE1v2_IOMMU)
}

/// A feature request and its argument afterwards.
fn send(session: &Session, flags: u32, argsz: usize, data: &[u8]) -> (Result<u32>, Arg) {
    let head = [(argsz as u32).to_ne_bytes(), flags.to_ne_bytes()].concat();
    let arg = Arg::from_bytes(&[&head, data].concat());
    (arg.send(&session.device, uapi::DEVICE_FEATURE), arg)
}

/// Starts logging of these ranges; the page size that comes back.
fn start(session: &Session, page_size: u64, ranges: &[Range]) -> Result<u64> {
    let bytes: Vec<u8> = ranges
        .iter()
        .flat_map(|range| bytes_of(range).to_vec())
        .collect();
    let array = Arg::from_bytes(&bytes);
    let control = Control {
        page_size,
        num_ranges: ranges.len() as u32,
        // Nobody looks at it.
        reserved: 0x1234,
        ranges: array.address() as u64,
    };
    let (result, arg) = send(session, START, 32, bytes_of(&control));
    result?;
    Ok(arg.get(8))
}

fn range(iova: u64, length: u64) -> Range {
    Range { iova, length }
}

fn F094_logging_start_validation() -> TestResult {
    let fixture = Fixture::open()?;
    let plain = fixture.device()?;
    let session = open(&plain)?;
    for flags in [
        START,
        STOP,
        REPORT,
        PROBE | START,
        PROBE | STOP,
        PROBE | REPORT,
    ] {
        assert_eq!(send(&session, flags, 8, &[]).0, Err(Errno::NOTTY));
    }

    let device = logging(&fixture).create()?;
    let session = open(&device)?;
    for flags in [START, STOP, REPORT] {
        assert_eq!(send(&session, PROBE | flags, 8, &[]).0, Ok(0));
    }
    // Step by step, each with all later steps wrong as well.
    let bad = Control {
        page_size: 4096,
        num_ranges: 0,
        reserved: 0,
        ranges: 1,
    };
    let wrong_way = START ^ uapi::DEVICE_FEATURE_SET ^ uapi::DEVICE_FEATURE_GET;
    assert_eq!(
        send(&session, wrong_way, 32, bytes_of(&bad)).0,
        Err(Errno::INVAL)
    );
    assert_eq!(
        send(&session, START, 31, bytes_of(&bad)).0,
        Err(Errno::INVAL)
    );
    assert_eq!(send(&session, START, 32, &[]).0, Err(Errno::FAULT));
    assert_eq!(
        send(&session, START, 32, bytes_of(&bad)).0,
        Err(Errno::INVAL),
        "no ranges"
    );
    let many = Control {
        num_ranges: 257,
        ..bad
    };
    assert_eq!(
        send(&session, START, 32, bytes_of(&many)).0,
        Err(Errno::TOOBIG)
    );
    let most = Control {
        num_ranges: u32::MAX,
        ..bad
    };
    assert_eq!(
        send(&session, START, 32, bytes_of(&most)).0,
        Err(Errno::TOOBIG)
    );
    let nowhere = Control {
        num_ranges: 1,
        ranges: BAD_ADDRESS as u64,
        ..bad
    };
    assert_eq!(
        send(&session, START, 32, bytes_of(&nowhere)).0,
        Err(Errno::FAULT)
    );
    for page in [4096, 0x20_0000] {
        assert_eq!(
            start(&session, page, &[range(page / 2, page)]),
            Err(Errno::INVAL)
        );
        assert_eq!(
            start(&session, page, &[range(page, page + 1)]),
            Err(Errno::INVAL)
        );
    }
    // The first wrong range decides.
    let ranges = [range(0, 4096), range(1, 4096), range(u64::MAX - 4095, 8192)];
    assert_eq!(start(&session, 4096, &ranges), Err(Errno::INVAL));
    for overlap in [
        range(0x2000, 0x1000),
        range(0x1000, 0x9000),
        range(0x4000, 0x2000),
    ] {
        let ranges = [range(0x8000, 0x1000), range(0x2000, 0x3000), overlap];
        assert_eq!(
            start(&session, 4096, &ranges),
            Err(Errno::INVAL),
            "{overlap:?}"
        );
    }
    assert_eq!(
        device.count(Kind::LogStart)?,
        0,
        "the driver saw a bad request"
    );

    // What the driver gets: a sorted tree of inclusive ranges.
    let ranges = [
        range(0x8000, 0x1000),
        range(0x2000, 0x3000),
        range(0x5000, 0x3000),
    ];
    assert_eq!(start(&session, 4096, &ranges), Ok(4096));
    let events = device.events()?;
    let started = events
        .iter()
        .find(|e| e.kind == Kind::LogStart as u32)
        .expect("a start");
    assert_eq!((started.a, started.b), (3, 4096));
    let seen: Vec<_> = events
        .iter()
        .filter(|e| e.kind == Kind::LogRange as u32)
        .map(|e| (e.a, e.b))
        .collect();
    assert_eq!(seen, [(0x2000, 0x4fff), (0x5000, 0x7fff), (0x8000, 0x8fff)]);
    // As many as fit a page.
    let ranges: Vec<_> = (0..256).map(|n| range(n * 0x2000, 0x1000)).collect();
    assert_eq!(start(&session, 4096, &ranges), Ok(4096));
    // The driver may choose another page size, and may refuse.
    device.knob(Knob::LogPageSize, 0x1_0000)?;
    assert_eq!(start(&session, 4096, &ranges), Ok(0x1_0000));
    device.knob(Knob::LogErrno, libc::EXDEV.into())?;
    assert_eq!(start(&session, 4096, &ranges), Err(Errno::XDEV));
    assert_eq!(device.count(Kind::LogStop)?, 0);
    Ok(())
}

fn F095_logging_start_copy_back_fault() -> TestResult {
    let fixture = Fixture::open()?;
    let device = logging(&fixture).create()?;
    let session = open(&device)?;
    let array = Arg::new(&range(0, 4096));
    let control = Control {
        page_size: 4096,
        num_ranges: 1,
        reserved: 0,
        ranges: array.address() as u64,
    };
    let head = [32u32, START].map(u32::to_ne_bytes).concat();
    let arg = Arg::from_bytes(&[&head, bytes_of(&control)].concat());
    arg.make_read_only();
    let result = arg.send(&session.device, uapi::DEVICE_FEATURE);
    assert_eq!(result, Err(Errno::FAULT));
    assert_eq!(device.count(Kind::LogStart)?, 1);
    assert_eq!(
        device.count(Kind::LogStop)?,
        1,
        "logging goes on though the caller saw an error"
    );
    Ok(())
}

/// Asks for a report with bits for 64 * `words` pages, which start as 1 in each
/// lowest bit.
fn report(session: &Session, iova: u64, length: u64, page_size: u64) -> Result<Vec<u64>> {
    let bitmap = Arg::from_bytes(&1u64.to_ne_bytes().repeat(4));
    let report = Report {
        iova,
        length,
        page_size,
        bitmap: bitmap.address() as u64,
    };
    send(session, REPORT, 40, bytes_of(&report)).0?;
    Ok((0..4).map(|n| bitmap.get(8 * n)).collect())
}

fn F096_logging_stop_and_report() -> TestResult {
    let fixture = Fixture::open()?;
    let device = logging(&fixture).create()?;
    let session = open(&device)?;
    assert_eq!(send(&session, REPORT, 39, &[0; 32]).0, Err(Errno::INVAL));
    assert_eq!(send(&session, REPORT, 40, &[]).0, Err(Errno::FAULT));
    for page_size in [0, 1, 2048, 4095, 4097, 12288, u64::MAX] {
        assert_eq!(
            report(&session, 0, 4096, page_size),
            Err(Errno::INVAL),
            "{page_size}"
        );
    }
    for (iova, length) in [
        (u64::MAX - 4095, 4096),
        (u64::MAX - 4095, 8192),
        (1, u64::MAX),
    ] {
        assert_eq!(
            report(&session, iova, length, 4096),
            Err(Errno::OVERFLOW),
            "{iova:#x}"
        );
        // The page size comes first.
        assert_eq!(report(&session, iova, length, 2048), Err(Errno::INVAL));
    }
    assert_eq!(
        device.count(Kind::LogRead)?,
        0,
        "the driver saw a bad request"
    );

    if !config::has(BITMAPS)? {
        assert_eq!(report(&session, 0, 4096, 4096), Err(Errno::OPNOTSUPP));
        assert_eq!(device.count(Kind::LogRead)?, 0);
        return Ok(());
    }
    // Bits are added to what is there.
    start(&session, 4096, &[range(0x10_0000, 0x10_0000)])?;
    device.call(Op::Dirty, &[0x10_1000, 0x2000])?;
    device.call(Op::Dirty, &[0x14_3000, 1])?;
    let bits = report(&session, 0x10_0000, 0x10_0000, 4096)?;
    assert_eq!(bits, [0b111, 1 | 1 << 3, 1, 1]);
    let read = device.events_of(Kind::LogRead)?;
    assert_eq!(
        read.iter().map(|e| (e.a, e.b)).collect::<Vec<_>>(),
        [(0x10_0000, 0x10_0000)]
    );
    // Reading cleared it.
    assert_eq!(report(&session, 0x10_0000, 0x10_0000, 4096)?, [1; 4]);
    // Larger pages, fewer bits.
    device.call(Op::Dirty, &[0x14_3000, 1])?;
    assert_eq!(
        report(&session, 0x10_0000, 0x10_0000, 0x1_0000)?,
        [1 | 1 << 4, 1, 1, 1]
    );
    device.knob(Knob::LogErrno, libc::EXDEV.into())?;
    assert_eq!(
        report(&session, 0x10_0000, 0x10_0000, 4096),
        Err(Errno::XDEV)
    );
    assert_eq!(send(&session, STOP, 8, &[]).0, Err(Errno::XDEV));
    device.knob(Knob::LogErrno, 0)?;

    assert_eq!(send(&session, STOP, 8, &[]).0, Ok(0));
    let wrong_way = STOP ^ uapi::DEVICE_FEATURE_SET ^ uapi::DEVICE_FEATURE_GET;
    assert_eq!(send(&session, wrong_way, 8, &[]).0, Err(Errno::INVAL));
    assert_eq!(device.count(Kind::LogStop)?, 2);
    Ok(())
}

/// A request to log `count` ranges, of which these are in front of memory that
/// cannot be read.
fn start_some(session: &Session, page_size: u64, count: u32, ranges: &[Range]) -> Result<u32> {
    let bytes: Vec<u8> = ranges
        .iter()
        .flat_map(|range| bytes_of(range).to_vec())
        .collect();
    let array = Arg::from_bytes(&bytes);
    let control = Control {
        page_size,
        num_ranges: count,
        reserved: 0,
        // Of no range there is nothing but the page that cannot be read.
        ranges: match ranges {
            [] => BAD_ADDRESS as u64,
            _ => array.address() as u64,
        },
    };
    send(session, START, 32, bytes_of(&control)).0
}

fn F153_logging_order_of_errors() -> TestResult {
    let fixture = Fixture::open()?;
    let device = logging(&fixture).create()?;
    let session = open(&device)?;
    let fails = |page_size, count, ranges: &[Range], errno| {
        let result = start_some(&session, page_size, count, ranges);
        let case = format!("page size {page_size}, {count} ranges: {ranges:x?}");
        assert_eq!(result, Err(errno), "{case}");
    };
    // Above the last page but one; neither number has the bit 0x1000.
    let wraps = range(u64::MAX - 0x1fff, 0x4000);
    for page_size in [0, 3, 4095, 4097, u64::MAX] {
        fails(page_size, 1, &[], Errno::FAULT);
        // 0 is a multiple of everything.
        fails(page_size, 2, &[range(0, 0)], Errno::FAULT);
    }
    fails(4097, 1, &[wraps], Errno::OVERFLOW);
    fails(4097, 2, &[range(0x4000, 0x2000), wraps], Errno::OVERFLOW);
    fails(4097, 2, &[range(0x4000, 0x2000)], Errno::FAULT);
    // The bit 0x1000 counts as misaligned, in the order of the ranges.
    fails(4097, 2, &[range(0x1000, 0x2000), wraps], Errno::INVAL);
    fails(4097, 2, &[range(0x2000, 0x1000)], Errno::INVAL);
    fails(0, 2, &[range(0x1000, 0)], Errno::INVAL);
    // Overlaps come before what is behind them, ...
    let twice = [range(0x4000, 0x2000); 2];
    fails(4097, 3, &twice, Errno::INVAL);
    // ... also those with an empty range: this one is everywhere, ...
    fails(4096, 3, &[range(0, 0), range(0x4000, 0x1000)], Errno::INVAL);
    fails(4096, 2, &[range(0, 0)], Errno::FAULT);
    // ... and this one nowhere.
    let nowhere = [range(0x1000, 0), range(0x4000, 0x1000)];
    fails(4096, 3, &nowhere, Errno::FAULT);
    fails(4096, 2, &[range(0x1000, 0), wraps], Errno::OVERFLOW);
    fails(4096, 2, &[range(0x1000, 0), range(1, 0x1000)], Errno::INVAL);
    // The number of ranges is looked at first.
    fails(4097, 0, &[], Errno::INVAL);
    fails(4097, 257, &[], Errno::TOOBIG);
    assert_eq!(device.count(Kind::LogStart)?, 0);

    // Reports: the page size, then the end; the bitmap is the driver's.
    let report = |iova, length, page_size| {
        let report = Report {
            iova,
            length,
            page_size,
            bitmap: BAD_ADDRESS as u64,
        };
        send(&session, REPORT, 40, bytes_of(&report)).0
    };
    assert_eq!(report(u64::MAX, 1, 4097), Err(Errno::INVAL));
    assert_eq!(report(u64::MAX, 1, 4096), Err(Errno::OVERFLOW));
    let bitmaps = config::has(BITMAPS)?;
    let expected = if bitmaps {
        Ok(0)
    } else {
        Err(Errno::OPNOTSUPP)
    };
    assert_eq!(report(0, 4096, 4096), expected);
    Ok(())
}

fn R34_logging_range_overflow() -> TestResult {
    let fixture = Fixture::open()?;
    let device = logging(&fixture).create()?;
    let session = open(&device)?;
    let top = u64::MAX - 4095;
    // Also one that ends exactly with the address space.
    for (iova, length) in [(top, 4096), (top, 8192), (4096, top), (top, top)] {
        let result = start(&session, 4096, &[range(iova, length)]);
        assert_eq!(result, Err(Errno::OVERFLOW), "{iova:#x} + {length:#x}");
    }
    assert_eq!(start(&session, 4096, &[range(0, top)]), Ok(4096));
    let last = device.events_of(Kind::LogRange)?[0].b;
    assert_eq!(last, top - 1);
    Ok(())
}

fn R49_logging_zero_length_or_page_size() -> TestResult {
    let fixture = Fixture::open()?;
    let device = logging(&fixture).create()?;
    let session = open(&device)?;
    assert_eq!(
        start(&session, 4096, &[range(0x1000, 0)]),
        Err(Errno::INVAL)
    );
    assert_eq!(start(&session, 4096, &[range(0, 0)]), Err(Errno::INVAL));
    for page_size in [0, 3, 4097] {
        let result = start(&session, page_size, &[range(0, 0)]);
        assert_eq!(result, Err(Errno::INVAL), "page size {page_size}");
        let result = start(&session, page_size, &[range(0, page_size * 4096)]);
        assert_eq!(result, Err(Errno::INVAL), "page size {page_size}");
    }
    if config::has(BITMAPS)? {
        assert_eq!(report(&session, 0x1000, 0, 4096), Err(Errno::INVAL));
    }
    assert_eq!(device.count(Kind::LogStart)?, 0);
    assert_eq!(device.count(Kind::LogRead)?, 0);
    Ok(())
}

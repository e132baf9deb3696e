// SPDX-License-Identifier: GPL-2.0
//! What a driver's callbacks return, if that is neither success nor an errno:
//! rows F151, R-64, R-65.

use std::io::Read;

use rustix::io::Errno;
use vfio_selftests::{
    config, kmsg,
    request::{self, bytes_of, Arg},
    sysfs,
    target::{Session, Target},
    uapi::{
        self, DeviceAttachIommufdPt, DeviceBindIommufd, DeviceFeatureDmaLoggingControl as Control,
        DeviceFeatureDmaLoggingRange as Range, DeviceFeatureDmaLoggingReport as Report, RegionInfo,
    },
};

use crate::{
    bench,
    check::{fails, fails_in},
    fixture::{abi, Device, Fixture, Kind, Knob, Op},
    harness::{rows, Holds, Row, TestResult},
    rows::fixture_logging::BITMAPS,
};

pub(crate) const ROWS: &[Row] = rows![
    F151_files,
    F151_mappings,
    F151_region_info,
    F151_migration,
    F151_logging,
    F151_cdevs,
    F151_groups,
    R64_init_returns_no_errno.holds(Holds::OnlyRustCore),
    R65_open_returns_no_errno.holds(Holds::OnlyRustCore),
];

/// An errno that nobody but the driver uses here.
const OWN: i64 = -(libc::EXDEV as i64);
/// Less than 0 as an `int`, where it is [`OWN`], but no errno.
const LOW_BITS: i64 = OWN - (1 << 32);
/// What callbacks return here.
const ANSWERS: [i64; 6] = [1, 5, i32::MAX as i64, -4096, LOW_BITS, OWN];
/// Those of them that are no errno, also not as an `int`.
const NO_ERRNOS: [i64; 4] = [1, 5, i32::MAX as i64, -4096];

/// What is left of an answer in an `int`.
fn int(answer: i64) -> i64 {
    i64::from(answer as i32)
}

/// Sets what a callback returns.
fn set(device: &Device<'_>, of: Kind, answer: i64) -> TestResult {
    device.knob(Knob::Answer, answer)?;
    device.knob(Knob::AnswerOf, of as i64 + 1)
}

/// Lets all callbacks do as usual again.
fn reset(device: &Device<'_>) -> TestResult {
    device.knob(Knob::AnswerOf, 0)
}

/// Runs the test once for each answer of a callback, and checks that the kernel
/// does not say anything about it.
fn for_each(
    device: &Device<'_>,
    of: Kind,
    mut test: impl FnMut(i64, &str) -> TestResult,
) -> TestResult {
    let mut log = kmsg::Log::from_now()?;
    for answer in ANSWERS {
        set(device, of, answer)?;
        test(answer, &format!("{of:?} returns {answer}"))?;
    }
    reset(device)?;
    let said = log.with(&["`errno`"])?;
    assert!(said.is_empty(), "{said:?}");
    Ok(())
}

/// A request, its answer, and that the argument is what it was.
fn unchanged(arg: &Arg, device: &vfio_selftests::device::Device, request: u32, case: &str) -> i64 {
    let before = arg.bytes();
    let answer = arg.send_raw(device, request);
    assert_eq!(arg.bytes(), before, "{case}: the argument");
    answer
}

/// A feature request with these bytes of data.
fn feature(flags: u32, data: &[u8]) -> Arg {
    let argsz = (8 + data.len()) as u32;
    Arg::from_bytes(&[&argsz.to_ne_bytes(), &flags.to_ne_bytes(), data].concat())
}

fn open(device: &Device<'_>) -> anyhow::Result<Session> {
    device.open(uapi::TYPE1v2_IOMMU)
}

fn F151_files() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = open(&device)?;
    let file = &session.device;
    let buffer = Arg::zeroed(8);
    // These are not cut: the callbacks and read() return 64 bits.
    for_each(&device, Kind::Read, |answer, case| {
        assert_eq!(buffer.read_raw(file), answer, "{case}");
        Ok(())
    })?;
    for_each(&device, Kind::Write, |answer, case| {
        assert_eq!(buffer.write_raw(file), answer, "{case}");
        Ok(())
    })?;
    // The callback returns 64 bits, and an int of them comes out.
    let info = Arg::from_bytes(&16u32.to_ne_bytes().repeat(4));
    for_each(&device, Kind::Ioctl, |answer, case| {
        let result = unchanged(&info, file, uapi::DEVICE_GET_INFO, case);
        assert_eq!(result, int(answer), "{case}");
        Ok(())
    })?;
    let own = feature(uapi::DEVICE_FEATURE_GET | 0x1234, &[0; 8]);
    for_each(&device, Kind::Feature, |answer, case| {
        let result = own.send_raw(file, uapi::DEVICE_FEATURE);
        assert_eq!(result, int(answer), "{case}");
        Ok(())
    })
}

fn F151_mappings() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = open(&device)?;
    let is_mapped = || -> anyhow::Result<bool> {
        Ok(sysfs::read("/proc/self/maps")?.contains("[vfio-device]"))
    };
    for_each(&device, Kind::Mmap, |answer, case| {
        assert_eq!(request::map_raw(&session.device), int(answer), "{case}");
        assert!(!is_mapped()?, "{case}");
        Ok(())
    })?;
    let mapping = session.device.map_region(0)?;
    assert!(is_mapped()?);
    drop(mapping);
    drop(session);
    assert_eq!(device.count(Kind::Close)?, 1, "a mapping has the file");
    device.call(Op::Unregister, &[])?;
    assert_eq!(device.count(Kind::Request)?, 0, "a registration was left");
    Ok(())
}

fn F151_region_info() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().knob(Knob::Caps, 3).create()?;
    let session = open(&device)?;
    for index in [0, 1] {
        let info = RegionInfo {
            argsz: 200,
            index,
            flags: 0x77,
            ..Default::default()
        };
        let arg = Arg::with_tail(&info, 168);
        for_each(&device, Kind::Region, |answer, case| {
            let request = uapi::DEVICE_GET_REGION_INFO;
            let result = unchanged(&arg, &session.device, request, case);
            assert_eq!(result, int(answer), "{case}");
            Ok(())
        })?;
    }
    assert_eq!(session.device.region(1)?.caps.len(), 3);
    Ok(())
}

fn F151_migration() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture
        .build()
        .flags(abi::MIGRATION)
        .knob(Knob::MigFlags, uapi::MIGRATION_STOP_COPY as i64)
        .knob(Knob::MigSize, 0x1234)
        .create()?;
    let session = open(&device)?;
    let get = uapi::DEVICE_FEATURE_GET;
    let state = feature(get | uapi::DEVICE_FEATURE_MIG_DEVICE_STATE, &[0x77; 8]);
    let shown = config::has("VFIO_DEBUGFS")?;
    let debugfs = device.debugfs().join("migration/state");
    for_each(&device, Kind::MigGet, |answer, case| {
        let result = unchanged(&state, &session.device, uapi::DEVICE_FEATURE, case);
        assert_eq!(result, int(answer), "{case}");
        // This file knows one errno only.
        if shown {
            let result = std::fs::File::open(&debugfs)?.read(&mut [0; 16]);
            let error = result.expect_err(case);
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{case}");
        }
        Ok(())
    })?;
    let size = feature(get | uapi::DEVICE_FEATURE_MIG_DATA_SIZE, &[0x77; 8]);
    for_each(&device, Kind::MigSize, |answer, case| {
        let result = unchanged(&size, &session.device, uapi::DEVICE_FEATURE, case);
        assert_eq!(result, int(answer), "{case}");
        Ok(())
    })?;
    assert_eq!(size.send_raw(&session.device, uapi::DEVICE_FEATURE), 0);
    assert_eq!(size.get::<u64>(8), 0x1234);
    Ok(())
}

fn F151_logging() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture
        .build()
        .flags(abi::LOGGING)
        .knob(Knob::LogPageSize, 0x1_0000)
        .create()?;
    let session = open(&device)?;
    let range = Arg::new(&Range {
        iova: 0,
        length: 0x1_0000,
    });
    let control = Control {
        page_size: 4096,
        num_ranges: 1,
        reserved: 0,
        ranges: range.address() as u64,
    };
    let set = uapi::DEVICE_FEATURE_SET;
    let start = feature(
        set | uapi::DEVICE_FEATURE_DMA_LOGGING_START,
        bytes_of(&control),
    );
    for_each(&device, Kind::LogStart, |answer, case| {
        let result = unchanged(&start, &session.device, uapi::DEVICE_FEATURE, case);
        assert_eq!(result, int(answer), "{case}");
        Ok(())
    })?;
    assert_eq!(device.count(Kind::LogStop)?, 0, "nothing to stop");
    let stop = feature(set | uapi::DEVICE_FEATURE_DMA_LOGGING_STOP, &[]);
    for_each(&device, Kind::LogStop, |answer, case| {
        let result = stop.send_raw(&session.device, uapi::DEVICE_FEATURE);
        assert_eq!(result, int(answer), "{case}");
        Ok(())
    })?;
    let bitmap = Arg::zeroed(8);
    let report = Report {
        iova: 0,
        length: 0x1_0000,
        page_size: 4096,
        bitmap: bitmap.address() as u64,
    };
    let flags = uapi::DEVICE_FEATURE_GET | uapi::DEVICE_FEATURE_DMA_LOGGING_REPORT;
    let report = feature(flags, bytes_of(&report));
    if config::has(BITMAPS)? {
        for_each(&device, Kind::LogRead, |answer, case| {
            let result = report.send_raw(&session.device, uapi::DEVICE_FEATURE);
            assert_eq!(result, int(answer), "{case}");
            Ok(())
        })?;
    }
    assert_eq!(start.send_raw(&session.device, uapi::DEVICE_FEATURE), 0);
    assert_eq!(start.get::<u64>(8), 0x1_0000);
    Ok(())
}

fn F151_cdevs() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::TOKEN | abi::PASID).create()?;
    let device = target.open_by_node()?;
    let request = vfio_selftests::node::bind_request(&iommufd);
    let bind = Arg::new::<DeviceBindIommufd>(&request);
    for kind in [Kind::Token, Kind::Bind, Kind::Open] {
        for_each(&target, kind, |answer, case| {
            let result = unchanged(&bind, &device, uapi::DEVICE_BIND_IOMMUFD, case);
            assert_eq!(result, int(answer), "{case}");
            // It is not bound, ...
            fails_in(case, device.info(), Errno::INVAL);
            assert_eq!(target.status()?.open_count, 0, "{case}");
            // ... and the group's file can be opened.
            target.open_group()?;
            Ok(())
        })?;
    }
    let each = ANSWERS.len() as u64;
    assert_eq!(target.count(Kind::Token)?, 3 * each);
    assert_eq!(target.count(Kind::Bind)?, 2 * each);
    assert_eq!(target.count(Kind::Open)?, each);
    // Only what was bound is unbound.
    assert_eq!(target.count(Kind::Unbind)?, each);
    assert_eq!(target.count(Kind::Close)?, 0);

    assert_eq!(bind.send_raw(&device, uapi::DEVICE_BIND_IOMMUFD), 0);
    let ioas = iommufd.ioas()?;
    let space = DeviceAttachIommufdPt {
        argsz: 12,
        pt_id: ioas,
        ..Default::default()
    };
    let pasid = DeviceAttachIommufdPt {
        argsz: 16,
        flags: uapi::DEVICE_ATTACH_PASID,
        pasid: 7,
        ..space
    };
    for (kind, request) in [(Kind::Attach, space), (Kind::AttachPasid, pasid)] {
        let arg = Arg::new(&request);
        for_each(&target, kind, |answer, case| {
            let request = uapi::DEVICE_ATTACH_IOMMUFD_PT;
            let result = unchanged(&arg, &device, request, case);
            assert_eq!(result, int(answer), "{case}");
            Ok(())
        })?;
    }
    assert_eq!(target.count(Kind::Detach)?, 0, "nothing to detach");
    assert_eq!(target.count(Kind::DetachPasid)?, 0, "nothing to detach");
    device.attach(ioas)?;
    Ok(())
}

/// What a driver can do wrong when its device is opened through a group, in a
/// container or an iommufd. Each answer is an errno as an `int`.
fn F151_groups() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::MATCH).create()?;
    let container = vfio_selftests::container::Container::open()?;
    let group = target.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    for kind in [Kind::Match, Kind::Open] {
        for answer in [LOW_BITS, OWN] {
            set(&target, kind, answer)?;
            fails(group.device(target.name()), Errno::XDEV);
        }
        reset(&target)?;
    }
    // A name is right if the callback returns more than 0, however much.
    for answer in [1, 5, i32::MAX.into()] {
        set(&target, Kind::Match, answer)?;
        drop(group.device("whatever")?);
    }
    // As an int this is 0.
    set(&target, Kind::Match, 1 << 32)?;
    fails(group.device(target.name()), Errno::NODEV);
    reset(&target)?;
    group.unset_container()?;

    group.set_container(&bench::iommufd_for_groups()?)?;
    for kind in [Kind::Bind, Kind::Open, Kind::Attach] {
        for answer in [LOW_BITS, OWN] {
            set(&target, kind, answer)?;
            fails(group.device(target.name()), Errno::XDEV);
        }
        reset(&target)?;
    }
    let count = |kind| target.count(kind);
    assert_eq!(count(Kind::Bind)?, 6);
    assert_eq!(count(Kind::Unbind)?, 4, "as often as it was bound");
    assert_eq!(count(Kind::Close)?, 3 + 2, "as often as it was open");
    drop(group.device(target.name())?);
    assert_eq!(target.status()?.open_count, 0);
    Ok(())
}

fn R64_init_returns_no_errno() -> TestResult {
    let fixture = Fixture::open()?;
    let index = fixture.device()?.index;
    let mut log = kmsg::Log::from_now()?;
    for (answer, errno) in NO_ERRNOS
        .map(|answer| (answer, libc::EINVAL))
        .into_iter()
        .chain([(LOW_BITS, libc::EXDEV), (OWN, libc::EXDEV)])
    {
        let device = fixture
            .build()
            .knob(Knob::Answer, answer)
            .knob(Knob::AnswerOf, Kind::Init as i64 + 1)
            .attempt()?;
        assert_eq!(device.stage, abi::STAGE_ALLOC, "{answer}");
        let errno = Errno::from_raw_os_error(errno);
        fails_in(&format!("{answer}"), device.outcome(), errno);
    }
    let said = log.with(&["`errno`"])?;
    assert!(said.is_empty(), "{said:?}");
    // All of it was undone: the number of the device is free again.
    assert_eq!(fixture.device()?.index, index);
    Ok(())
}

fn R65_open_returns_no_errno() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::MATCH).create()?;
    let container = vfio_selftests::container::Container::open()?;
    let group = target.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let mut log = kmsg::Log::from_now()?;
    // Only less than 0 is no answer of this one.
    set(&target, Kind::Match, -4096)?;
    fails(group.device(target.name()), Errno::INVAL);
    for answer in NO_ERRNOS {
        set(&target, Kind::Open, answer)?;
        fails(group.device(target.name()), Errno::INVAL);
    }
    reset(&target)?;
    drop(group.device(target.name())?);
    assert_eq!(target.count(Kind::Close)?, 1);
    group.unset_container()?;

    group.set_container(&bench::iommufd_for_groups()?)?;
    for kind in [Kind::Bind, Kind::Open, Kind::Attach] {
        for answer in NO_ERRNOS {
            set(&target, kind, answer)?;
            fails_in(
                &format!("{kind:?} returns {answer}"),
                group.device(target.name()),
                Errno::INVAL,
            );
            assert_eq!(target.status()?.open_count, 0);
        }
        reset(&target)?;
    }
    let each = NO_ERRNOS.len() as u64;
    assert_eq!(target.count(Kind::Bind)?, 3 * each);
    assert_eq!(target.count(Kind::Unbind)?, 2 * each);
    assert_eq!(target.count(Kind::Close)?, 1 + each);
    let said = log.with(&["`errno`"])?;
    assert!(said.is_empty(), "{said:?}");
    drop(group.device(target.name())?);
    drop(group);
    target.call(Op::Unregister, &[])?;
    assert_eq!(target.count(Kind::Request)?, 0, "a registration was left");
    Ok(())
}

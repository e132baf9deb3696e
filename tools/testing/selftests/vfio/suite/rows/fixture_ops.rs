// SPDX-License-Identifier: GPL-2.0
//! What the core does around driver ops: rows F027, F033, F034, F036-F038,
//! F070-F072, R-29, R-36.

use std::{thread, time::Duration};

use rustix::io::Errno;
use vfio_selftests::{
    caps, config, kmsg,
    memory::Memory,
    module,
    request::{self, Arg},
    sysfs,
    target::{Session, Target},
    uapi::{self, RegionInfo},
    PAGE,
};

use crate::{
    fixture::{self, abi, expect_warn, Device, Event, Fixture, Kind, Knob, Op},
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F027_driver_match_op,
    F033_missing_op_defaults,
    F034_zap_reaches_all_files,
    F036_runtime_pm_on_ioctl,
    F037_get_region_info,
    F038_region_caps_rebasing,
    F070_open_close_serialisation,
    F071_open_failure_unwinding,
    F072_close_underflow_guard,
    R36_debugfs_read_races_unregister,
];

/// The ops that a device can do without.
const OPTIONAL: [Kind; 12] = [
    Kind::Init,
    Kind::Release,
    Kind::Open,
    Kind::Close,
    Kind::Read,
    Kind::Write,
    Kind::Ioctl,
    Kind::Region,
    Kind::Mmap,
    Kind::Request,
    Kind::Feature,
    Kind::DmaUnmap,
];

fn open(device: &Device<'_>) -> anyhow::Result<Session> {
    device.open(uapi::TYPE1v2_IOMMU)
}

fn F027_driver_match_op() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().flags(abi::MATCH).create()?;
    let session = open(&device)?;
    let name = device.name();
    let ask = |text: &str| session.group.device(&format!("{name}{text}")).map(drop);
    assert_eq!(ask(" yes"), Ok(()), "more than the name can match");
    assert_eq!(ask(" no"), Err(Errno::NODEV));
    assert_eq!(
        ask(" never"),
        Err(Errno::ACCESS),
        "a negative answer is the answer"
    );
    assert_eq!(ask("x"), Err(Errno::NODEV));
    let answers: Vec<_> = device
        .events_of(Kind::Match)?
        .iter()
        .map(|event| event.a as i64)
        .collect();
    assert_eq!(answers, [1, 1, 0, -i64::from(libc::EACCES), 0]);

    // Without the op only the name itself will do.
    let plain = fixture.device()?;
    let session = open(&plain)?;
    let ask = |text: &str| {
        session
            .group
            .device(&format!("{}{text}", plain.name()))
            .map(drop)
    };
    assert_eq!(ask(""), Ok(()));
    assert_eq!(ask(" yes"), Err(Errno::NODEV));
    Ok(())
}

fn F033_missing_op_defaults() -> TestResult {
    let fixture = Fixture::open()?;
    let bare = OPTIONAL
        .iter()
        .fold(fixture.build(), |build, &op| build.without(op))
        .create()?;
    let session = open(&bare)?;
    let device = &session.device;
    assert_eq!(device.read_at(0, &mut [0; 4]), Err(Errno::INVAL));
    assert_eq!(device.write_at(0, &[0; 4]), Err(Errno::INVAL));
    assert_eq!(
        Memory::of_file(device, 0, PAGE, true).err(),
        Some(Errno::INVAL)
    );
    assert_eq!(device.info().err(), Some(Errno::INVAL));
    assert_eq!(device.reset(), Err(Errno::INVAL));
    assert_eq!(
        request::with_number(device, 0x3b00 + 199, 0),
        Err(Errno::INVAL)
    );
    // Before the argument is looked at.
    let result = request::with_bad_address(device, uapi::DEVICE_GET_REGION_INFO);
    assert_eq!(result, Err(Errno::INVAL));
    let flags = uapi::DEVICE_FEATURE_GET | 0x1234;
    assert_eq!(device.feature(flags, &mut [0; 8]), Err(Errno::NOTTY));
    // Without `request` it just waits.
    bare.unregister_later()?;
    thread::sleep(Duration::from_millis(100));
    assert!(bare.is(fixture::Life::Unregistering)?);
    drop(session);
    bare.wait_unregistered()?;
    bare.remove()?;

    // With the ops, the same things reach the driver.
    let full = fixture.device()?;
    let session = open(&full)?;
    let device = &session.device;
    device.write(8, b"vfio")?;
    assert_eq!(device.read::<4>(8)?, *b"vfio");
    assert_eq!(device.info()?.num_regions, 2);
    assert_eq!(
        request::with_number(device, 0x3b00 + 199, 0),
        Err(Errno::NOTTY)
    );
    device.reset()?;
    let events = full.events()?;
    let read = events
        .iter()
        .find(|event| event.kind == Kind::Read as u32)
        .expect("a read");
    assert_eq!((read.a, read.b), (8, 4));
    Ok(())
}

fn F034_zap_reaches_all_files() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = open(&device)?;
    let second = session.group.device(device.name())?;
    let one = session.device.map_region(0)?;
    let two = second.map_region(0)?;
    one.write(16, b"shared");
    assert_eq!(two.read(16, 6), b"shared");
    assert_eq!(session.device.read::<6>(16)?, *b"shared");
    assert_eq!(device.count(Kind::Fault)?, 2);
    // Present now: no more faults.
    assert_eq!((one.read_u32(0), two.read_u32(0)), (0, 0));
    assert_eq!(device.count(Kind::Fault)?, 2);
    // One call takes the pages out of the mappings of both files.
    device.call(Op::Zap, &[0, PAGE as u64])?;
    assert_eq!(one.read(16, 6), b"shared");
    assert_eq!(two.read(16, 6), b"shared");
    assert_eq!(device.count(Kind::Fault)?, 4);
    // Another device has another address space.
    let other = fixture.device()?;
    let other_session = open(&other)?;
    let third = other_session.device.map_region(0)?;
    assert_eq!(third.read_u32(0), 0);
    device.call(Op::Zap, &[0, PAGE as u64])?;
    assert_eq!(third.read_u32(0), 0);
    assert_eq!(other.count(Kind::Fault)?, 1);
    Ok(())
}

/// The runtime PM usage counts that the driver's `ioctl` saw.
fn usages(events: &[Event]) -> Vec<u64> {
    events
        .iter()
        .filter(|e| e.kind == Kind::Ioctl as u32)
        .map(|e| e.b)
        .collect()
}

fn F036_runtime_pm_on_ioctl() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().with_pm().create()?;
    let session = open(&device)?;
    assert_eq!(device.pm_state()?, "suspended");
    assert_eq!(device.count(Kind::Resume)?, 0);
    session.device.info()?;
    assert_eq!(device.count(Kind::Resume)?, 1);
    assert_eq!(
        usages(&device.events()?),
        [1],
        "awake while the driver works"
    );
    assert_eq!(device.status()?.pm_usage, 0, "and not for longer");
    device.wait_count(Kind::Suspend, 1)?;
    // Also around what the core answers by itself, ...
    session.device.region(0)?;
    assert_eq!(device.count(Kind::Resume)?, 2);
    device.wait_count(Kind::Suspend, 2)?;
    // ... and also if the driver refuses.
    assert_eq!(
        request::with_number(&session.device, 0x3b00 + 199, 0),
        Err(Errno::NOTTY)
    );
    assert_eq!(device.count(Kind::Resume)?, 3);
    assert_eq!(device.status()?.pm_usage, 0);
    device.wait_count(Kind::Suspend, 3)?;
    // Reading, writing and mapping are the driver's own business.
    session.device.write(0, &[1])?;
    session.device.read::<1>(0)?;
    let mapping = Memory::of_file(&session.device, 0, PAGE, true)?;
    assert_eq!(mapping.read_u32(0), 1);
    assert_eq!(device.count(Kind::Resume)?, 3);

    // A device that does not wake up cannot be talked to.
    device.events()?;
    let mut log = kmsg::Log::from_now()?;
    device.knob(Knob::ResumeErrno, libc::ENXIO.into())?;
    assert_eq!(session.device.info().err(), Some(Errno::IO));
    assert_eq!(usages(&device.events()?), [], "the driver was called");
    assert_eq!(device.status()?.pm_usage, 0);
    let messages = log.with(&[device.name(), "-6"])?;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0].level, 6, "{messages:?}");

    // Without power management in the bus driver nothing is counted.
    let plain = fixture.device()?;
    let session = open(&plain)?;
    session.device.info()?;
    assert_eq!(usages(&plain.events()?), [0]);
    Ok(())
}

const REGION_INFO: usize = std::mem::size_of::<RegionInfo>();

/// Asks for a region with this `argsz`; the answer is as long as it says.
fn region(
    session: &Session,
    index: u32,
    argsz: usize,
) -> rustix::io::Result<(RegionInfo, Vec<u8>)> {
    let info = RegionInfo {
        argsz: argsz as u32,
        index,
        cap_offset: 0x77,
        ..Default::default()
    };
    let arg = Arg::with_tail(&info, argsz.saturating_sub(REGION_INFO));
    arg.send(&session.device, uapi::DEVICE_GET_REGION_INFO)?;
    Ok((arg.get(0), arg.bytes()))
}

fn F037_get_region_info() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().knob(Knob::Caps, 3).create()?;
    let session = open(&device)?;
    let result = request::with_bad_address(&session.device, uapi::DEVICE_GET_REGION_INFO);
    assert_eq!(result, Err(Errno::FAULT));
    assert_eq!(region(&session, 0, 31).err(), Some(Errno::INVAL));
    assert_eq!(
        device.count(Kind::Region)?,
        0,
        "the driver saw a bad request"
    );
    assert_eq!(
        region(&session, 2, 32).err(),
        Some(Errno::INVAL),
        "the driver's answer"
    );

    // Without capabilities: nothing but what the driver filled in.
    let (info, _) = region(&session, 0, 32)?;
    assert_eq!((info.argsz, info.index, info.size), (32, 0, PAGE as u64));
    assert_eq!(info.flags & uapi::REGION_INFO_FLAG_CAPS, 0);
    assert_eq!(info.cap_offset, 0x77, "not for the core to touch");
    let (info, _) = region(&session, 0, 4096)?;
    assert_eq!(info.argsz, 4096);

    // With capabilities that do not fit: how much room they need.
    for argsz in [32, 33, 87] {
        let (info, bytes) = region(&session, 1, argsz)?;
        assert_ne!(info.flags & uapi::REGION_INFO_FLAG_CAPS, 0);
        assert_eq!((info.argsz, info.cap_offset), (88, 0), "with {argsz} bytes");
        assert!(
            bytes[REGION_INFO..].iter().all(|&byte| byte == 0),
            "written in part"
        );
    }
    for argsz in [88, 100] {
        let (info, _) = region(&session, 1, argsz)?;
        assert_eq!((info.argsz as usize, info.cap_offset), (argsz, 32));
    }

    // The room is promised, but not there.
    let short = RegionInfo {
        argsz: 88,
        index: 1,
        ..Default::default()
    };
    let result = Arg::new(&short).send(&session.device, uapi::DEVICE_GET_REGION_INFO);
    assert_eq!(result, Err(Errno::FAULT));
    let arg = Arg::new(&RegionInfo {
        argsz: 32,
        ..Default::default()
    });
    arg.make_read_only();
    let result = arg.send(&session.device, uapi::DEVICE_GET_REGION_INFO);
    assert_eq!(result, Err(Errno::FAULT));

    // A driver that fails behind its capabilities.
    device.knob(Knob::RegionErrno, libc::EXDEV.into())?;
    assert_eq!(region(&session, 1, 88).err(), Some(Errno::XDEV));
    Ok(())
}

fn F038_region_caps_rebasing() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().knob(Knob::Caps, 5).create()?;
    let session = open(&device)?;
    let (info, _) = region(&session, 1, REGION_INFO)?;
    let (info, bytes) = region(&session, 1, info.argsz as usize)?;
    let chain = caps::chain(&bytes, info.cap_offset);
    assert_eq!(chain.len(), 5);
    let mut at = REGION_INFO;
    for (n, cap) in chain.iter().enumerate() {
        assert_eq!((cap.offset, cap.offset % 8), (at, 0));
        assert_eq!((usize::from(cap.id), cap.version), (0x100 + n, 1));
        // The driver's sizes are 12, 15, 18, ... with the header.
        let size = 12 + 3 * n;
        assert_eq!(cap.bytes.len(), size.next_multiple_of(8));
        assert!(cap.bytes[8..size]
            .iter()
            .all(|&byte| usize::from(byte) == n));
        assert!(
            cap.bytes[size..].iter().all(|&byte| byte == 0),
            "padding is not zero"
        );
        at += cap.bytes.len();
    }
    Ok(())
}

/// Whether a driver op took long at the same time for two devices.
fn overlap(one: &[Event], two: &[Event], from: Kind, to: Kind) -> bool {
    let span = |events: &[Event]| {
        let at = |kind| events.iter().find(|e| e.kind == kind as u32).map(|e| e.ns);
        Some((at(from)?, at(to)?))
    };
    let (Some(one), Some(two)) = (span(one), span(two)) else {
        panic!("not both were {from:?}");
    };
    one.0 < two.1 && two.0 < one.1
}

fn F070_open_close_serialisation() -> TestResult {
    let fixture = Fixture::open()?;
    let build = || {
        fixture
            .build()
            .knob(Knob::OpenDelayMs, 300)
            .knob(Knob::CloseDelayMs, 300)
            .set(0xf070)
    };
    let one = build().create()?;
    let two = build().create()?;
    thread::scope(|scope| -> TestResult {
        let opener = scope.spawn(|| open(&one).map(drop));
        open(&two).map(drop)?;
        opener.join().expect("the opener")
    })?;
    let (one, two) = (one.events()?, two.events()?);
    assert!(
        !overlap(&one, &two, Kind::Open, Kind::Opened),
        "opened at the same time"
    );
    assert!(
        !overlap(&one, &two, Kind::Close, Kind::Closed),
        "closed at the same time"
    );
    Ok(())
}

fn F071_open_failure_unwinding() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture
        .build()
        .knob(Knob::OpenErrno, libc::EXDEV.into())
        .create()?;
    let users = || module::users(fixture::MODULE);
    let before = users()?;
    let container = vfio_selftests::container::Container::open()?;
    let group = device.join(&container)?;

    // No backend yet: the driver is not even asked.
    assert_eq!(group.device(device.name()).err(), Some(Errno::INVAL));
    assert_eq!(device.count(Kind::Open)?, 0);
    assert_eq!(users()?, before);

    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    for _ in 0..3 {
        assert_eq!(group.device(device.name()).err(), Some(Errno::XDEV));
    }
    assert_eq!(
        (device.count(Kind::Open)?, device.count(Kind::Close)?),
        (3, 0)
    );
    assert_eq!(device.status()?.open_count, 0);
    assert_eq!(
        users()?,
        before,
        "a reference to the driver's module was left"
    );
    // The container has no users left: the group may go and come back.
    group.unset_container()?;
    group.set_container(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;

    device.knob(Knob::OpenErrno, 0)?;
    let file = group.device(device.name())?;
    let second = group.device(device.name())?;
    assert_eq!(users()?, before + 1, "one reference for all open files");
    assert_eq!(device.status()?.open_count, 2);
    assert_eq!(group.unset_container(), Err(Errno::BUSY));
    drop(file);
    assert_eq!(device.count(Kind::Close)?, 0);
    drop(second);
    assert_eq!(device.count(Kind::Close)?, 1);
    assert_eq!(users()?, before);
    group.unset_container()?;
    drop(group);
    device.call(Op::Unregister, &[])?;
    assert_eq!(device.count(Kind::Request)?, 0, "a registration was left");
    Ok(())
}

fn F072_close_underflow_guard() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = open(&device)?;
    let second = session.group.device(device.name())?;
    assert_eq!(device.status()?.open_count, 2);
    // a driver's mistake must not make the count go below 0.
    device.call(Op::SetOpenCount, &[0])?;
    expect_warn(|| drop(second));
    assert_eq!(device.status()?.open_count, 0);
    assert_eq!(
        device.count(Kind::Close)?,
        0,
        "closed although nothing was open"
    );
    device.call(Op::SetOpenCount, &[1])?;
    assert_eq!(session.device.info()?.num_regions, 2);
    drop(session);
    assert_eq!(device.status()?.open_count, 0);
    assert_eq!(device.count(Kind::Close)?, 1);
    Ok(())
}

fn R36_debugfs_read_races_unregister() -> TestResult {
    if !config::has("VFIO_DEBUGFS")? {
        return skip("VFIO of this kernel shows nothing in debugfs");
    }
    let fixture = Fixture::open()?;
    for _ in 0..15 {
        let device = fixture
            .build()
            .flags(abi::MIGRATION)
            .knob(Knob::MigFlags, 1)
            .create()?;
        let file = device.debugfs().join("migration/state");
        assert_eq!(sysfs::read(&file)?, "RUNNING");
        thread::scope(|scope| -> TestResult {
            let reader = scope.spawn(|| {
                // Until it is gone. An open file may outlive the device, and
                // reading it then is an error and nothing worse.
                let kept = sysfs::open(&file);
                while let Ok(text) = std::fs::read_to_string(&file) {
                    assert!(text.is_empty() || text == "RUNNING\n", "{text:?}");
                }
                kept.map(|mut kept| std::io::Read::read(&mut kept, &mut [0; 16]).is_ok())
            });
            thread::sleep(Duration::from_millis(2));
            device.call(Op::Unregister, &[])?;
            assert!(!device.debugfs().exists());
            let _ = reader.join().expect("the reader");
            Ok(())
        })?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Device features and migration: rows F082-F090, F098, R-32, R-50.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use rustix::io::{Errno, FdFlags, Result};
use vfio_selftests::{
    kmsg, process,
    request::{self, Arg},
    target::{Session, Target},
    uapi::{self, DeviceFeature, PrecopyInfo},
    PAGE,
};

use crate::{
    fixture::{abi, Build, Device, Fixture, Kind, Knob, Op},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F082_feature_envelope,
    F083_check_feature_rules,
    F084_migration_feature,
    F085_mig_device_state_get,
    F086_mig_device_state_set,
    F087_mig_device_state_set_faults,
    F088_mig_data_size,
    F089_precopy_v2_opt_in,
    F090_precopy_helper,
    F098_driver_features_pass_through,
    R32_unknown_feature,
    R50_set_state_from_error.holds(Holds::OnlyRustCore),
];

const GET: u32 = uapi::DEVICE_FEATURE_GET;
const SET: u32 = uapi::DEVICE_FEATURE_SET;
const PROBE: u32 = uapi::DEVICE_FEATURE_PROBE;
const MIGRATION: u32 = uapi::DEVICE_FEATURE_MIGRATION;
const STATE: u32 = uapi::DEVICE_FEATURE_MIG_DEVICE_STATE;
const DATA_SIZE: u32 = uapi::DEVICE_FEATURE_MIG_DATA_SIZE;
const PRECOPY_V2: u32 = uapi::DEVICE_FEATURE_MIG_PRECOPY_INFOv2;
/// A feature of the fixture.
const OWN: u32 = 0x1234;

const STOP_COPY: u64 = uapi::MIGRATION_STOP_COPY;
const P2P: u64 = uapi::MIGRATION_P2P;
const PRE_COPY: u64 = uapi::MIGRATION_PRE_COPY;

/// The size of the head of a feature request.
const HEAD: usize = std::mem::size_of::<DeviceFeature>();

fn migrating(fixture: &Fixture, flags: u64) -> Build<'_> {
    fixture
        .build()
        .flags(abi::MIGRATION)
        .knob(Knob::MigFlags, flags as i64)
}

fn open(device: &Device<'_>) -> anyhow::Result<Session> {
    device.open(uapi::TYPE1v2_IOMMU)
}

/// A feature request with this `argsz`, and as much memory.
fn with_argsz(session: &Session, argsz: usize, flags: u32) -> Result<u32> {
    let head = DeviceFeature {
        argsz: argsz as u32,
        flags,
        data: [],
    };
    let mut bytes = [head.argsz.to_ne_bytes(), flags.to_ne_bytes()].concat();
    bytes.resize(argsz, 0);
    Arg::from_bytes(&bytes).send(&session.device, uapi::DEVICE_FEATURE)
}

/// A feature request with these bytes of data; what comes back with it.
fn feature<const N: usize>(session: &Session, flags: u32, data: [u8; N]) -> Result<[u8; N]> {
    let mut data = data;
    session.device.feature(flags, &mut data)?;
    Ok(data)
}

/// A feature request in memory that the kernel can read but not write.
fn read_only(session: &Session, flags: u32, data: &[u8]) -> Result<u32> {
    let argsz = (HEAD + data.len()) as u32;
    let arg = Arg::from_bytes(&[&argsz.to_ne_bytes(), &flags.to_ne_bytes(), data].concat());
    arg.make_read_only();
    arg.send(&session.device, uapi::DEVICE_FEATURE)
}

fn state_and_fd(data: [u8; 8]) -> (u32, i32) {
    let [a, b, c, d, e, f, g, h] = data;
    (
        u32::from_ne_bytes([a, b, c, d]),
        i32::from_ne_bytes([e, f, g, h]),
    )
}

fn get_state(session: &Session) -> Result<(u32, i32)> {
    feature(session, GET | STATE, [0xaa; 8]).map(state_and_fd)
}

/// Sets the state; the file that came with it, and what is in the argument
/// then, also in case of an error.
fn try_set_state(session: &Session, state: u32) -> (Result<Option<OwnedFd>>, (u32, i32)) {
    let argsz = (HEAD + 8) as u32;
    let words = [argsz, SET | STATE, state, 0xaaaa_aaaa];
    let arg = Arg::from_bytes(&words.map(u32::to_ne_bytes).concat());
    let result = arg.send(&session.device, uapi::DEVICE_FEATURE);
    let answer = (arg.get::<u32>(HEAD), arg.get::<i32>(HEAD + 4));
    let file = result.map(|_| {
        // SAFETY: The request made this descriptor, and only we know of it.
        (answer.1 >= 0).then(|| unsafe { OwnedFd::from_raw_fd(answer.1) })
    });
    (file, answer)
}

fn set_state(session: &Session, state: u32) -> Result<Option<OwnedFd>> {
    try_set_state(session, state).0
}

/// How many files this process has open.
fn open_files() -> usize {
    vfio_selftests::sysfs::list("/proc/self/fd").len()
}

fn F082_feature_envelope() -> TestResult {
    let fixture = Fixture::open()?;
    let device = migrating(&fixture, STOP_COPY).create()?;
    let session = open(&device)?;
    let result = request::with_bad_address(&session.device, uapi::DEVICE_FEATURE);
    assert_eq!(result, Err(Errno::FAULT));
    // Shorter than its head, whatever else is wrong; the head is there.
    for argsz in [0u32, 7] {
        let arg = Arg::from_bytes(&[argsz, 1 << 31].map(u32::to_ne_bytes).concat());
        assert_eq!(
            arg.send(&session.device, uapi::DEVICE_FEATURE),
            Err(Errno::INVAL)
        );
    }
    for bit in 19..32 {
        let flags = GET | MIGRATION | 1 << bit;
        assert_eq!(
            with_argsz(&session, 16, flags),
            Err(Errno::INVAL),
            "flag {bit}"
        );
    }
    assert_eq!(
        with_argsz(&session, 16, GET | SET | STATE),
        Err(Errno::INVAL)
    );
    assert_eq!(with_argsz(&session, 16, GET | SET | OWN), Err(Errno::INVAL));
    assert_eq!(
        device.count(Kind::Feature)?,
        0,
        "the driver saw a bad request"
    );
    // To ask for both is fine.
    assert_eq!(with_argsz(&session, 16, PROBE | GET | SET | STATE), Ok(0));
    assert_eq!(
        with_argsz(&session, 16, PROBE | GET | SET | MIGRATION),
        Err(Errno::INVAL)
    );
    assert_eq!(with_argsz(&session, 16, PROBE | GET | MIGRATION), Ok(0));
    Ok(())
}

fn F083_check_feature_rules() -> TestResult {
    let fixture = Fixture::open()?;
    let device = migrating(&fixture, STOP_COPY | PRE_COPY).create()?;
    let session = open(&device)?;
    for (index, directions, size) in [
        (MIGRATION, GET, 8),
        (STATE, GET | SET, 8),
        (DATA_SIZE, GET, 8),
        (PRECOPY_V2, SET, 0),
        (OWN, GET, 8),
    ] {
        for one in [GET, SET] {
            let known = directions & one != 0;
            let expected = if known { Ok(0) } else { Err(Errno::INVAL) };
            // Asking needs no data.
            assert_eq!(
                with_argsz(&session, HEAD, PROBE | one | index),
                expected,
                "{index}"
            );
            if known && size > 0 {
                let result = with_argsz(&session, HEAD + size - 1, one | index);
                assert_eq!(result, Err(Errno::INVAL), "{index}: short data");
            }
            if !known {
                let result = with_argsz(&session, HEAD + size, one | index);
                assert_eq!(result, Err(Errno::INVAL), "{index}: wrong direction");
            }
        }
        // What exists at all, with no direction.
        assert_eq!(with_argsz(&session, HEAD, PROBE | index), Ok(0), "{index}");
        assert_eq!(
            with_argsz(&session, HEAD + size, index),
            Err(Errno::INVAL),
            "{index}"
        );
    }
    assert_eq!(device.status()?.counters[Kind::MigSet as usize], 0);
    Ok(())
}

fn F084_migration_feature() -> TestResult {
    let fixture = Fixture::open()?;
    for flags in [STOP_COPY, STOP_COPY | P2P, STOP_COPY | P2P | PRE_COPY] {
        let device = migrating(&fixture, flags).create()?;
        let session = open(&device)?;
        let answer = feature(&session, GET | MIGRATION, [0xff; 8])?;
        assert_eq!(u64::from_ne_bytes(answer), flags);
        assert_eq!(
            read_only(&session, GET | MIGRATION, &[0; 8]),
            Err(Errno::FAULT)
        );
    }
    // Flags alone do not make a device that can migrate.
    let device = fixture.build().knob(Knob::MigFlags, 1).create()?;
    let session = open(&device)?;
    for flags in [
        GET | MIGRATION,
        PROBE | GET | MIGRATION,
        PROBE | SET | MIGRATION,
    ] {
        assert_eq!(with_argsz(&session, 16, flags), Err(Errno::NOTTY));
    }
    for index in [STATE, DATA_SIZE] {
        assert_eq!(
            with_argsz(&session, 16, PROBE | GET | index),
            Err(Errno::NOTTY)
        );
        assert_eq!(with_argsz(&session, 16, GET | index), Err(Errno::NOTTY));
    }
    assert_eq!(
        with_argsz(&session, HEAD, SET | STATE),
        Err(Errno::NOTTY),
        "before the size"
    );
    Ok(())
}

fn F085_mig_device_state_get() -> TestResult {
    let fixture = Fixture::open()?;
    let device = migrating(&fixture, STOP_COPY).create()?;
    let session = open(&device)?;
    assert_eq!(get_state(&session)?, (uapi::DEVICE_STATE_RUNNING, -1));
    set_state(&session, uapi::DEVICE_STATE_STOP)?;
    assert_eq!(get_state(&session)?, (uapi::DEVICE_STATE_STOP, -1));
    device.call(Op::MigForce, &[0])?;
    assert_eq!(get_state(&session)?, (uapi::DEVICE_STATE_ERROR, -1));
    assert_eq!(read_only(&session, GET | STATE, &[0; 8]), Err(Errno::FAULT));
    device.knob(Knob::MigGetErrno, libc::EXDEV.into())?;
    assert_eq!(get_state(&session), Err(Errno::XDEV));
    Ok(())
}

fn F086_mig_device_state_set() -> TestResult {
    let fixture = Fixture::open()?;
    let device = migrating(&fixture, STOP_COPY).create()?;
    let session = open(&device)?;
    session.device.write(0, b"migrate me")?;

    // No file on the way to STOP, one for STOP_COPY.
    let (file, answer) = try_set_state(&session, uapi::DEVICE_STATE_STOP);
    assert!(file?.is_none());
    assert_eq!(answer, (uapi::DEVICE_STATE_STOP, -1));
    let saving = set_state(&session, uapi::DEVICE_STATE_STOP_COPY)?.expect("a file");
    assert!(rustix::io::fcntl_getfd(&saving)?.contains(FdFlags::CLOEXEC));
    let mut content = Vec::new();
    let mut saving = File::from(saving);
    saving.read_to_end(&mut content)?;
    assert_eq!((content.len(), &content[..10]), (PAGE, &b"migrate me"[..]));
    assert_eq!(
        rustix::io::pread(&saving, &mut [0; 4], 0),
        Err(Errno::SPIPE)
    );

    // Another device takes it over.
    let target = migrating(&fixture, STOP_COPY).create()?;
    let there = open(&target)?;
    let resuming = set_state(&there, uapi::DEVICE_STATE_RESUMING)?.expect("a file");
    File::from(resuming.try_clone()?).write_all(&content)?;
    assert!(set_state(&there, uapi::DEVICE_STATE_RUNNING)?.is_none());
    assert_eq!(there.device.read::<10>(0)?, *b"migrate me");
    assert_eq!(
        rustix::io::write(&resuming, &[0]),
        Err(Errno::NODEV),
        "the session is over"
    );

    // An error leaves -1, so that nobody takes the old number for a file.
    device.knob(Knob::MigSetErrno, libc::EXDEV.into())?;
    let (file, answer) = try_set_state(&session, uapi::DEVICE_STATE_RUNNING);
    assert_eq!(file.err(), Some(Errno::XDEV));
    assert_eq!(answer, (uapi::DEVICE_STATE_RUNNING, -1));
    assert_eq!(get_state(&session)?.0, uapi::DEVICE_STATE_STOP_COPY);
    // The core passes any number on; the driver's walk refuses it.
    device.knob(Knob::MigSetErrno, 0)?;
    for state in [uapi::DEVICE_STATE_ERROR, 8, u32::MAX] {
        device.events()?;
        let (file, answer) = try_set_state(&session, state);
        assert_eq!(file.err(), Some(Errno::INVAL), "state {state}");
        assert_eq!(answer.1, -1);
        assert_eq!(device.events_of(Kind::MigSet)?[0].a, state.into());
    }
    assert_eq!(saving.read(&mut [0; 4])?, 0, "the session goes on");
    drop(saving);
    device.wait_count(Kind::MigFileRelease, 1)
}

fn F087_mig_device_state_set_faults() -> TestResult {
    let fixture = Fixture::open()?;
    let device = migrating(&fixture, STOP_COPY).create()?;
    let session = open(&device)?;
    let stop_copy = uapi::DEVICE_STATE_STOP_COPY.to_ne_bytes();
    let data = [stop_copy, [0; 4]].concat();

    // The answer cannot be written: no file is left, but the state changed.
    let before = open_files();
    assert_eq!(read_only(&session, SET | STATE, &data), Err(Errno::FAULT));
    device.wait_count(Kind::MigFileRelease, 1)?;
    assert_eq!(open_files(), before);
    assert_eq!(get_state(&session)?.0, uapi::DEVICE_STATE_STOP_COPY);
    set_state(&session, uapi::DEVICE_STATE_RUNNING)?;

    // A driver's error is not told if that cannot be written either.
    device.knob(Knob::MigSetErrno, libc::EXDEV.into())?;
    assert_eq!(read_only(&session, SET | STATE, &data), Err(Errno::FAULT));
    device.knob(Knob::MigSetErrno, 0)?;
    assert_eq!(device.count(Kind::MigFileRelease)?, 1);

    // No number for the file: nothing is written at all.
    let argsz = (HEAD + 8) as u32;
    let words = [argsz, SET | STATE, uapi::DEVICE_STATE_STOP_COPY, 0x5555];
    let arg = Arg::from_bytes(&words.map(u32::to_ne_bytes).concat());
    let highest = File::open("/dev/null")?.as_fd().as_raw_fd();
    process::limit_files(u64::try_from(highest)?)?;
    let result = arg.send(&session.device, uapi::DEVICE_FEATURE);
    assert_eq!(result, Err(Errno::MFILE));
    assert_eq!(arg.get::<u32>(HEAD + 4), 0x5555);
    device.wait_count(Kind::MigFileRelease, 2)
}

fn F088_mig_data_size() -> TestResult {
    let fixture = Fixture::open()?;
    let size = 0x1234_5678_9abc;
    let device = migrating(&fixture, STOP_COPY)
        .knob(Knob::MigSize, size)
        .create()?;
    let session = open(&device)?;
    let answer = feature(&session, GET | DATA_SIZE, [0xff; 8])?;
    assert_eq!(i64::from_ne_bytes(answer), size);
    assert_eq!(
        read_only(&session, GET | DATA_SIZE, &[0; 8]),
        Err(Errno::FAULT)
    );
    device.knob(Knob::MigSizeErrno, libc::EXDEV.into())?;
    assert_eq!(feature(&session, GET | DATA_SIZE, [0; 8]), Err(Errno::XDEV));
    Ok(())
}

/// Asks a data file how much there is, with garbage in the flags.
fn precopy_info(file: &OwnedFd) -> Result<PrecopyInfo> {
    let arg = Arg::new(&PrecopyInfo {
        argsz: 24,
        flags: 0xdead,
        ..Default::default()
    });
    arg.send(file, uapi::MIG_GET_PRECOPY_INFO)?;
    Ok(arg.get(0))
}

fn F089_precopy_v2_opt_in() -> TestResult {
    let fixture = Fixture::open()?;
    let without = migrating(&fixture, STOP_COPY | P2P).create()?;
    let session = open(&without)?;
    for flags in [SET, PROBE | SET, PROBE, GET] {
        assert_eq!(
            with_argsz(&session, HEAD, flags | PRECOPY_V2),
            Err(Errno::INVAL)
        );
    }
    // The flag counts, not the ops.
    let bare = fixture.device()?;
    let bare_session = open(&bare)?;
    assert_eq!(
        with_argsz(&bare_session, HEAD, PROBE | SET | PRECOPY_V2),
        Err(Errno::INVAL)
    );

    let device = migrating(&fixture, STOP_COPY | PRE_COPY).create()?;
    let session = open(&device)?;
    let second = session.group.device(device.name())?;
    assert_eq!(with_argsz(&session, HEAD, PROBE | SET | PRECOPY_V2), Ok(0));
    assert_eq!(device.status()?.precopy_v2, 0, "asking is not doing");
    let file = set_state(&session, uapi::DEVICE_STATE_PRE_COPY)?.expect("a file");
    assert_eq!(
        precopy_info(&file)?.flags,
        0xdead,
        "the old report echoes what it got"
    );
    assert_eq!(with_argsz(&session, HEAD, SET | PRECOPY_V2), Ok(0));
    assert_eq!(device.status()?.precopy_v2, 1);
    assert_eq!(precopy_info(&file)?.flags, 0, "the new one tells something");
    assert_eq!(with_argsz(&session, HEAD, SET | PRECOPY_V2), Ok(0), "twice");
    // For as long as the device is open.
    drop(second);
    assert_eq!(device.status()?.precopy_v2, 1);
    drop(session);
    assert_eq!(device.status()?.precopy_v2, 0);
    Ok(())
}

fn F090_precopy_helper() -> TestResult {
    let fixture = Fixture::open()?;
    let device = migrating(&fixture, STOP_COPY | PRE_COPY).create()?;
    let session = open(&device)?;
    let file = set_state(&session, uapi::DEVICE_STATE_PRE_COPY)?.expect("a file");
    let other = uapi::MIG_GET_PRECOPY_INFO + 1;
    assert_eq!(request::with_bad_address(&file, other), Err(Errno::NOTTY));
    let result = request::with_bad_address(&file, uapi::MIG_GET_PRECOPY_INFO);
    assert_eq!(result, Err(Errno::FAULT));
    let short = Arg::new(&PrecopyInfo {
        argsz: 23,
        ..Default::default()
    });
    assert_eq!(
        short.send(&file, uapi::MIG_GET_PRECOPY_INFO),
        Err(Errno::INVAL)
    );
    let info = precopy_info(&file)?;
    assert_eq!((info.initial_bytes, info.dirty_bytes), (PAGE as u64, 0));
    let mut file = File::from(file);
    assert_eq!(file.read(&mut vec![0; PAGE])?, PAGE);
    let end = file.read(&mut [0]).expect_err("the device still runs");
    assert_eq!(end.raw_os_error(), Some(libc::ENOMSG));
    // Not in a state that copies beforehand.
    assert!(
        set_state(&session, uapi::DEVICE_STATE_STOP_COPY)?.is_none(),
        "the same session"
    );
    assert_eq!(file.read(&mut [0])?, 0);
    assert_eq!(precopy_info(&file.into()).err(), Some(Errno::INVAL));
    Ok(())
}

fn F098_driver_features_pass_through() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().knob(Knob::FeatureResult, 42).create()?;
    let session = open(&device)?;
    assert_eq!(
        with_argsz(&session, HEAD + 8, GET | OWN),
        Ok(42),
        "a positive answer"
    );
    let seen = device.events_of(Kind::Feature)?;
    assert_eq!((seen[0].a, seen[0].b), ((GET | OWN).into(), 8));
    assert_eq!(with_argsz(&session, HEAD + 100, GET | OWN), Ok(42));
    assert_eq!(device.events_of(Kind::Feature)?[0].b, 100);
    device.knob(Knob::FeatureResult, -i64::from(libc::EXDEV))?;
    assert_eq!(with_argsz(&session, HEAD + 8, GET | OWN), Err(Errno::XDEV));
    // Everything that the core does not know itself.
    for index in [0, 3, 4, 5, 10, 11, 13, 0x7fff] {
        device.events()?;
        assert_eq!(with_argsz(&session, HEAD, PROBE | GET | index), Ok(0));
        assert_eq!(device.events_of(Kind::Feature)?.len(), 1, "feature {index}");
    }
    // And nothing that it knows, even if this device does not have it.
    for index in [1, 2, 6, 7, 8, 9, 12] {
        let _ = with_argsz(&session, HEAD, PROBE | GET | index);
    }
    assert_eq!(device.events_of(Kind::Feature)?.len(), 0);
    Ok(())
}

fn R32_unknown_feature() -> TestResult {
    let fixture = Fixture::open()?;
    let without = fixture.build().without(Kind::Feature).create()?;
    let session = open(&without)?;
    for index in [0, 3, 11, 13, OWN, 0xffff] {
        assert_eq!(
            with_argsz(&session, HEAD + 8, GET | index),
            Err(Errno::NOTTY)
        );
        assert_eq!(with_argsz(&session, HEAD, PROBE | index), Err(Errno::NOTTY));
    }
    let with = fixture.device()?;
    let session = open(&with)?;
    assert_eq!(
        with_argsz(&session, HEAD, PROBE | 0xffff),
        Err(Errno::NOTTY),
        "the driver's"
    );
    Ok(())
}

fn R50_set_state_from_error() -> TestResult {
    let fixture = Fixture::open()?;
    let device = migrating(&fixture, STOP_COPY | P2P | PRE_COPY).create()?;
    let session = open(&device)?;
    device.knob(Knob::MigSetErrno, libc::EXDEV.into())?;
    device.knob(Knob::MigSetBreaks, 1)?;
    assert_eq!(
        set_state(&session, uapi::DEVICE_STATE_STOP).err(),
        Some(Errno::XDEV)
    );
    device.knob(Knob::MigSetErrno, 0)?;
    assert_eq!(get_state(&session)?.0, uapi::DEVICE_STATE_ERROR);
    // Any program can ask, so the kernel must not warn.
    let mut log = kmsg::Log::from_now()?;
    for state in 1..8 {
        assert_eq!(set_state(&session, state).err(), Some(Errno::INVAL));
    }
    assert_eq!(log.with(&["WARNING:"])?, []);
    // Only a reset helps.
    session.device.reset()?;
    assert_eq!(get_state(&session)?.0, uapi::DEVICE_STATE_RUNNING);
    set_state(&session, uapi::DEVICE_STATE_STOP)?;
    Ok(())
}

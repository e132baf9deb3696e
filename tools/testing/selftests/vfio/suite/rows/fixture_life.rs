// SPDX-License-Identifier: GPL-2.0
//! How devices begin and end, seen by a driver: rows F056-F063, F068, F069.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::io::Errno;
use vfio_selftests::{group, module, sysfs, target::Target, uapi};

use crate::{
    bench,
    fixture::{abi, must_warn, Fixture, Kind, Knob, Life, Op},
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F056_alloc_size_check,
    F057_init_failure_path,
    F058_release_order,
    F059_register_needs_iommufd_ops,
    F060_coherency_requirement,
    F061_duplicate_device_in_group,
    F062_fake_groups,
    F063_register_window,
    F068_device_set_sharing,
    F069_device_set_helpers,
];

/// An id of device sets that only tests use.
const SET: u64 = 0x5e7;

fn F056_alloc_size_check() -> TestResult {
    let fixture = Fixture::open()?;
    let size = fixture.device()?.call(Op::DeviceSize, &[])? as u64;
    let device = must_warn(|| fixture.build().alloc_size(size - 1).attempt())??;
    assert_eq!(device.outcome(), Err(Errno::INVAL));
    assert_eq!(device.stage, abi::STAGE_ALLOC);
    assert_eq!(device.count(Kind::Init)?, 0);
    assert_eq!(device.count(Kind::Release)?, 0);
    // What fits exactly is enough.
    fixture.build().alloc_size(size).create()?;
    Ok(())
}

fn F057_init_failure_path() -> TestResult {
    let fixture = Fixture::open()?;
    let peer = fixture.build().set(SET).create()?;
    let index = fixture.device()?.index;
    let failed = fixture
        .build()
        .knob(Knob::InitSet, SET as i64)
        .knob(Knob::InitErrno, libc::EOVERFLOW.into())
        .attempt()?;
    assert_eq!(failed.outcome(), Err(Errno::OVERFLOW));
    assert_eq!(failed.stage, abi::STAGE_ALLOC);
    assert_eq!(failed.count(Kind::Init)?, 1);
    assert_eq!(
        failed.count(Kind::Release)?,
        0,
        "release of a device that never was"
    );
    // It left the set, and its index is free again.
    let status = peer.status()?;
    assert_eq!((status.set_count, status.set_members), (1, 1));
    assert_eq!(fixture.device()?.index, index);
    Ok(())
}

fn F058_release_order() -> TestResult {
    let fixture = Fixture::open()?;
    let peer = fixture.build().set(SET).create()?;
    let device = fixture.build().set(SET).create()?;
    assert_eq!(peer.status()?.set_members, 2);
    // Device 0 of this session is the peer.
    device.call(Op::Peer, &[0])?;
    device.call(Op::Unregister, &[])?;
    assert_eq!(
        device.count(Kind::Release)?,
        0,
        "released while the driver has a reference"
    );
    assert_eq!(
        peer.status()?.set_members,
        2,
        "left the set before its release"
    );
    device.call(Op::Put, &[])?;
    let [release] = device.events_of(Kind::Release)?[..] else {
        panic!("not released once");
    };
    assert_eq!(
        (release.a, release.b),
        (1, 0),
        "release ran before it left the set"
    );
    Ok(())
}

fn F059_register_needs_iommufd_ops() -> TestResult {
    if !module::is_loaded("iommufd") {
        return skip("this kernel has no iommufd");
    }
    let fixture = Fixture::open()?;
    for op in [Kind::Bind, Kind::Unbind, Kind::Attach, Kind::Detach] {
        let device = must_warn(|| fixture.build().without(op).attempt())??;
        assert_eq!(device.outcome(), Err(Errno::INVAL), "without {op:?}");
        assert_eq!(device.stage, abi::STAGE_REGISTER);
        device.remove()?;
    }
    Ok(())
}

fn F060_coherency_requirement() -> TestResult {
    let fixture = Fixture::open()?;
    // In an IOMMU group, but without an IOMMU that could keep caches coherent.
    let device = fixture
        .build()
        .flags(abi::PHYSICAL | abi::IOMMU_GROUP)
        .attempt()?;
    assert_eq!(device.outcome(), Err(Errno::INVAL));
    let number = device.iommu_group().expect("a group").to_string();
    assert!(!group::path(&number).exists(), "the group is still there");
    assert!(device.vfio_name().is_none(), "the device is still there");
    // A failed registration leaves the device in its set.
    assert_eq!(device.status()?.set_members, 1);
    assert!(device.is(Life::New)?);
    assert_eq!(device.count(Kind::Release)?, 0);
    device.call(Op::Put, &[])?;
    assert_eq!(device.count(Kind::Release)?, 1);

    // Not even in an IOMMU group.
    let device = fixture.build().flags(abi::PHYSICAL).attempt()?;
    assert_eq!(device.outcome(), Err(Errno::INVAL));
    Ok(())
}

fn F061_duplicate_device_in_group() -> TestResult {
    let pci = bench::bound_edu()?;
    let fixture = Fixture::open()?;
    let build = fixture.build().on_pci(pci.name()).flags(abi::PHYSICAL);
    let device = must_warn(|| build.attempt())??;
    assert_eq!(device.outcome(), Err(Errno::INVAL));
    assert_eq!(device.stage, abi::STAGE_REGISTER);
    device.remove()?;
    // The device that was there first is none the worse.
    let session = pci.open(uapi::TYPE1v2_IOMMU)?;
    assert!(session.device.info()?.num_regions > 0);
    Ok(())
}

fn F062_fake_groups() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let number = device.iommu_group().expect("a group of its own");
    let dir = format!("/sys/kernel/iommu_groups/{number}");
    assert_eq!(sysfs::read(format!("{dir}/name"))?, "vfio-noiommu");
    let members: Vec<_> = sysfs::list(format!("{dir}/devices"))
        .iter()
        .map(|p| sysfs::name(p).to_owned())
        .collect();
    assert_eq!(members, [device.name()]);
    // A plain number: the device does no DMA of its own.
    let node = group::path(&number.to_string());
    assert!(node.exists(), "{} is missing", node.display());
    device.call(Op::Unregister, &[])?;
    assert_eq!(device.iommu_group(), None);
    assert!(!node.exists(), "{} is still there", node.display());
    assert!(sysfs::list(&dir).is_empty(), "{dir} is still there");
    Ok(())
}

fn F063_register_window() -> TestResult {
    let fixture = Fixture::open()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let opener = scope.spawn(|| {
            let mut opened = 0;
            while !stop.load(Ordering::Relaxed) {
                // A device that an open file keeps a moment longer also keeps its number, so the
                // next one may have another.
                for node in sysfs::list("/dev/vfio/devices") {
                    match File::options().read(true).write(true).open(&node) {
                        Ok(_) => opened += 1,
                        Err(error) => match error.raw_os_error() {
                            Some(libc::ENODEV | libc::ENOENT | libc::ENXIO) => {}
                            _ => panic!("open during registration: {error}"),
                        },
                    }
                }
            }
            opened
        });
        let result = (0..60).try_for_each(|_| fixture.device()?.remove());
        stop.store(true, Ordering::Relaxed);
        let opened = opener.join().expect("the opener");
        println!("# {opened} opens succeeded");
        result
    })
}

fn F068_device_set_sharing() -> TestResult {
    let fixture = Fixture::open()?;
    let counts = |device: &crate::fixture::Device<'_>| {
        device
            .status()
            .map(|status| (status.set_count, status.set_members))
    };
    let one = fixture.build().set(SET).create()?;
    let two = fixture.build().set(SET).create()?;
    let other = fixture.build().set(SET + 1).create()?;
    let alone = fixture.device()?;
    assert_eq!(counts(&one)?, (2, 2));
    assert_eq!(counts(&two)?, (2, 2));
    assert_eq!(counts(&other)?, (1, 1));
    assert_eq!(
        counts(&alone)?,
        (1, 1),
        "without an id a device has a set of its own"
    );
    one.remove()?;
    assert_eq!(counts(&two)?, (1, 1));
    two.remove()?;
    // With the last member the set went; the id begins anew.
    let again = fixture.build().set(SET).create()?;
    assert_eq!(counts(&again)?, (1, 1));

    let new = fixture.build().flags(abi::NO_REGISTER).create()?;
    assert_eq!(counts(&new)?, (0, 0));
    let result = must_warn(|| new.call(Op::AssignSet, &[0]))?;
    assert_eq!(result, Err(Errno::INVAL));
    assert_eq!(counts(&new)?, (0, 0));
    new.call(Op::AssignSet, &[SET])?;
    assert_eq!(counts(&new)?, (2, 2));
    Ok(())
}

fn F069_device_set_helpers() -> TestResult {
    let fixture = Fixture::open()?;
    // Their numbers in this session are 0, 1 and 2.
    let one = fixture.build().set(SET).create()?;
    let two = fixture.build().set(SET).create()?;
    let other = fixture.build().set(SET + 1).create()?;
    let find = |which| {
        one.raw_call(Op::FindInSet, &[which])
            .map(|call| (call.result, call.out[0]))
    };
    assert_eq!(find(0)?, (1, 0));
    assert_eq!(find(1)?, (1, 0));
    assert_eq!(find(2)?, (0, 0), "found a device of another set");
    {
        let first = one.open(uapi::TYPE1v2_IOMMU)?;
        let _again = first.group.device(one.name())?;
        let _second = two.open(uapi::TYPE1v2_IOMMU)?;
        let _third = other.open(uapi::TYPE1v2_IOMMU)?;
        assert_eq!(find(1)?, (1, 3), "open files of the devices of this set");
    }
    assert_eq!(find(1)?, (1, 0));
    Ok(())
}

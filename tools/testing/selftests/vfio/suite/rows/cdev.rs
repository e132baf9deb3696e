// SPDX-License-Identifier: GPL-2.0
//! Devices opened by their own nodes, and bound: rows F039-F047, F054 and
//! F055, R-39.

use std::{
    fs::File,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
    thread,
    time::Duration,
};

use rustix::io::Errno;
use vfio_selftests::{
    device::Device,
    group::Group,
    iommufd::Iommufd,
    memory::Memory,
    node, process,
    request::{self, Arg},
    sysfs,
    target::{wait_for, Target},
    uapi::{self, DeviceBindIommufd},
    PAGE,
};

use super::container::UNKNOWN;
use crate::{
    bench,
    check::{fails, fails_in},
    fixture::{abi, Fixture, Kind, Knob},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F039_node,
    F040_nothing_before_bind,
    F041_bind_sizes,
    F042_bind_descriptors,
    F043_bind_flags,
    F043_bind_token,
    F044_bind_once,
    F044_many_at_once,
    F045_group_and_nodes_exclude_each_other,
    F045_devices_of_one_group,
    F046_bind_a_file_of_a_group,
    F047_bind_cannot_answer,
    F047_bind_fails_in_the_driver,
    F054_release_unbound,
    F055_unbind_waits_for_files,
];

/// The request to bind, as it is.
fn bind(device: &Device, bind: DeviceBindIommufd) -> rustix::io::Result<u32> {
    Arg::new(&bind).send(device, uapi::DEVICE_BIND_IOMMUFD)
}

/// The file of the device's group must be free.
#[track_caller]
fn group_is_free(name: &str) {
    if let Err(error) = Group::open(name) {
        panic!("the group cannot be opened: {error}");
    }
}

fn F039_node() -> TestResult {
    bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let mtty = bench::mtty(1)?;
    for target in [&edu as &dyn Target, &mtty] {
        let path = target.node_path()?;
        let name = sysfs::name(&path);
        assert!(name.starts_with("vfio"), "{name}");
        let node = std::fs::metadata(&path)?;
        assert!(node.file_type().is_char_device());
        assert_eq!(node.mode() & 0o777, 0o600, "{name}");
        let (major, minor) = (
            rustix::fs::major(node.rdev()),
            rustix::fs::minor(node.rdev()),
        );
        // The minor is the number in the name.
        assert_eq!(name, format!("vfio{minor}"));
        for dir in [
            target.sysfs().join("vfio-dev").join(name),
            Path::new("/sys/class/vfio-dev").join(name),
        ] {
            assert_eq!(sysfs::read(dir.join("dev"))?, format!("{major}:{minor}"));
            let event = sysfs::read(dir.join("uevent"))?;
            assert!(
                event
                    .lines()
                    .any(|line| line == format!("DEVNAME=vfio/devices/{name}")),
                "{event}"
            );
        }
        let regions = sysfs::read("/proc/devices")?;
        assert!(
            regions
                .lines()
                .any(|line| line.trim() == format!("{major} vfio-dev")),
            "{regions}"
        );
    }
    let path = edu.node_path()?;
    drop(edu);
    assert!(!path.exists());
    Ok(())
}

fn F040_nothing_before_bind() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let device = edu.open_by_node()?;
    let requests = [
        uapi::DEVICE_GET_INFO,
        uapi::DEVICE_GET_REGION_INFO,
        uapi::DEVICE_GET_IRQ_INFO,
        uapi::DEVICE_SET_IRQS,
        uapi::DEVICE_RESET,
        uapi::DEVICE_FEATURE,
        uapi::DEVICE_GET_PCI_HOT_RESET_INFO,
        uapi::DEVICE_ATTACH_IOMMUFD_PT,
        uapi::DEVICE_DETACH_IOMMUFD_PT,
        UNKNOWN,
    ];
    for request in requests {
        // Nothing of the argument is looked at.
        fails_in(
            &format!("{request:#x}"),
            request::with_bad_address(&device, request),
            Errno::INVAL,
        );
    }
    fails(device.read_at(0, &mut [0; 4]), Errno::INVAL);
    fails(device.write_at(0, &[0; 4]), Errno::INVAL);
    fails(Memory::of_file(&device, 0, PAGE, false), Errno::INVAL);
    // What the file is can be seen.
    let info = process::fdinfo(&device)?;
    let name = std::fs::canonicalize(edu.sysfs())?;
    assert!(
        info.lines()
            .any(|line| line == format!("vfio-device-syspath: {}", name.display())),
        "{info}"
    );

    assert!(device.bind(&iommufd)? > 0);
    assert_eq!(
        device.info()?.flags & uapi::DEVICE_FLAGS_PCI,
        uapi::DEVICE_FLAGS_PCI
    );
    device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
    // Another file of the device is as dead as before.
    let other = edu.open_by_node()?;
    fails(other.info(), Errno::INVAL);
    Ok(())
}

fn F041_bind_sizes() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let request = node::bind_request(&iommufd);
    let mut bytes = request::bytes_of(&request).to_vec();
    bytes.resize(40, 0);
    let send = |argsz: u32, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[..4].copy_from_slice(&argsz.to_ne_bytes());
        let device = edu.open_by_node()?;
        Arg::from_bytes(&bytes).send(&device, uapi::DEVICE_BIND_IOMMUFD)?;
        // It works now.
        device.info()?;
        Ok::<_, anyhow::Error>(())
    };
    let errno = |result: anyhow::Result<()>| {
        result
            .expect_err("bound")
            .downcast::<Errno>()
            .expect("an error number")
    };

    let device = edu.open_by_node()?;
    fails(
        request::with_bad_address(&device, uapi::DEVICE_BIND_IOMMUFD),
        Errno::FAULT,
    );
    for argsz in [0, 4, 15] {
        assert_eq!(errno(send(argsz, &bytes)), Errno::INVAL, "{argsz}");
    }
    // The short ones end where accessible memory ends.
    for len in [16, 20, 24, 25, 32, 40] {
        send(len, &bytes[..len as usize])?;
    }
    // It must be there if it is said to be.
    assert_eq!(errno(send(24, &bytes[..16])), Errno::FAULT);
    assert_eq!(errno(send(32, &bytes[..24])), Errno::FAULT);
    for at in [24, 31] {
        let mut tail = bytes.clone();
        tail[at] = 1;
        assert_eq!(errno(send(32, &tail)), Errno::TOOBIG, "byte {at}");
        // Beyond what was offered it does not matter.
        send(24, &tail)?;
    }
    // Looked at before the rest, as with every structure.
    let mut tail = bytes.clone();
    tail[4] = 0xff;
    tail[31] = 1;
    assert_eq!(errno(send(32, &tail)), Errno::TOOBIG);
    Ok(())
}

fn F042_bind_descriptors() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let device = edu.open_by_node()?;
    let null = File::open("/dev/null")?;
    for (fd, errno) in [
        (-1, Errno::INVAL),
        (i32::MIN, Errno::INVAL),
        (9999, Errno::BADF),
        (null.as_raw_fd(), Errno::BADFD),
        (device.as_fd().as_raw_fd(), Errno::BADFD),
    ] {
        let request = DeviceBindIommufd {
            iommufd: fd,
            ..node::bind_request(&iommufd)
        };
        fails_in(&format!("descriptor {fd}"), bind(&device, request), errno);
        group_is_free(&edu.group_name()?);
    }
    device.bind(&iommufd)?;
    Ok(())
}

fn F043_bind_flags() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let device = edu.open_by_node()?;
    for bit in 1..32 {
        let request = DeviceBindIommufd {
            flags: 1 << bit,
            ..node::bind_request(&iommufd)
        };
        fails_in(&format!("flag {bit}"), bind(&device, request), Errno::INVAL);
    }
    // No virtual function: it has nobody to share a token with.
    let token = Arg::zeroed(16);
    let request = DeviceBindIommufd {
        flags: uapi::DEVICE_BIND_FLAG_TOKEN,
        token_uuid_ptr: token.address() as u64,
        ..node::bind_request(&iommufd)
    };
    fails(bind(&device, request), Errno::INVAL);
    // A driver that knows no tokens.
    let mtty = bench::mtty(1)?;
    let emulated = mtty.open_by_node()?;
    fails(bind(&emulated, request), Errno::INVAL);
    emulated.bind(&iommufd)?;
    device.bind(&iommufd)?;
    Ok(())
}

fn F043_bind_token() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::TOKEN).create()?;
    let token = Arg::from_bytes(b"0123456789abcdef");
    let request = DeviceBindIommufd {
        flags: uapi::DEVICE_BIND_FLAG_TOKEN,
        token_uuid_ptr: token.address() as u64,
        ..node::bind_request(&iommufd)
    };
    let seen = || {
        let events = target.events_of(Kind::Token)?;
        Ok::<_, anyhow::Error>(events.iter().map(|e| (e.a, e.b)).collect::<Vec<_>>())
    };
    let head = u64::from_ne_bytes(*b"01234567");

    let device = target.open_by_node()?;
    let bad = DeviceBindIommufd {
        token_uuid_ptr: request::BAD_ADDRESS as u64,
        ..request
    };
    fails(bind(&device, bad), Errno::FAULT);
    assert_eq!(seen()?, []);
    target.knob(Knob::TokenErrno, libc::EACCES.into())?;
    fails(bind(&device, request), Errno::ACCESS);
    fails(device.bind(&iommufd), Errno::ACCESS);
    // Before the descriptor is looked at.
    let closed = DeviceBindIommufd {
        iommufd: 9999,
        ..request
    };
    fails(bind(&device, closed), Errno::ACCESS);
    assert_eq!(seen()?, [(1, head), (0, 0), (1, head)]);
    assert_eq!(target.count(Kind::Bind)?, 0);

    target.knob(Knob::TokenErrno, 0)?;
    bind(&device, request)?;
    drop(device);
    // Without a token the address means nothing.
    let none = DeviceBindIommufd {
        flags: 0,
        token_uuid_ptr: request::BAD_ADDRESS as u64,
        ..request
    };
    bind(&target.open_by_node()?, none)?;
    assert_eq!(seen()?, [(1, head), (0, 0)]);
    Ok(())
}

fn F044_bind_once() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let (first, id) = target.bind_to(&iommufd)?;
    let second = target.open_by_node()?;
    let elsewhere = Iommufd::open()?;
    for other in [&iommufd, &elsewhere] {
        fails(first.bind(other), Errno::INVAL);
        fails(second.bind(other), Errno::INVAL);
    }
    let status = target.status()?;
    assert_eq!((status.open_count, status.cdev_opened), (1, 1));
    assert_eq!(target.count(Kind::Open)?, 1);
    first.info()?;
    first.attach(iommufd.ioas()?)?;
    fails(second.info(), Errno::INVAL);
    // The number stands for the device among the objects of the iommufd.
    assert!(iommufd.destroy(id).is_err());
    drop(second);
    first.info()?;

    drop(first);
    let status = target.status()?;
    assert_eq!((status.open_count, status.cdev_opened), (0, 0));
    let (third, _) = target.bind_to(&elsewhere)?;
    third.info()?;
    assert_eq!(target.count(Kind::Open)?, 2);
    Ok(())
}

fn F044_many_at_once() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    for round in 0..20 {
        // Two threads for each of two files: one of the four wins.
        let files = [target.open_by_node()?, target.open_by_node()?];
        let bound = thread::scope(|scope| {
            let binders: Vec<_> = files
                .iter()
                .chain(&files)
                .map(|file| scope.spawn(|| file.bind(&iommufd)))
                .collect();
            let results = binders.into_iter().map(|thread| thread.join().unwrap());
            results.filter(Result::is_ok).count()
        });
        assert_eq!(bound, 1, "round {round}");
        let works = files.iter().filter(|file| file.info().is_ok()).count();
        assert_eq!(works, 1);
        assert_eq!(target.count(Kind::Open)?, round + 1);
    }
    target.wait_count(Kind::Close, 20)?;
    group_is_free(&target.group_name()?);
    Ok(())
}

fn F045_group_and_nodes_exclude_each_other() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let name = edu.group_name()?;
    let device = edu.open_by_node()?;
    // A file that is not bound uses nothing.
    let group = Group::open(&name)?;
    fails(device.bind(&iommufd), Errno::BUSY);
    fails(device.info(), Errno::INVAL);
    group.status()?;
    drop(group);
    device.bind(&iommufd)?;
    fails(Group::open(&name), Errno::BUSY);
    // A request that was refused changed nothing.
    fails(device.bind(&iommufd), Errno::INVAL);
    fails(edu.open_by_node()?.bind(&iommufd), Errno::INVAL);
    fails(Group::open(&name), Errno::BUSY);
    drop(device);
    let group = Group::open(&name)?;
    let container = vfio_selftests::container::Container::open()?;
    group.set_container(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let opened = group.device(edu.name())?;
    fails(edu.open_by_node()?.bind(&iommufd), Errno::BUSY);
    // The device keeps the file of its group.
    drop(group);
    fails(edu.open_by_node()?.bind(&iommufd), Errno::BUSY);
    drop(opened);
    let device = edu.open_by_node()?;
    wait_for("the group", || device.bind(&iommufd).is_ok())?;
    Ok(())
}

fn F045_devices_of_one_group() -> TestResult {
    let iommufd = bench::iommufd()?;
    let [a, b] = bench::edu_pair()?;
    let (a, b) = (a.bind()?, b.bind()?);
    let name = a.group_name()?;
    let (first, first_id) = a.bind_to(&iommufd)?;
    let (second, second_id) = b.bind_to(&iommufd)?;
    assert_ne!(first_id, second_id);
    // The group belongs to one iommufd.
    drop(second);
    let elsewhere = Iommufd::open()?;
    assert!(b.open_by_node()?.bind(&elsewhere).is_err());
    fails(Group::open(&name), Errno::BUSY);
    let (second, _) = b.bind_to(&iommufd)?;
    drop(first);
    fails(Group::open(&name), Errno::BUSY);
    drop(second);
    group_is_free(&name);
    let (_second, _) = b.bind_to(&elsewhere)?;
    Ok(())
}

fn F046_bind_a_file_of_a_group() -> TestResult {
    let iommufd = bench::iommufd()?;
    let open = bench::open()?;
    let device = &open.session.device;
    let request = node::bind_request(&iommufd);
    fails(
        request::with_bad_address(device, uapi::DEVICE_BIND_IOMMUFD),
        Errno::FAULT,
    );
    let mut bytes = request::bytes_of(&request).to_vec();
    bytes.extend_from_slice(&[1; 8]);
    bytes[..4].copy_from_slice(&32_u32.to_ne_bytes());
    fails(
        Arg::from_bytes(&bytes).send(device, uapi::DEVICE_BIND_IOMMUFD),
        Errno::TOOBIG,
    );
    fails(device.bind(&iommufd), Errno::INVAL);
    // Whether there is an iommufd does not matter.
    let closed = DeviceBindIommufd {
        iommufd: 9999,
        ..request
    };
    fails(bind(device, closed), Errno::INVAL);
    device.info()?;
    Ok(())
}

fn F047_bind_cannot_answer() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let device = target.open_by_node()?;
    let arg = Arg::new(&node::bind_request(&iommufd));
    arg.make_read_only();
    for count in 1..4 {
        fails(arg.send(&device, uapi::DEVICE_BIND_IOMMUFD), Errno::FAULT);
        let status = target.status()?;
        assert_eq!((status.open_count, status.cdev_opened), (0, 0));
        for kind in [Kind::Bind, Kind::Open, Kind::Close, Kind::Unbind] {
            assert_eq!(target.count(kind)?, count, "{kind:?}");
        }
        fails(device.info(), Errno::INVAL);
        group_is_free(&target.group_name()?);
    }
    device.bind(&iommufd)?;
    device.info()?;
    drop(device);

    // A real device, too.
    let edu = bench::bound_edu()?;
    let device = edu.open_by_node()?;
    fails(arg.send(&device, uapi::DEVICE_BIND_IOMMUFD), Errno::FAULT);
    drop(device);
    edu.open(uapi::TYPE1v2_IOMMU)?;
    Ok(())
}

fn F047_bind_fails_in_the_driver() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let device = target.open_by_node()?;
    target.knob(Knob::OpenErrno, libc::EXDEV.into())?;
    fails(device.bind(&iommufd), Errno::XDEV);
    assert_eq!(target.count(Kind::Unbind)?, 1);
    assert_eq!(target.count(Kind::Close)?, 0);
    assert_eq!(target.status()?.open_count, 0);
    group_is_free(&target.group_name()?);
    target.knob(Knob::OpenErrno, 0)?;
    device.bind(&iommufd)?;
    Ok(())
}

fn F054_release_unbound() -> TestResult {
    bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let files: Vec<_> = (0..5)
        .map(|_| target.open_by_node())
        .collect::<Result<_, _>>()?;
    drop(files);
    for kind in [Kind::Bind, Kind::Open, Kind::Close, Kind::Unbind] {
        assert_eq!(target.count(kind)?, 0, "{kind:?}");
    }
    // Nothing keeps the device.
    target.unregister_later()?;
    target.wait_unregistered()?;
    assert_eq!(target.count(Kind::Request)?, 0);
    Ok(())
}

fn F055_unbind_waits_for_files() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    for bound in [false, true] {
        let target = fixture.device()?;
        let device = target.open_by_node()?;
        if bound {
            device.bind(&iommufd)?;
        }
        let path = target.node_path()?;
        target.unregister_later()?;
        target.wait_count(Kind::Request, 1)?;
        thread::sleep(Duration::from_millis(200));
        assert!(target.is(abi::Life::Unregistering)?);
        // Nobody new can come.
        assert!(!path.exists());
        match bound {
            true => drop(device.info()?),
            // Whoever came before can still bind: the driver is there.
            false => drop(device.bind(&iommufd)?),
        }
        device.info()?;
        drop(device);
        target.wait_unregistered()?;
        assert_eq!(target.count(Kind::Close)?, 1);
    }

    let edu = bench::bound_edu()?;
    let device = edu.open_by_node()?;
    device.bind(&iommufd)?;
    thread::scope(|scope| {
        let unbind = scope.spawn(|| edu.unbind());
        thread::sleep(Duration::from_millis(300));
        assert!(!unbind.is_finished());
        device.info()?;
        drop(device);
        unbind.join().expect("the thread that unbinds")
    })?;
    Ok(())
}

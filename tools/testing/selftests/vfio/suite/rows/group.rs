// SPDX-License-Identifier: GPL-2.0
//! The group file: rows F015-F023 and F028.

use std::{
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt},
    },
    thread,
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};
use vfio_selftests::{
    container::Container,
    edu::Edu,
    group::{self, Group},
    memory::Memory,
    request::{self, Arg},
    sysfs,
    target::Target,
    uapi::{self, GroupStatus},
    PAGE,
};

use super::container::UNKNOWN;
use crate::{
    bench,
    check::{fails, fails_in},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F015_group_node_names,
    F016_one_opener,
    F017_node_is_gone_after_unbind,
    F017_open_racing_unbind.limit(120),
    F018_get_status_order,
    F019_get_status_flags,
    F019_not_viable_with_a_kernel_driver,
    F020_set_container_errors,
    F021_set_container_needs_all_devices,
    F022_group_joins_a_working_container,
    F023_unset_container,
    F028_unknown_request,
];

const SET: u32 = uapi::GROUP_FLAGS_VIABLE | uapi::GROUP_FLAGS_CONTAINER_SET;

fn F015_group_node_names() -> TestResult {
    let edu = bench::bound_edu()?;
    let mtty = bench::mtty(1)?;
    for device in [&edu as &dyn Target, &mtty] {
        let number = device.iommu_group().expect("an IOMMU group").to_string();
        assert_eq!(device.group_name()?, number);
        let node = std::fs::metadata(group::path(&number))?;
        assert!(node.file_type().is_char_device());
        assert_eq!(node.mode() & 0o777, 0o600, "{number}");
        // The class knows the same device number.
        let (major, minor) = (
            rustix::fs::major(node.rdev()),
            rustix::fs::minor(node.rdev()),
        );
        let dev = sysfs::read(format!("/sys/class/vfio/{number}/dev"))?;
        assert_eq!(dev, format!("{major}:{minor}"));
        let regions = sysfs::read("/proc/devices")?;
        assert!(
            regions
                .lines()
                .any(|line| line.trim() == format!("{major} vfio")),
            "{regions}"
        );
        let event = sysfs::read(format!("/sys/class/vfio/{number}/uevent"))?;
        assert!(
            event
                .lines()
                .any(|line| line == format!("DEVNAME=vfio/{number}")),
            "{event}"
        );
    }
    // The group that was made for the emulated device has a name that says so.
    assert_eq!(
        sysfs::read(mtty.sysfs().join("iommu_group/name"))?,
        "vfio-noiommu"
    );
    Ok(())
}

fn F016_one_opener() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.group_name()?;
    let first = edu.open_group()?;
    fails(Group::open(&name), Errno::BUSY);
    fails(Group::open(&name), Errno::BUSY);
    drop(first);
    Group::open(&name)?;
    Ok(())
}

fn F017_node_is_gone_after_unbind() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.group_name()?;
    let number = std::fs::metadata(group::path(&name))?.rdev();
    // Another node of the same device, as somebody may have made. Nodes in /tmp may be disabled.
    let copy = "/dev/group-node";
    let _ = std::fs::remove_file(copy);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        copy,
        FileType::CharacterDevice,
        Mode::RUSR | Mode::WUSR,
        number,
    )?;
    rustix::fs::open(copy, OFlags::RDWR, Mode::empty())?;
    drop(edu);
    fails(Group::open(&name), Errno::NOENT);
    fails(
        rustix::fs::open(copy, OFlags::RDWR, Mode::empty()),
        Errno::NXIO,
    );
    assert!(!std::fs::exists(format!("/sys/class/vfio/{name}"))?);
    std::fs::remove_file(copy)?;
    Ok(())
}

fn F017_open_racing_unbind() -> TestResult {
    let edu = bench::edu()?;
    let number = edu.iommu_group().expect("an IOMMU group").to_string();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let opened = thread::scope(|scope| {
        let opener = scope.spawn(|| {
            let mut opened = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                match Group::open(&number) {
                    Ok(_) => opened += 1,
                    // No node, a node without device, or a group on its way out.
                    Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => thread::yield_now(),
                    Err(error) => return Err(error),
                }
            }
            Ok(opened)
        });
        for _ in 0..40 {
            let bound = edu.bind().expect("bind");
            thread::yield_now();
            drop(bound);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        opener.join().expect("the opener")
    });
    println!("opened {} times", opened?);
    // Whatever happened, the group works again.
    let edu = edu.bind()?;
    edu.open_group()?.status()?;
    Ok(())
}

fn F018_get_status_order() -> TestResult {
    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    let status = |argsz| GroupStatus { argsz, flags: 0 };

    fails(
        request::with_bad_address(&group, uapi::GROUP_GET_STATUS),
        Errno::FAULT,
    );
    for argsz in [0, 7] {
        let arg = Arg::new(&status(argsz));
        fails(arg.send(&group, uapi::GROUP_GET_STATUS), Errno::INVAL);
        assert_eq!(
            arg.get::<GroupStatus>(0),
            status(argsz),
            "written in spite of the error"
        );
    }
    // Room for half of it: the size it claims does not help.
    fails(
        Arg::new(&8_u32).send(&group, uapi::GROUP_GET_STATUS),
        Errno::FAULT,
    );
    // It can be read but not written.
    let arg = Arg::new(&status(8));
    arg.make_read_only();
    fails(arg.send(&group, uapi::GROUP_GET_STATUS), Errno::FAULT);
    // Flags do not matter on the way in, and a larger size is fine.
    let arg = Arg::new(&GroupStatus {
        argsz: 1000,
        flags: u32::MAX,
    });
    arg.send(&group, uapi::GROUP_GET_STATUS)?;
    assert_eq!(
        arg.get::<GroupStatus>(0),
        GroupStatus {
            argsz: 1000,
            flags: 1
        }
    );

    // A group whose devices are gone: the argument is still looked at first.
    drop(edu);
    fails(
        request::with_bad_address(&group, uapi::GROUP_GET_STATUS),
        Errno::FAULT,
    );
    fails(
        Arg::new(&status(7)).send(&group, uapi::GROUP_GET_STATUS),
        Errno::INVAL,
    );
    let arg = Arg::new(&status(8));
    arg.make_read_only();
    fails(arg.send(&group, uapi::GROUP_GET_STATUS), Errno::NODEV);
    fails(group.status(), Errno::NODEV);
    Ok(())
}

fn F019_get_status_flags() -> TestResult {
    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    let container = Container::open()?;
    group.set_container(&container)?;
    assert_eq!(group.status()?, SET);
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(group.status()?, SET);
    group.unset_container()?;
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    // An emulated device has no other owner, ever.
    let mtty = bench::mtty(1)?;
    let group = mtty.open_group()?;
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    group.set_container(&container)?;
    assert_eq!(group.status()?, SET);
    Ok(())
}

fn F019_not_viable_with_a_kernel_driver() -> TestResult {
    let [edu, _] = bench::edu_pair()?;
    let edu = edu.bind()?;
    let group = edu.open_group()?;
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    let sibling = bench::kernel_driven_sibling(&edu)?;
    assert_eq!(
        group.status()?,
        0,
        "{} has {:?}",
        sibling.name(),
        sibling.driver()
    );
    sibling.unbind()?;
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    Ok(())
}

fn F020_set_container_errors() -> TestResult {
    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    let container = Container::open()?;
    let file = std::fs::File::open("/proc/self/status")?;
    // A number that was a file a moment ago.
    let closed = Container::open()?.as_fd_number();

    fails(
        request::with_bad_address(&group, uapi::GROUP_SET_CONTAINER),
        Errno::FAULT,
    );
    fails(group.set_container_fd(-1), Errno::BADF);
    fails(group.set_container_fd(closed), Errno::BADF);
    fails(group.set_container(&file), Errno::BADFD);
    fails(group.set_container(&group), Errno::BADFD);
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);

    group.set_container(&container)?;
    // The file is looked up first, then the state, then what kind of file.
    fails(
        request::with_bad_address(&group, uapi::GROUP_SET_CONTAINER),
        Errno::FAULT,
    );
    fails(group.set_container_fd(-1), Errno::BADF);
    fails(group.set_container(&file), Errno::INVAL);
    fails(group.set_container(&container), Errno::INVAL);
    fails(group.set_container(Container::open()?), Errno::INVAL);

    // A group without devices: likewise.
    drop(edu);
    fails(group.set_container_fd(-1), Errno::BADF);
    fails(group.set_container(&container), Errno::NODEV);
    fails(group.set_container(&file), Errno::NODEV);
    Ok(())
}

/// The number of a file, for after it was closed.
trait AsFdNumber {
    fn as_fd_number(&self) -> i32;
}

impl<T: std::os::fd::AsFd> AsFdNumber for T {
    fn as_fd_number(&self) -> i32 {
        self.as_fd().as_raw_fd()
    }
}

fn F021_set_container_needs_all_devices() -> TestResult {
    let [edu, other] = bench::edu_pair()?;
    let edu = edu.bind()?;
    let group = edu.open_group()?;
    let container = Container::open()?;
    let sibling = bench::kernel_driven_sibling(&edu)?;
    fails(group.set_container(&container), Errno::PERM);
    assert_eq!(group.status()?, 0);
    sibling.unbind()?;
    // A device without driver is no hindrance, nor one that VFIO has too.
    group.set_container(&container)?;
    group.unset_container()?;
    let _other = other.bind()?;
    group.set_container(&container)?;
    // While VFIO owns the group no kernel driver gets a device of it.
    assert!(
        bench::kernel_driven_sibling(&edu).is_err(),
        "a kernel driver took a device"
    );
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    Ok(())
}

fn F022_group_joins_a_working_container() -> TestResult {
    let [a, b] = bench::two_bound_edus()?;
    let session = a.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    session.container.map(&memory, 0x20_0000)?;
    // No second choice of a backend: the group works at once, with what was
    // mapped before and with what is mapped after.
    let group = b.join(&session.container)?;
    let device = group.device(b.name())?;
    let edu = Edu::new(&device)?;
    memory.write(0, b"mapped before");
    edu.read_memory(0x20_0000, 13)?;
    edu.write_memory(0x20_1000, 13)?;
    assert_eq!(memory.read(PAGE, 13), b"mapped before");

    let after = Memory::anonymous(PAGE)?;
    session.container.map(&after, 0x30_0000)?;
    for device in [&device, &session.device] {
        after.fill(0);
        let edu = Edu::new(device)?;
        edu.read_memory(0x20_0000, 13)?;
        edu.write_memory(0x30_0000, 13)?;
        assert_eq!(after.read(0, 13), b"mapped before");
    }
    Ok(())
}

fn F023_unset_container() -> TestResult {
    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    fails(group.unset_container(), Errno::INVAL);
    let container = Container::open()?;
    group.set_container(&container)?;
    group.unset_container()?;
    fails(group.unset_container(), Errno::INVAL);

    group.set_container(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let first = group.device(edu.name())?;
    let second = group.device(edu.name())?;
    fails(group.unset_container(), Errno::BUSY);
    drop(first);
    fails(group.unset_container(), Errno::BUSY);
    drop(second);
    // The argument is nothing to it.
    request::with_bad_address(&group, uapi::GROUP_UNSET_CONTAINER)?;
    fails(group.unset_container(), Errno::INVAL);
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    Ok(())
}

fn F028_unknown_request() -> TestResult {
    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    for number in [
        UNKNOWN,
        uapi::GET_API_VERSION,
        uapi::SET_IOMMU,
        uapi::DEVICE_GET_INFO,
    ] {
        fails_in(
            &format!("{number:#x}"),
            request::with_number(&group, number, 0),
            Errno::NOTTY,
        );
    }
    fails(rustix::io::read(&group, &mut [0; 8]), Errno::INVAL);
    fails(rustix::io::write(&group, &[0; 8]), Errno::INVAL);
    fails(Memory::of_file(&group, 0, PAGE, false), Errno::NODEV);
    Ok(())
}

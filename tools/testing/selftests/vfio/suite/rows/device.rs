// SPDX-License-Identifier: GPL-2.0
//! Getting a device file and using it: rows F024-F026, F031, F032 and
//! F034-F038.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::{
    io::Errno,
    process::{Resource, Signal},
};
use vfio_selftests::{
    container::Container,
    device::{Device, Event},
    edu::Edu,
    memory::Memory,
    pci::{self, Config},
    process::{self, Child},
    request::{self, Arg},
    sysfs,
    target::{wait_for, Target},
    uapi::{self, RegionInfo},
    PAGE,
};

use super::container::UNKNOWN;
use crate::{
    bench,
    check::{fails, fails_in},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F024_device_names,
    F025_device_needs_a_backend,
    F026_device_is_closed_on_exec,
    F026_several_files_share_a_session,
    F026_no_free_descriptor,
    F031_fdinfo,
    F032_positional_io,
    F033_missing_operations,
    F034_shared_address_space,
    F035_file_name,
    F036_runtime_power,
    F037_region_info_order,
    F037_region_info_slots,
    F038_region_capabilities,
    F038_unknown_request_goes_to_the_driver,
];

fn F024_device_names() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let group = &session.group;
    let get = |bytes: &[u8]| Arg::from_bytes(bytes).send(group, uapi::GROUP_GET_DEVICE_FD);

    fails(
        request::with_bad_address(group, uapi::GROUP_GET_DEVICE_FD),
        Errno::FAULT,
    );
    fails(group.device(""), Errno::NODEV);
    fails(group.device("nobody"), Errno::NODEV);
    // The domain is part of the name.
    fails(group.device(&edu.name()[5..]), Errno::NODEV);
    fails(group.device(&format!("{}0", edu.name())), Errno::NODEV);
    // A device there is, but in another group.
    let other = bench::mtty(1)?;
    fails(group.device(other.name()), Errno::NODEV);
    // With its end, a name may have a page.
    let mut long = vec![b'x'; PAGE];
    long[PAGE - 1] = 0;
    fails(get(&long), Errno::NODEV);
    long[PAGE - 1] = b'x';
    long.push(0);
    fails(get(&long), Errno::INVAL);
    // No end before the memory ends.
    fails(get(b"0000"), Errno::FAULT);
    // A name that is right is right with more behind its end.
    let mut name = edu.name().as_bytes().to_vec();
    name.extend_from_slice(b"\0more");
    let fd = get(&name)?;
    // SAFETY: The request made this descriptor, and only we know of it.
    let device = unsafe { OwnedFd::from_raw_fd(fd.try_into()?) };
    assert_eq!(
        process::fd_link(&device)?,
        process::fd_link(&session.device)?
    );
    drop(device);

    // An emulated device has no way of its own to match names: equal or not.
    let emulated = other.open(uapi::TYPE1v2_IOMMU)?;
    fails(
        emulated.group.device(&format!("{} ", other.name())),
        Errno::NODEV,
    );
    fails(emulated.group.device(&other.name()[..8]), Errno::NODEV);
    emulated.group.device(other.name())?;
    Ok(())
}

fn F025_device_needs_a_backend() -> TestResult {
    for target in [&bench::bound_edu()? as &dyn TargetOpen, &bench::mtty(1)?] {
        let group = target.group()?;
        fails(group.device(target.name()), Errno::INVAL);
        // The name is looked at before.
        fails(group.device("nobody"), Errno::NODEV);
        let container = Container::open()?;
        group.set_container(&container)?;
        fails(group.device(target.name()), Errno::INVAL);
        container.set_iommu(uapi::TYPE1_IOMMU)?;
        group.device(target.name())?.info()?;
        group.unset_container()?;
        fails(group.device(target.name()), Errno::INVAL);
    }
    Ok(())
}

/// What of [`Target`] can be called without knowing the kind of device.
trait TargetOpen: Target {
    fn group(&self) -> anyhow::Result<vfio_selftests::group::Group>;
}

impl<T: Target> TargetOpen for T {
    fn group(&self) -> anyhow::Result<vfio_selftests::group::Group> {
        self.open_group()
    }
}

fn F026_device_is_closed_on_exec() -> TestResult {
    let open = bench::open()?;
    let flags = rustix::io::fcntl_getfd(&open.session.device)?;
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    Ok(())
}

fn F026_several_files_share_a_session() -> TestResult {
    let open = bench::open()?;
    let second = open.session.group.device(open.pci.name())?;
    // What is done through one is seen through the other.
    let first = Config::of(&open.session.device)?;
    first.enable()?;
    let command = first.read_u16(pci::COMMAND)?;
    assert_ne!(command & pci::COMMAND_MASTER, 0);
    assert_eq!(Config::of(&second)?.read_u16(pci::COMMAND)?, command);
    // Opening again does not open the device again, which would reset it, and
    // closing one of two does not close it.
    let third = open.session.group.device(open.pci.name())?;
    assert_eq!(Config::of(&third)?.read_u16(pci::COMMAND)?, command);
    drop(second);
    drop(third);
    assert_eq!(first.read_u16(pci::COMMAND)?, command);
    Ok(())
}

fn F026_no_free_descriptor() -> TestResult {
    let open = bench::open()?;
    let used = sysfs::list("/proc/self/fd").len() as u64;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // Fill the holes, then close the door.
    process::limit_files(used)?;
    let mut filler = Vec::new();
    while let Ok(fd) = rustix::io::fcntl_dupfd_cloexec(&open.session.device, 0) {
        filler.push(fd);
    }
    fails(open.session.group.device(open.pci.name()), Errno::MFILE);
    // The wrong name is found out first.
    fails(open.session.group.device("nobody"), Errno::NODEV);
    drop(filler);
    assert!(limit.current.is_some_and(|n| n > used));
    // Nothing is left of the attempt: the group can leave once the file is closed.
    let vfio_selftests::target::Session {
        device,
        group,
        container: _container,
    } = open.session;
    fails(group.unset_container(), Errno::BUSY);
    drop(device);
    group.unset_container()?;
    Ok(())
}

fn F031_fdinfo() -> TestResult {
    let edu = bench::bound_edu()?;
    let mtty = bench::mtty(1)?;
    let sessions = [
        (
            std::fs::canonicalize(edu.sysfs())?,
            edu.open(uapi::TYPE1v2_IOMMU)?,
        ),
        (
            std::fs::canonicalize(mtty.sysfs())?,
            mtty.open(uapi::TYPE1v2_IOMMU)?,
        ),
    ];
    for (path, session) in &sessions {
        let info = process::fdinfo(&session.device)?;
        let line = format!("vfio-device-syspath: {}", path.display());
        assert_eq!(
            info.lines().filter(|have| **have == line).count(),
            1,
            "{info}"
        );
    }
    Ok(())
}

fn F032_positional_io() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    let config = device.region(uapi::PCI_CONFIG_REGION_INDEX)?.head;
    // The same bytes, whatever the length and the offset of the access.
    let id: [u8; 4] = device.read(config.offset)?;
    assert_eq!(u16::from_le_bytes([id[0], id[1]]), pci::EDU.0);
    assert_eq!(u16::from_le_bytes([id[2], id[3]]), pci::EDU.1);
    assert_eq!(device.read::<1>(config.offset + 3)?, [id[3]]);
    // A write arrives where it should.
    let edu = Edu::new(device)?;
    assert_eq!(edu.invert(0x1234_5678)?, !0x1234_5678);
    // There is no position to move, and plain reads have none to use.
    fails(
        rustix::fs::seek(device, rustix::fs::SeekFrom::Start(0)),
        Errno::SPIPE,
    );
    fails(
        rustix::fs::seek(device, rustix::fs::SeekFrom::Current(0)),
        Errno::SPIPE,
    );
    // A buffer that cannot be written to.
    let memory = Memory::inaccessible(PAGE)?;
    fails(pread_into(device, &memory, config.offset), Errno::FAULT);
    Ok(())
}

/// Reads 4 bytes to wherever `memory` is.
fn pread_into(device: &Device, memory: &Memory, offset: u64) -> rustix::io::Result<usize> {
    // SAFETY: Nothing of Rust's is in that memory, which is 4 bytes at least.
    let buffer = unsafe {
        std::slice::from_raw_parts_mut(memory.address() as *mut std::mem::MaybeUninit<u8>, 4)
    };
    rustix::io::pread(device, buffer, offset).map(|(read, _)| read.len())
}

fn F033_missing_operations() -> TestResult {
    // The emulated serial port has everything but mmap.
    let mtty = bench::mtty(1)?;
    let session = mtty.open(uapi::TYPE1v2_IOMMU)?;
    fails(
        Memory::of_file(&session.device, 0, PAGE, false),
        Errno::INVAL,
    );
    let bar = session.device.region(uapi::PCI_BAR0_REGION_INDEX)?.head;
    assert_eq!(bar.flags & uapi::REGION_INFO_FLAG_MMAP, 0);
    fails(
        Memory::of_file(&session.device, bar.offset, PAGE, true),
        Errno::INVAL,
    );
    Ok(())
}

fn F034_shared_address_space() -> TestResult {
    let open = bench::open()?;
    let first = &open.session.device;
    let second = open.session.group.device(open.pci.name())?;
    let config = Config::of(first)?;
    config.enable()?;
    let id = Edu::new(first)?.id()?;
    let mappings = [
        first.map_region(uapi::PCI_BAR0_REGION_INDEX)?,
        second.map_region(uapi::PCI_BAR0_REGION_INDEX)?,
    ];
    for mapping in &mappings {
        assert_eq!(mapping.read_u32(0), id);
    }
    // Forbidding the device to answer takes all mappings of it away, also those
    // that were made through another file.
    let command = config.read_u16(pci::COMMAND)?;
    config.write_u16(pci::COMMAND, command & !pci::COMMAND_MEMORY)?;
    for mapping in &mappings {
        let child = Child::fork(|| {
            mapping.read_u32(0);
            Ok(())
        })?;
        let status = child.wait()?;
        assert_eq!(
            status.terminating_signal(),
            Some(Signal::BUS.as_raw()),
            "{status:?}"
        );
    }
    // And they come back.
    config.write_u16(pci::COMMAND, command)?;
    for mapping in &mappings {
        assert_eq!(mapping.read_u32(0), id);
    }
    Ok(())
}

fn F035_file_name() -> TestResult {
    let open = bench::open()?;
    assert_eq!(
        process::fd_link(&open.session.device)?,
        "anon_inode:[vfio-device]"
    );
    Ok(())
}

/// The device sleeps when nobody talks to it, if it was told that it may. A
/// request wakes it, and that is told to an eventfd.
fn F036_runtime_power() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    let status = || sysfs::read(open.pci.sysfs().join("power/runtime_status")).unwrap_or_default();
    assert_eq!(status(), "active");

    let woken = Event::new()?;
    let mut data = request::bytes_of(&std::os::fd::AsRawFd::as_raw_fd(&woken.as_fd())).to_vec();
    data.extend_from_slice(&[0; 4]);
    let flags = uapi::DEVICE_FEATURE_SET | uapi::DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
    device.feature(flags, &mut data)?;
    // The request itself held it awake until it returned.
    wait_for("the device to sleep", || status() == "suspended")?;
    assert_eq!(woken.wait(0)?, 0);

    device.region(uapi::PCI_BAR0_REGION_INDEX)?;
    assert_eq!(woken.wait(10)?, 1);

    // Without telling anybody: it wakes for each request and sleeps again.
    device.feature(
        uapi::DEVICE_FEATURE_SET | uapi::DEVICE_FEATURE_LOW_POWER_EXIT,
        &mut [],
    )?;
    device.feature(
        uapi::DEVICE_FEATURE_SET | uapi::DEVICE_FEATURE_LOW_POWER_ENTRY,
        &mut [],
    )?;
    for _ in 0..3 {
        wait_for("the device to sleep", || status() == "suspended")?;
        assert_eq!(
            device.info()?.flags & uapi::DEVICE_FLAGS_PCI,
            uapi::DEVICE_FLAGS_PCI
        );
    }
    wait_for("the device to sleep", || status() == "suspended")?;
    device.feature(
        uapi::DEVICE_FEATURE_SET | uapi::DEVICE_FEATURE_LOW_POWER_EXIT,
        &mut [],
    )?;
    assert_eq!(status(), "active");
    assert_eq!(Config::of(device)?.id()?, pci::EDU);
    Ok(())
}

fn region_request(argsz: u32, index: u32) -> RegionInfo {
    RegionInfo {
        argsz,
        index,
        cap_offset: 0x5555,
        ..Default::default()
    }
}

fn F037_region_info_order() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    let get = uapi::DEVICE_GET_REGION_INFO;
    fails(request::with_bad_address(device, get), Errno::FAULT);
    for argsz in [0, 24, 31] {
        // The size is looked at before the index.
        for index in [0, u32::MAX] {
            fails(
                Arg::new(&region_request(argsz, index)).send(device, get),
                Errno::INVAL,
            );
        }
    }
    fails(
        Arg::from_bytes(&32_u32.to_ne_bytes()).send(device, get),
        Errno::FAULT,
    );
    fails(device.region(u32::MAX), Errno::INVAL);
    let arg = Arg::new(&region_request(32, 0));
    arg.make_read_only();
    fails(arg.send(device, get), Errno::FAULT);
    // A region without capabilities: the member for them is left alone.
    let mtty = bench::mtty(1)?;
    let emulated = mtty.open(uapi::TYPE1v2_IOMMU)?;
    let arg = Arg::new(&region_request(32, uapi::PCI_BAR0_REGION_INDEX));
    arg.send(&emulated.device, get)?;
    let info: RegionInfo = arg.get(0);
    assert_eq!((info.argsz, info.cap_offset, info.size), (32, 0x5555, 8));
    assert_eq!(info.flags & uapi::REGION_INFO_FLAG_CAPS, 0);
    Ok(())
}

/// The region of the network card that holds its MSI-X table has a capability.
fn msix_region(device: &Device) -> anyhow::Result<u32> {
    for index in uapi::PCI_BAR0_REGION_INDEX..=uapi::PCI_BAR5_REGION_INDEX {
        if !device.region(index)?.caps.is_empty() {
            return Ok(index);
        }
    }
    anyhow::bail!("no region has a capability")
}

fn F037_region_info_slots() -> TestResult {
    let igb = bench::bound_igb()?;
    let session = igb.open(uapi::TYPE1v2_IOMMU)?;
    let device = &session.device;
    let index = msix_region(device)?;
    let get = uapi::DEVICE_GET_REGION_INFO;

    // No room for capabilities: how much there should be, and nothing else.
    let arg = Arg::new(&region_request(32, index));
    arg.send(device, get)?;
    let info: RegionInfo = arg.get(0);
    assert_ne!(info.flags & uapi::REGION_INFO_FLAG_CAPS, 0);
    assert_eq!(info.cap_offset, 0);
    let needed = info.argsz;
    assert!(needed >= 40, "{needed}");
    // One byte too few is the same.
    let arg = Arg::with_tail(&region_request(needed - 1, index), needed as usize - 33);
    arg.send(device, get)?;
    assert_eq!(arg.get::<RegionInfo>(0).argsz, needed);
    assert_eq!(arg.get::<RegionInfo>(0).cap_offset, 0);
    assert!(arg.bytes()[32..].iter().all(|byte| *byte == 0));
    // Enough, and more than enough.
    for room in [needed, needed + 64] {
        let arg = Arg::with_tail(&region_request(room, index), room as usize - 32);
        arg.send(device, get)?;
        let with_caps: RegionInfo = arg.get(0);
        assert_eq!(
            with_caps,
            RegionInfo {
                argsz: room,
                cap_offset: 32,
                ..info
            }
        );
    }
    // It says there is room, but there is none.
    fails(
        Arg::new(&region_request(needed, index)).send(device, get),
        Errno::FAULT,
    );
    Ok(())
}

fn F038_region_capabilities() -> TestResult {
    let igb = bench::bound_igb()?;
    let session = igb.open(uapi::TYPE1v2_IOMMU)?;
    let index = msix_region(&session.device)?;
    let region = session.device.region(index)?;
    // That each begins at a multiple of 8 behind the one before, `chain` checks.
    for cap in &region.caps {
        assert!(cap.offset >= 32, "capability {} at {}", cap.id, cap.offset);
    }
    assert!(region
        .caps
        .iter()
        .any(|cap| u32::from(cap.id) == uapi::REGION_INFO_CAP_MSIX_MAPPABLE && cap.version == 1));
    Ok(())
}

fn F038_unknown_request_goes_to_the_driver() -> TestResult {
    let open = bench::open()?;
    for number in [UNKNOWN, uapi::GROUP_GET_STATUS, uapi::GET_API_VERSION] {
        let result = request::with_number(&open.session.device, number, 0);
        fails_in(&format!("{number:#x}"), result, Errno::NOTTY);
    }
    Ok(())
}

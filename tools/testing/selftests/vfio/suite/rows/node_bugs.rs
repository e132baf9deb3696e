// SPDX-License-Identifier: GPL-2.0
//! What once was wrong, or still is, with device nodes and groups in an
//! iommufd.

use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use rustix::{
    fs::{FileType, Mode},
    io::Errno,
};
use vfio_selftests::{
    device::Device,
    edu::Edu,
    kvm::{self, Kvm},
    memory::Memory,
    module, node,
    request::Arg,
    target::{wait_for, Target},
    uapi::{self, DeviceBindIommufd},
    PAGE,
};

use super::noiommu;
use crate::{
    bench,
    check::fails,
    fixture::{abi, Fixture, Kind, Knob},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    R30_group_without_iommu_in_an_iommufd,
    R31_token_of_24_bytes,
    R39_second_bind_and_the_virtual_machine.holds(Holds::OnlyRustCore),
    R53_open_races_unregister,
    R55_detach_what_was_never_attached,
];

fn R30_group_without_iommu_in_an_iommufd() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let _allowed = noiommu::allow()?;
    let fixture = Fixture::open()?;
    let target = noiommu::device(&fixture)?;
    let untouched = || {
        for kind in [Kind::Bind, Kind::Attach, Kind::Detach, Kind::Unbind] {
            assert_eq!(target.count(kind)?, 0, "{kind:?}");
        }
        assert_eq!(target.status()?.open_count, 0);
        anyhow::Ok(())
    };
    for round in 1..4 {
        let group = noiommu::open_group(&target)?;
        group.set_container(&iommufd)?;
        let device = group.device(target.name())?;
        device.info()?;
        match round {
            1 => drop((device, group)),
            2 => drop((group, device)),
            _ => {
                group.unset_container()?;
                drop((device, group));
            }
        }
        assert_eq!(target.count(Kind::Open)?, round);
        target.wait_count(Kind::Closed, round)?;
        untouched()?;
    }
    // A session that does not begin.
    target.knob(Knob::OpenErrno, libc::EXDEV.into())?;
    let group = noiommu::open_group(&target)?;
    group.set_container(&iommufd)?;
    fails(group.device(target.name()), Errno::XDEV);
    untouched()
}

fn R31_token_of_24_bytes() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.build().flags(abi::TOKEN).create()?;
    let request = |token: &Arg| DeviceBindIommufd {
        flags: uapi::DEVICE_BIND_FLAG_TOKEN,
        token_uuid_ptr: token.address() as u64,
        ..node::bind_request(&iommufd)
    };
    for text in [b"first one, all 16", b"another, not one "] {
        // The token ends where accessible memory does.
        let token = Arg::from_bytes(&text[..16]);
        let device = target.open_by_node()?;
        Arg::new(&request(&token)).send(&device, uapi::DEVICE_BIND_IOMMUFD)?;
        let [seen] = target.events_of(Kind::Token)?[..] else {
            panic!("the driver was not asked once");
        };
        let head = text[..8].try_into().map(u64::from_ne_bytes)?;
        assert_eq!((seen.a, seen.b), (1, head));
    }
    // Whoever knows only the first 16 bytes of the structure has no token: its
    // address is zero, where nothing is.
    let token = Arg::zeroed(16);
    let mut bytes = vfio_selftests::request::bytes_of(&request(&token)).to_vec();
    bytes[..4].copy_from_slice(&16_u32.to_ne_bytes());
    let device = target.open_by_node()?;
    fails(
        Arg::from_bytes(&bytes).send(&device, uapi::DEVICE_BIND_IOMMUFD),
        Errno::FAULT,
    );
    assert_eq!(target.count(Kind::Token)?, 2);
    Ok(())
}

fn R39_second_bind_and_the_virtual_machine() -> TestResult {
    let iommufd = bench::iommufd()?;
    let kvm = Kvm::load()?;
    let fixture = Fixture::open()?;
    let idle = module::users(kvm::MODULE)?;
    let target = fixture.device()?;
    for in_another_machine in [false, true] {
        let machine = kvm.machine()?;
        let first = target.open_by_node()?;
        machine.add(&first)?;
        first.bind(&iommufd)?;
        let linked = target.status()?.kvm;
        assert_ne!(linked, 0, "the session has no virtual machine");

        let second = target.open_by_node()?;
        let other = match in_another_machine {
            true => {
                let other = kvm.machine()?;
                other.add(&second)?;
                Some(other)
            }
            false => None,
        };
        for _ in 0..3 {
            fails(second.bind(&iommufd), Errno::INVAL);
            assert_eq!(target.status()?.kvm, linked);
        }
        drop((second, other));
        assert_eq!(target.status()?.kvm, linked);
        first.info()?;
        // It has the file, too, until it is told to forget it. The session's
        // link is one of its own.
        machine.remove(&first)?;
        assert_eq!(target.status()?.kvm, linked);
        drop(first);
        assert_eq!(target.status()?.kvm, 0);
        drop(machine);
        // Each virtual machine keeps the module, and none is left behind.
        wait_for("the virtual machines", || {
            module::users(kvm::MODULE).is_ok_and(|users| users == idle)
        })?;
    }
    Ok(())
}

fn R53_open_races_unregister() -> TestResult {
    bench::iommufd()?;
    let fixture = Fixture::open()?;
    // A node of our own stays when the kernel removes its.
    let path = Path::new("/tmp/vfio-selftest-node");
    let opened = AtomicU32::new(0);
    for _ in 0..40 {
        let target = fixture.device()?;
        let number = std::fs::metadata(target.node_path()?)?.rdev();
        let _ = std::fs::remove_file(path);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            FileType::CharacterDevice,
            Mode::RUSR | Mode::WUSR,
            number,
        )?;
        let gone = AtomicBool::new(false);
        let opener = || {
            while !gone.load(Ordering::Relaxed) {
                match Device::open(path) {
                    Ok(device) => {
                        opened.fetch_add(1, Ordering::Relaxed);
                        fails(device.info(), Errno::INVAL);
                    }
                    // Before and after the number is given back.
                    Err(Errno::NODEV | Errno::NXIO) => {}
                    Err(error) => panic!("open: {error}"),
                }
            }
        };
        let before = opened.load(Ordering::Relaxed);
        thread::scope(|scope| {
            // Says so however this ends, or the threads would never.
            struct Gone<'a>(&'a AtomicBool);
            impl Drop for Gone<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let _gone = Gone(&gone);
            scope.spawn(opener);
            scope.spawn(opener);
            wait_for("the first open", || opened.load(Ordering::Relaxed) > before)?;
            target.unregister_later()?;
            target.wait_unregistered()
        })?;
        assert!(Device::open(path).is_err());
        target.remove()?;
    }
    std::fs::remove_file(path)?;
    Ok(())
}

fn R55_detach_what_was_never_attached() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let mtty = bench::mtty(1)?;
    let ioas = iommufd.ioas()?;
    let memory = Memory::anonymous(PAGE)?;
    let iova = 0x10_0000;
    iommufd.map(ioas, &memory, iova)?;

    let (emulated, _) = mtty.bind_to(&iommufd)?;
    let (device, _) = edu.bind_to(&iommufd)?;
    for device in [&emulated, &device] {
        device.detach()?;
        device.detach()?;
    }
    // Closing detaches as well.
    drop((emulated, device));
    let (emulated, _) = mtty.bind_to(&iommufd)?;
    let (device, _) = edu.bind_to(&iommufd)?;
    for device in [&emulated, &device] {
        device.detach()?;
        device.attach(ioas)?;
    }
    memory.write_u32(0, 0x5555);
    let driver = Edu::new(&device)?;
    driver.read_memory(iova, 4)?;
    driver.write_memory(iova + 8, 4)?;
    assert_eq!(memory.read_u32(8), 0x5555);
    // Its group, in an iommufd that has nothing to attach to.
    drop((emulated, device));
    let empty = bench::iommufd()?;
    let group = edu.open_group()?;
    group.set_container(&empty)?;
    empty.clear_compat_ioas()?;
    fails(group.device(edu.name()), Errno::NODEV);
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Devices that share an IOMMU group: drivers of the kernel that want one of
//! them while VFIO has the group (F169), and both leaving and coming back at
//! the same time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::io::Errno;
use vfio_selftests::{
    container::Container,
    edu::Edu,
    group::Group,
    kmsg,
    pci::PciDevice,
    sysfs,
    target::{Session, Target},
    uapi,
};

use crate::{
    bench,
    check::fails,
    harness::{self, rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F169_sibling_beside_a_container,
    F169_sibling_beside_a_group_in_an_iommufd,
    F169_sibling_beside_a_node,
    R27_last_device_leaves_while_another_comes.limit(120),
];

/// No driver of the kernel gets a device of the group.
#[track_caller]
fn refused(edu: &PciDevice) {
    match bench::kernel_driven_sibling(edu) {
        Ok(sibling) => panic!("a kernel driver took {}", sibling.name()),
        Err(error) => assert_eq!(sysfs::errno(&error), Some(Errno::BUSY), "{error:#}"),
    }
}

/// A driver of the kernel gets a device of the group; it is taken from it again.
fn allowed(edu: &PciDevice) -> TestResult {
    bench::kernel_driven_sibling(edu)?.unbind()
}

fn F169_sibling_beside_a_container() -> TestResult {
    let [edu, other] = bench::edu_pair()?;
    let edu = edu.bind()?;
    allowed(&edu)?;
    // To have the group open is not to own it.
    let group = edu.open_group()?;
    allowed(&edu)?;
    let container = Container::open()?;
    group.set_container(&container)?;
    refused(&edu);
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    refused(&edu);
    group.unset_container()?;
    allowed(&edu)?;

    // Whatever keeps the group in its container keeps the driver out.
    let Session {
        device,
        group,
        container,
    } = {
        drop((group, container));
        edu.open(uapi::TYPE1v2_IOMMU)?
    };
    drop((group, container));
    refused(&edu);
    assert_eq!(Edu::new(&device)?.factorial(5)?, 120);
    // A device of VFIO may come and go meanwhile.
    drop(other.bind()?);
    refused(&edu);
    drop(device);
    allowed(&edu)?;

    // It is there first: the group cannot be used, and later it can.
    let sibling = bench::kernel_driven_sibling(&edu)?;
    let group = Group::open_when_free(&edu.group_name()?)?;
    let container = Container::open()?;
    fails(group.set_container(&container), Errno::PERM);
    fails(group.device(edu.name()), Errno::INVAL);
    sibling.unbind()?;
    group.set_container(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    refused(&edu);
    assert_eq!(Edu::new(&group.device(edu.name())?)?.factorial(3)?, 6);
    // When the last device of VFIO leaves, the group is the kernel's again.
    edu.unbind()?;
    fails(group.status(), Errno::NODEV);
    allowed(&edu)
}

fn F169_sibling_beside_a_group_in_an_iommufd() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let [edu, _] = bench::edu_pair()?;
    let edu = edu.bind()?;
    let group = edu.open_group()?;
    group.set_container(&iommufd)?;
    // With an iommufd the group is owned while a device is open.
    allowed(&edu)?;
    let device = group.device(edu.name())?;
    refused(&edu);
    drop(device);
    allowed(&edu)?;
    let sibling = bench::kernel_driven_sibling(&edu)?;
    // That there is an iommufd is all that this tells.
    let both = uapi::GROUP_FLAGS_VIABLE | uapi::GROUP_FLAGS_CONTAINER_SET;
    assert_eq!(group.status()?, both);
    fails(group.device(edu.name()), Errno::PERM);
    sibling.unbind()?;
    let device = group.device(edu.name())?;
    assert_eq!(Edu::new(&device)?.factorial(3)?, 6);
    drop(group);
    refused(&edu);
    drop(device);
    allowed(&edu)
}

fn F169_sibling_beside_a_node() -> TestResult {
    let iommufd = bench::iommufd()?;
    let [edu, _] = bench::edu_pair()?;
    let edu = edu.bind()?;
    let device = edu.open_by_node()?;
    allowed(&edu)?;
    device.bind(&iommufd)?;
    refused(&edu);
    drop(device);
    allowed(&edu)?;
    let sibling = bench::kernel_driven_sibling(&edu)?;
    let device = edu.open_by_node()?;
    fails(device.bind(&iommufd), Errno::PERM);
    sibling.unbind()?;
    // The same file works now.
    device.bind(&iommufd)?;
    assert_eq!(Edu::new(&device)?.factorial(3)?, 6);
    refused(&edu);
    Ok(())
}

/// Each of two devices goes to VFIO and back, again and again. The name of the
/// group goes with the last one and comes with the first one, so that it must
/// be gone before it comes.
fn R27_last_device_leaves_while_another_comes() -> TestResult {
    let edus = bench::edu_pair()?;
    let mut log = kmsg::Log::from_now()?;
    let number = edus[0].iommu_group().expect("an IOMMU group");
    let class = format!("/sys/class/vfio/{number}");
    let stop = AtomicBool::new(false);
    let times = if harness::slow() > 1 { 20 } else { 80 };
    let gone = thread::scope(|scope| -> anyhow::Result<u32> {
        let threads = edus.each_ref().map(|edu| {
            scope.spawn(move || -> TestResult {
                for _ in 0..times {
                    let bound = edu.bind()?;
                    bound.unbind()?;
                }
                Ok(())
            })
        });
        let watcher = scope.spawn(|| {
            let (mut gone, mut there) = (0, false);
            while !stop.load(Ordering::Relaxed) {
                let now = std::fs::exists(&class).unwrap_or(false);
                gone += u32::from(there && !now);
                there = now;
                thread::yield_now();
            }
            gone
        });
        let results = threads.map(|thread| thread.join());
        // First of all, or the watcher would never end.
        stop.store(true, Ordering::Relaxed);
        for result in results {
            result.expect("a thread that binds")?;
        }
        Ok(watcher.join().expect("the watcher"))
    })?;
    assert!(gone > 0, "the group never went: there was no race");
    let twice = log.with(&["duplicate filename"])?;
    assert!(twice.is_empty(), "{twice:?}");

    // Both are in one group again, as if nothing had been.
    let [a, b] = edus;
    let (a, b) = (a.bind()?, b.bind()?);
    let session = a.open(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(Edu::new(&session.device)?.factorial(4)?, 24);
    let second = session.group.device(b.name())?;
    assert_eq!(Edu::new(&second)?.factorial(3)?, 6);
    Ok(())
}

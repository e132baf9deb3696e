// SPDX-License-Identifier: GPL-2.0
//! Why VFIO refuses something, in the kernel log: rows F243 (groups, containers, devices), F244
//! (memory) and F245 (who keeps a device from going). Only our modules say it.

use std::{thread, time::Duration};

use rustix::{io::Errno, thread::CapabilitySet};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    group::Group,
    kmsg::Log,
    memory::Memory,
    module::{self, Parameter},
    process::{self, in_child},
    target::{wait_for, Target},
    uapi, PAGE,
};

use super::{map::IOVA, observe::me, teardown::begin_unbind};
use crate::{
    bench,
    check::fails,
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F243_group_that_is_open.holds(Holds::OnlyRustCore),
    F243_group_and_node.holds(Holds::OnlyRustCore),
    F243_driver_of_a_sibling.holds(Holds::OnlyRustCore),
    F243_order_of_requests.holds(Holds::OnlyRustCore),
    F243_node.holds(Holds::OnlyRustCore),
    F244_addresses.holds(Holds::OnlyRustType1),
    F244_limits.holds(Holds::OnlyRustType1),
    F244_flood.holds(Holds::OnlyRustType1),
    F245_who_keeps_a_device.holds(Holds::OnlyRustCore),
];

const PAGE64: u64 = PAGE as u64;
/// The level of these messages: notice.
const NOTICE: u8 = 5;
/// After this time the kernel has forgotten how many messages there were.
const FORGOTTEN: Duration = Duration::from_secs(6);

/// What the log says of refusals.
struct Refusals(Log);

impl Refusals {
    fn from_now() -> anyhow::Result<Self> {
        Ok(Self(Log::from_now()?))
    }

    /// Whether the request fails, and the log says why, once: with the errno and all these words.
    ///
    /// Other tests may just have had as many refusals of this kind as the log takes; then it tries
    /// once more when they are forgotten.
    #[track_caller]
    fn after(
        &mut self,
        request: impl Fn() -> rustix::io::Result<()>,
        error: Errno,
        words: &[&str],
    ) -> TestResult {
        let number = format!(": error -{}: ", error.raw_os_error());
        fails(request(), error);
        let mut told = self.0.with(&[&number])?;
        if told.is_empty() {
            thread::sleep(FORGOTTEN);
            fails(request(), error);
            told = self.0.with(&[&number])?;
        }
        let [message] = &told[..] else {
            panic!("not one message: {told:?}");
        };
        assert_eq!(message.level, NOTICE, "{message:?}");
        for word in words {
            assert!(message.text.contains(word), "{word} is not in {message:?}");
        }
        Ok(())
    }
}

fn F243_group_that_is_open() -> TestResult {
    let edu = bench::bound_edu()?;
    let number = edu.group_name()?;
    let _group = edu.open_group()?;
    let parent = me();
    in_child(|| {
        let mut log = Refusals::from_now()?;
        log.after(
            || Group::open(&number).map(drop),
            Errno::BUSY,
            &[
                "vfio: ",
                &me(),
                &format!("group {number} is open already, by {parent}"),
            ],
        )
    })
}

fn F243_group_and_node() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let number = edu.group_name()?;
    let group = edu.open_group()?;
    let mut log = Refusals::from_now()?;
    let node = edu.open_by_node()?;
    log.after(
        || node.bind(&iommufd).map(drop),
        Errno::BUSY,
        &["is open already", &me()],
    )?;
    drop(group);
    node.bind(&iommufd)?;
    log.after(
        || Group::open(&number).map(drop),
        Errno::BUSY,
        &["open by its node", &me()],
    )
}

fn F243_driver_of_a_sibling() -> TestResult {
    let [edu, _] = bench::edu_pair()?;
    let edu = edu.bind()?;
    let sibling = bench::kernel_driven_sibling(&edu)?;
    let driver = sibling.driver().expect("a driver");
    let group = edu.open_group()?;
    let container = Container::open()?;
    let mut log = Refusals::from_now()?;
    log.after(
        || group.set_container(&container),
        Errno::PERM,
        &[
            "not viable",
            sibling.name(),
            &format!("the driver {driver}"),
        ],
    )?;
    sibling.unbind()?;
    group.set_container(&container)?;
    Ok(())
}

fn F243_order_of_requests() -> TestResult {
    let edu = bench::bound_edu()?;
    let number = edu.group_name()?;
    let group = edu.open_group()?;
    let container = Container::open()?;
    let null = std::fs::File::open("/dev/null")?;
    let mut log = Refusals::from_now()?;
    log.after(
        || group.device(edu.name()).map(drop),
        Errno::INVAL,
        &[&number, "SET_CONTAINER comes first"],
    )?;
    log.after(
        || container.set_iommu(uapi::TYPE1v2_IOMMU),
        Errno::INVAL,
        &["after SET_CONTAINER"],
    )?;
    log.after(
        || container.info().map(drop),
        Errno::INVAL,
        &["SET_IOMMU comes first"],
    )?;
    log.after(
        || group.set_container(&null),
        Errno::BADFD,
        &["neither /dev/vfio/vfio nor /dev/iommu"],
    )?;
    group.set_container(&container)?;
    log.after(
        || group.set_container(&container),
        Errno::INVAL,
        &[&number, "already"],
    )?;
    log.after(
        || group.device(edu.name()).map(drop),
        Errno::INVAL,
        &["SET_IOMMU comes first"],
    )?;
    log.after(|| container.set_iommu(4), Errno::NODEV, &["type 4"])?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    log.after(
        || group.device("0000:ff:1f.7").map(drop),
        Errno::NODEV,
        &[&number, "no device of this name"],
    )?;
    let device = group.device(edu.name())?;
    log.after(|| group.unset_container(), Errno::BUSY, &["are open"])?;
    drop(device);
    group.unset_container()?;
    Ok(())
}

fn F243_node() -> TestResult {
    let iommufd = bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let unbound = edu.open_by_node()?;
    let mut log = Refusals::from_now()?;
    log.after(
        || unbound.info().map(drop),
        Errno::INVAL,
        &[edu.name(), "BIND_IOMMUFD comes first"],
    )?;
    let (_bound, _) = edu.bind_to(&iommufd)?;
    log.after(
        || unbound.bind(&iommufd).map(drop),
        Errno::INVAL,
        &[edu.name(), "open by another file"],
    )
}

fn F244_addresses() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    let map = |iova| container.map(&memory, iova);
    let mut log = Refusals::from_now()?;

    map(IOVA)?;
    log.after(
        || map(IOVA + PAGE64),
        Errno::EXIST,
        &[
            "vfio_iommu_type1: ",
            &me(),
            "0x101000-0x104fff overlaps",
            "0x100000-0x103fff",
        ],
    )?;
    log.after(
        || container.unmap(IOVA, PAGE64).map(drop),
        Errno::INVAL,
        &["0x100000-0x100fff", "part of the mapping 0x100000-0x103fff"],
    )?;
    log.after(|| map(IOVA + 0x10_0001), Errno::INVAL, &["iova 0x200001"])?;
    log.after(
        || map(0xfee0_0000),
        Errno::INVAL,
        &["0xfee00000-0xfee03fff has addresses that are reserved"],
    )?;
    let ranges = container.info()?.iova_ranges().expect("ranges");
    let last = ranges.last().expect("a range").end;
    if let Some(above) = last
        .checked_add(1)
        .filter(|above| *above < u64::MAX - 4 * PAGE64)
    {
        log.after(
            || map(above),
            Errno::INVAL,
            &["is outside of", &format!("{last:#x}")],
        )?;
    }
    let hole = Memory::inaccessible(PAGE)?;
    log.after(
        || container.map(&hole, 3 * IOVA),
        Errno::FAULT,
        &["4096 bytes", &format!("{:#x}", hole.address()), "writable"],
    )?;
    log.after(
        || container.map_raw(READ_WRITE | 64, 0, 4 * IOVA, PAGE64),
        Errno::INVAL,
        &["argsz 32", "flags 0x43"],
    )
}

fn F244_limits() -> TestResult {
    let limit = Parameter::set(module::TYPE1, "dma_entry_limit", "1")?;
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    drop(limit);
    let memory = Memory::anonymous(16 * PAGE)?;
    let mut log = Refusals::from_now()?;
    container.map(&memory, IOVA)?;
    log.after(
        || container.map(&memory, 2 * IOVA),
        Errno::NOSPC,
        &["dma_entry_limit"],
    )?;
    container.unmap_all()?;
    in_child(|| {
        process::drop_capability(CapabilitySet::IPC_LOCK)?;
        process::limit_locked(15 * PAGE64)?;
        let mut log = Refusals::from_now()?;
        log.after(
            || container.map(&memory, IOVA),
            Errno::NOMEM,
            &[&me(), "64 KiB", "besides 0 KiB", "RLIMIT_MEMLOCK is 60 KiB"],
        )
    })
}

/// Who tries again and again does not fill the log.
fn F244_flood() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    thread::sleep(FORGOTTEN);
    let mut log = Log::from_now()?;
    for _ in 0..1000 {
        fails(session.container.map_raw(0, 0, IOVA, PAGE64), Errno::INVAL);
    }
    let told = log.with(&["vfio_iommu_type1: ", ": error -22: "])?.len();
    assert!((10..=30).contains(&told), "{told} messages");
    Ok(())
}

fn F245_who_keeps_a_device() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let mut log = Log::from_now()?;
    let child = begin_unbind(&edu, &session.device)?;
    let expected = format!("waits until {} closes the device", me());
    wait_for("a message", || {
        log.with(&[edu.name(), &expected])
            .is_ok_and(|told| !told.is_empty())
    })?;
    drop(session);
    child.join()
}

// SPDX-License-Identifier: GPL-2.0
//! What one can see of VFIO: fdinfo (F240), debugfs (F241), tracepoints (F242). Only our modules
//! show it.

use std::{collections::BTreeMap, fs, os::fd::AsFd, path::Path};

use rustix::io::Errno;
use vfio_selftests::{
    config,
    container::{Container, READ_WRITE},
    device::Device,
    group::Group,
    memory::Memory,
    process, sysfs,
    target::{Session, Target},
    trace::Trace,
    uapi, PAGE,
};

use super::{
    map::IOVA,
    map_fuse::{fuse, mapper, GOOD},
};
use crate::{
    bench,
    check::fails,
    emulated::BOTH,
    fixture::{abi, Fixture, Knob},
    harness::{rows, skip, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F240_container.holds(Holds::OnlyRustCore),
    F240_container_with_a_type1.holds(Holds::OnlyRustType1),
    F240_container_is_busy.holds(Holds::OnlyRustType1),
    F240_group.holds(Holds::OnlyRustCore),
    F240_device.holds(Holds::OnlyRustCore),
    F241_lists.holds(Holds::OnlyRustCore),
    F242_core.holds(Holds::OnlyRustCore),
    F242_node.holds(Holds::OnlyRustCore),
    F242_memory.holds(Holds::OnlyRustType1),
];

const PAGE64: u64 = PAGE as u64;

/// The lines of VFIO in the fdinfo of a file.
pub(super) fn lines(file: impl AsFd) -> anyhow::Result<BTreeMap<String, String>> {
    Ok(pairs(&process::fdinfo(file)?))
}

/// The lines that begin with `vfio-`, as pairs.
fn pairs(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| line.starts_with("vfio-"))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Whether these lines say that.
#[track_caller]
fn say(lines: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        let found = lines.get(*key).map(String::as_str);
        assert_eq!(found, Some(*value), "{key} in {lines:?}");
    }
}

/// This test, as the kernel names a task.
pub(super) fn me() -> String {
    format!("vfio-selftests:{}", std::process::id())
}

fn F240_container() -> TestResult {
    let container = Container::open()?;
    let empty = lines(&container)?;
    say(&empty, &[("vfio-container-backend", "none")]);
    assert_eq!(empty.len(), 2, "{empty:?}");
    let number: u64 = empty["vfio-container"].parse()?;
    let later = lines(Container::open()?)?;
    assert!(
        later["vfio-container"].parse::<u64>()? > number,
        "{later:?}"
    );

    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let set = lines(&session.container)?;
    say(&set, &[("vfio-container-backend", "vfio-iommu-type1")]);
    Ok(())
}

fn F240_container_with_a_type1() -> TestResult {
    if lines(Container::open()?)?.is_empty() {
        return skip("the C core does not ask");
    }
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let left = container.info()?.dma_avail().expect("a number");
    let memory = Memory::anonymous(8 * PAGE)?;
    memory.fill(1);
    let expect = |mappings: u32, pages: u64, tracked: &str| -> TestResult {
        let bytes = (pages * PAGE64).to_string();
        say(
            &lines(container)?,
            &[
                ("vfio-type1-version", "2"),
                ("vfio-mappings", &mappings.to_string()),
                ("vfio-mapped-bytes", &bytes),
                ("vfio-pinned-bytes", &bytes),
                ("vfio-entries-left", &(left - mappings).to_string()),
                ("vfio-driver-pins", "0"),
                ("vfio-domains", "1"),
                ("vfio-dirty-tracking", tracked),
            ],
        );
        Ok(())
    };
    expect(0, 0, "off")?;
    assert!(!lines(container)?.contains_key("vfio-account-owner"));
    container.map(&memory, IOVA)?;
    container.map_part(&memory, 0, PAGE, 2 * IOVA, READ_WRITE)?;
    expect(2, 9, "off")?;
    say(&lines(container)?, &[("vfio-account-owner", &me())]);
    // What fails changes nothing.
    let hole = Memory::inaccessible(PAGE)?;
    fails(container.map(&hole, 3 * IOVA), Errno::FAULT);
    expect(2, 9, "off")?;
    container.dirty_start()?;
    expect(2, 9, "on")?;
    container.dirty_stop()?;
    container.unmap(IOVA, 8 * PAGE64)?;
    expect(1, 1, "off")?;
    container.unmap_all()?;
    expect(0, 0, "off")?;

    // Only what drivers pin is locked where nothing else needs it.
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let Session { container, .. } = &target.open(uapi::TYPE1v2_IOMMU)?;
    container.map(&memory, IOVA)?;
    let pinned = |pages: u64| -> TestResult {
        let bytes = (pages * PAGE64).to_string();
        say(
            &lines(container)?,
            &[
                ("vfio-mapped-bytes", &(8 * PAGE64).to_string()),
                ("vfio-pinned-bytes", &bytes),
                ("vfio-driver-pins", &pages.to_string()),
                ("vfio-domains", "0"),
            ],
        );
        Ok(())
    };
    pinned(0)?;
    target.pin(IOVA, 3, BOTH)?;
    pinned(3)?;
    target.pin(IOVA + 4 * PAGE64, 1, BOTH)?;
    pinned(4)?;
    target.unpin(IOVA)?;
    pinned(1)?;
    target.unpin(IOVA + 4 * PAGE64)?;
    pinned(0)
}

/// Who looks does not wait for memory that does not come.
fn F240_container_is_busy() -> TestResult {
    if lines(Container::open()?)?.is_empty() {
        return skip("the C core does not ask");
    }
    let fuse = fuse()?;
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let child = mapper(&fuse, &session.container, GOOD)?;
    let busy = lines(&session.container);
    fuse.stall(false);
    child.join()?;
    say(&busy?, &[("vfio-busy", "yes")]);
    say(&lines(&session.container)?, &[("vfio-mappings", "1")]);
    Ok(())
}

fn F240_group() -> TestResult {
    let edu = bench::bound_edu()?;
    let number = edu.group_name()?;
    let group = edu.open_group()?;
    let alone = lines(&group)?;
    say(
        &alone,
        &[
            ("vfio-group", &number),
            ("vfio-type", "iommu"),
            ("vfio-attached", "none"),
            ("vfio-opened-by", &me()),
        ],
    );
    let container = Container::open()?;
    group.set_container(&container)?;
    say(
        &lines(&group)?,
        &[
            ("vfio-attached", "container"),
            ("vfio-container", &lines(&container)?["vfio-container"]),
        ],
    );
    group.unset_container()?;
    assert_eq!(lines(&group)?, alone);
    drop(group);
    // No name of a task is a line of its own.
    rustix::thread::set_name(c"a\nvfio-group: 77")?;
    let group = edu.open_group()?;
    let named = lines(&group)?;
    say(&named, &[("vfio-group", &number)]);
    assert!(
        named["vfio-opened-by"].starts_with("a\\nvfio-"),
        "{named:?}"
    );
    if !config::has("IOMMUFD")? {
        return Ok(());
    }
    let iommufd = bench::iommufd_for_groups()?;
    group.set_container(&iommufd)?;
    say(&lines(&group)?, &[("vfio-attached", "iommufd")]);
    Ok(())
}

fn F240_device() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    // A device without migration shows what C shows.
    let shown = lines(&session.device)?;
    let keys: Vec<&String> = shown.keys().collect();
    assert_eq!(keys, ["vfio-device-syspath"]);

    let fixture = Fixture::open()?;
    let target = fixture
        .build()
        .flags(abi::MIGRATION)
        .knob(Knob::MigFlags, uapi::MIGRATION_STOP_COPY as i64)
        .create()?;
    let moving = target.open(uapi::TYPE1v2_IOMMU)?;
    let state = |device: &Device| -> anyhow::Result<Option<String>> {
        Ok(lines(device)?.remove("vfio-migration-state"))
    };
    assert_eq!(state(&moving.device)?.as_deref(), Some("RUNNING"));
    drop(moving.device.set_migration_state(uapi::DEVICE_STATE_STOP)?);
    assert_eq!(state(&moving.device)?.as_deref(), Some("STOP"));
    drop(moving);
    if !config::has("VFIO_DEVICE_CDEV")? {
        return Ok(());
    }
    // By its node the driver is asked once it is open.
    let node = target.open_by_node()?;
    assert_eq!(state(&node)?, None);
    node.bind(&bench::iommufd()?)?;
    assert_eq!(state(&node)?.as_deref(), Some("STOP"));
    Ok(())
}

const LISTS: &str = "/sys/kernel/debug/vfio";

fn F241_lists() -> TestResult {
    if !config::has("VFIO_DEBUGFS")? {
        return skip("this kernel has no CONFIG_VFIO_DEBUGFS");
    }
    let edus = bench::two_bound_edus()?;
    let container = Container::open()?;
    let groups = [edus[0].join(&container)?, edus[1].join(&container)?];
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let device = groups[0].device(edus[0].name())?;
    let file = |name: &str| sysfs::read(Path::new(LISTS).join(name));
    let blocks =
        |text: String| -> Vec<BTreeMap<String, String>> { text.split("\n\n").map(pairs).collect() };
    let id = &lines(&container)?["vfio-container"];
    let list = blocks(file("groups")?);
    for (edu, files) in edus.iter().zip([1, 0]) {
        let number = edu.group_name()?;
        let block = list
            .iter()
            .find(|block| block.get("vfio-group") == Some(&number));
        say(
            block.expect("the group is there"),
            &[
                ("vfio-attached", "container"),
                ("vfio-container", id),
                ("vfio-opened-by", &me()),
                ("vfio-device", &format!("{} files {files}", edu.name())),
            ],
        );
    }
    // Both groups are in it, and it is there once.
    let count = |text: String| {
        blocks(text)
            .iter()
            .filter(|b| b.get("vfio-container") == Some(id))
            .count()
    };
    assert_eq!(count(file("containers")?), 1);
    drop(device);
    drop(groups);
    assert_eq!(count(file("containers")?), 0);
    let mode = fs::metadata(Path::new(LISTS).join("groups"))?;
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o400
    );
    Ok(())
}

/// The tracepoints of VFIO while a test runs.
struct Events(Trace);

impl Events {
    fn begin() -> anyhow::Result<Self> {
        match Trace::begin("vfio")? {
            Some(trace) => Ok(Self(trace)),
            None if Path::new("/sys/kernel/tracing").exists() => anyhow::bail!("no tracepoints"),
            None => skip("this kernel has no tracing"),
        }
    }

    /// Whether an event begins like this.
    #[track_caller]
    fn has(&self, event: &str) -> TestResult {
        let events = self.0.events()?;
        assert!(
            events.iter().any(|e| e.starts_with(event)),
            "{event} is not among {events:#?}"
        );
        Ok(())
    }
}

fn F242_core() -> TestResult {
    let edu = bench::bound_edu()?;
    let (name, number) = (edu.name(), edu.group_name()?);
    let trace = Events::begin()?;
    drop(edu.open(uapi::TYPE1v2_IOMMU)?);
    for event in ["open", "attach", "close", "detach"] {
        trace.has(&format!("vfio_group_{event}: group={number} error=0"))?;
    }
    for event in ["open", "close"] {
        trace.has(&format!("vfio_device_{event}: device={name} error=0"))?;
    }
    // A refusal, with its reason.
    let group = edu.open_group()?;
    fails(Group::open(&number).map(drop), Errno::BUSY);
    drop(group);
    trace.has(&format!(
        "vfio_refused: reason=group-open error=-16: group {number} is open"
    ))?;

    let fixture = Fixture::open()?;
    let target = fixture
        .build()
        .flags(abi::MIGRATION)
        .knob(Knob::MigFlags, uapi::MIGRATION_STOP_COPY as i64)
        .create()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(4 * PAGE)?;
    session.container.map(&memory, IOVA)?;
    target.pin(IOVA, 3, BOTH)?;
    target.unpin(IOVA)?;
    trace.has(&format!(
        "vfio_pin: device={} iova={IOVA:#x} count=3 ret=3",
        target.name()
    ))?;
    trace.has(&format!(
        "vfio_unpin: device={} iova={IOVA:#x} count=3",
        target.name()
    ))?;
    drop(
        session
            .device
            .set_migration_state(uapi::DEVICE_STATE_STOP)?,
    );
    trace.has(&format!(
        "vfio_migration_state: device={} state=STOP error=0",
        target.name()
    ))?;
    trace.has(&format!(
        "vfio_feature: device={} feature={} SET ret=0",
        target.name(),
        uapi::DEVICE_FEATURE_MIG_DEVICE_STATE
    ))?;
    Ok(())
}

fn F242_node() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.name();
    let trace = Events::begin()?;
    let iommufd = bench::iommufd()?;
    let ioas = iommufd.ioas()?;
    let (device, _) = edu.bind_to(&iommufd)?;
    device.attach(ioas)?;
    device.detach()?;
    drop(device);
    trace.has(&format!("vfio_cdev_open: device={name} error=0"))?;
    trace.has(&format!("vfio_bind: device={name} iommufd="))?;
    trace.has(&format!("vfio_device_attach: device={name} pasid=-1 pt="))?;
    trace.has(&format!("vfio_device_detach: device={name} pasid=-1"))?;
    trace.has(&format!("vfio_cdev_close: device={name} error=0"))
}

fn F242_memory() -> TestResult {
    let edu = bench::bound_edu()?;
    let number = edu.group_name()?;
    let trace = Events::begin()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = Memory::anonymous(2 * PAGE)?;
    let vaddr = memory.address();
    container.map(&memory, IOVA)?;
    fails(container.map(&memory, IOVA), Errno::EXIST);
    container.dirty_start()?;
    container.dirty_stop()?;
    container.unmap(IOVA, 2 * PAGE64)?;
    drop(session);
    trace.has(&format!(
        "vfio_domain_attach: group={number} domains=1 error=0"
    ))?;
    trace.has(&format!(
        "vfio_map: iova={IOVA:#x} size=0x2000 vaddr={vaddr:#x} READ|WRITE error=0"
    ))?;
    trace.has(&format!(
        "vfio_map: iova={IOVA:#x} size=0x2000 vaddr={vaddr:#x} READ|WRITE error=-17"
    ))?;
    trace.has("vfio_dma_refused: reason=overlap error=-17: ")?;
    trace.has("vfio_dirty: START iova=0x0 size=0x0 error=0")?;
    trace.has("vfio_dirty: STOP iova=0x0 size=0x0 error=0")?;
    trace.has(&format!("vfio_unmap: iova={IOVA:#x} size=0x2000"))?;
    trace.has(&format!(
        "vfio_unmap_done: iova={IOVA:#x} size=0x2000 unmapped=0x2000 error=0"
    ))?;
    trace.has(&format!(
        "vfio_domain_detach: group={number} domains=0 error=0"
    ))
}

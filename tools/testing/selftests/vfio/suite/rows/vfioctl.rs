// SPDX-License-Identifier: GPL-2.0
//! `vfioctl`, the program for those who run machines: rows F230 to F234. What it makes of
//! other machines than this one is tested on the host, in `tools/vfioctl/tests`.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{self, Command},
};

use anyhow::Context;
use vfio_selftests::{
    container::READ_WRITE,
    kmsg,
    memory::Memory,
    pci::{PciDevice, VFIO_PCI},
    process as selves, sysfs,
    target::Target,
    uapi,
};

use super::map::IOVA;
use crate::{
    bench,
    harness::{rows, Impl, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F230_list_tells_of_a_device,
    F230_list_tells_who_holds_it,
    F230_list_without_rights,
    F231_bind_and_unbind,
    F231_bind_takes_the_whole_group,
    F231_bind_is_undone,
    F231_bind_is_remembered,
    F231_bind_needs_root,
    F232_why_a_device_cannot_be_used,
    F232_why_a_group_cannot_be_used,
    F232_why_not_for_this_user,
    F233_watch_shows_memory,
    F234_doctor_knows_the_modules,
];

const PROGRAM: &str = "vfioctl";
/// What reads at boot what is stored, where it is installed.
const SERVICE: &str = "/usr/lib/systemd/system/vfioctl-restore.service";
const NOBODY: u32 = 65534;
/// A driver that is always in the kernel, and takes no edu device.
const SERIAL: &str = "serial";

/// What the program said.
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

fn run(program: &mut Command) -> anyhow::Result<Said> {
    let output = program.output().context("run vfioctl")?;
    let said = Said {
        status: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    };
    println!("{program:?}: {:?}\n{}{}", said.status, said.out, said.err);
    Ok(said)
}

fn vfioctl(args: &[&str]) -> anyhow::Result<Said> {
    run(Command::new(PROGRAM).args(args))
}

/// The same as a user without any rights.
fn as_nobody(args: &[&str]) -> anyhow::Result<Said> {
    run(Command::new(PROGRAM).args(args).uid(NOBODY).gid(NOBODY))
}

/// It must have ended with this status, and said this in its output or its error.
#[track_caller]
fn says(said: &Said, status: i32, words: &str) {
    assert_eq!(said.status, Some(status));
    assert!(
        said.out.contains(words) || said.err.contains(words),
        "not said: {words}"
    );
}

/// The values that JSON has for a key, each as it is written there. Every one has a line of
/// its own.
fn values<'a>(json: &'a str, key: &str) -> Vec<&'a str> {
    let key = format!("\"{key}\": ");
    let lines = json.lines().map(|line| line.trim().trim_end_matches(','));
    lines.filter_map(|line| line.strip_prefix(&key)).collect()
}

/// The only value of a key.
#[track_caller]
fn value<'a>(json: &'a str, key: &str) -> &'a str {
    match values(json, key)[..] {
        [value] => value,
        ref other => panic!("{key}: {other:?}"),
    }
}

/// What `list` has of a device.
fn listed(device: &impl Target) -> anyhow::Result<String> {
    let said = vfioctl(&["list", "--json", device.name()])?;
    assert_eq!(value(&said.out, "name"), quoted(device.name()));
    Ok(said.out)
}

fn quoted(text: impl std::fmt::Display) -> String {
    format!("\"{text}\"")
}

/// The number and the name of this process must be those of the only holder.
#[track_caller]
fn is_mine(listed: &str) {
    assert_eq!(value(listed, "pid"), process::id().to_string());
    let comm = sysfs::read("/proc/self/comm").expect("a name");
    assert_eq!(value(listed, "comm"), quoted(comm));
}

/// It must have no holder.
#[track_caller]
fn is_free(listed: &str) {
    assert_eq!(value(listed, "holders"), "[]");
}

/// The only driver that may have a device: `(null)` if any may.
fn only(device: &PciDevice) -> anyhow::Result<String> {
    sysfs::read(device.sysfs().join("driver_override"))
}

fn F230_list_tells_of_a_device() -> TestResult {
    let edu = bench::edu()?;
    let group = edu.iommu_group().context("no group")?.to_string();
    let found = listed(&edu)?;
    let is = |found: &str, expected: &[(&str, &str)]| {
        for (key, text) in expected {
            assert_eq!(value(found, key), *text, "{key}");
        }
    };
    is(
        &found,
        &[
            ("bus", &quoted("pci")),
            ("id", &quoted("1234:11e8")),
            ("group", &group),
            ("driver", "null"),
            ("driver_override", "null"),
            ("group_node", "null"),
            ("viable", "true"),
        ],
    );
    assert_ne!(value(&found, "iommu"), "null");

    let edu = edu.bind()?;
    let node = format!("/dev/vfio/{}", edu.group_name()?);
    is(
        &listed(&edu)?,
        &[
            ("driver", &quoted(VFIO_PCI)),
            ("driver_override", &quoted(VFIO_PCI)),
            ("vfio", &quoted(edu.vfio_name().context("no name")?)),
            ("group_node", &quoted(node)),
        ],
    );

    // All devices: this one is among them, with the others.
    let all = vfioctl(&["list", "--json"])?;
    let names = values(&all.out, "name");
    for device in PciDevice::all() {
        assert!(names.contains(&quoted(device.name()).as_str()));
    }

    // A device in a group to which the kernel's driver clings.
    let [edu, _] = bench::edu_pair()?;
    assert_eq!(value(&listed(&edu)?, "viable"), "true");
    let sibling = bench::kernel_driven_sibling(&edu)?;
    let found = listed(&edu)?;
    assert_eq!(value(&found, "viable"), "false");
    assert_eq!(value(&found, "device"), quoted(sibling.name()));
    assert_eq!(values(&found, "driver"), ["null", &quoted(SERIAL)]);
    sibling.unbind()
}

fn F230_list_tells_who_holds_it() -> TestResult {
    let [edu, other] = bench::two_bound_edus()?;
    is_free(&listed(&edu)?);
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    is_mine(&listed(&edu)?);
    is_free(&listed(&other)?);
    // The device alone has no path, but its file tells what it is.
    drop((session.group, session.container));
    is_mine(&listed(&edu)?);
    drop(session.device);
    is_free(&listed(&edu)?);
    let group = edu.open_group()?;
    is_mine(&listed(&edu)?);
    drop(group);
    if value(&listed(&edu)?, "node") != "null" {
        let device = edu.open_by_node()?;
        is_mine(&listed(&edu)?);
        drop(device);
    }
    is_free(&listed(&edu)?);
    Ok(())
}

fn F230_list_without_rights() -> TestResult {
    let said = as_nobody(&["list"])?;
    says(&said, 0, "only root sees who holds a device");
    says(&said, 0, bench::edu()?.name());
    let said = vfioctl(&["list"])?;
    assert!(!said.out.contains("only root"));
    says(
        &vfioctl(&["list", "0000:00:1f.7"])?,
        2,
        "there is no device",
    );
    Ok(())
}

fn F231_bind_and_unbind() -> TestResult {
    let edu = bench::edu()?;
    let name = edu.name();
    let free = |edu: &PciDevice| -> TestResult {
        assert_eq!((edu.driver(), only(edu)?.as_str()), (None, "(null)"));
        Ok(())
    };
    let said = vfioctl(&["bind", "--dry-run", name])?;
    says(
        &said,
        0,
        &format!("echo {name} >/sys/bus/pci/drivers_probe"),
    );
    free(&edu)?;

    let group = edu.iommu_group().context("no group")?;
    let node = format!("/dev/vfio/{group}");
    says(&vfioctl(&["bind", name])?, 0, &node);
    assert_eq!(edu.driver().as_deref(), Some(VFIO_PCI));
    assert_eq!(only(&edu)?, VFIO_PCI);
    assert!(Path::new(&node).exists());
    says(&vfioctl(&["bind", name])?, 0, "nothing to do");

    // What it would wait for it refuses.
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let me = format!("held by {}", process::id());
    says(&vfioctl(&["unbind", name])?, 2, &me);
    drop((session.group, session.container));
    says(&vfioctl(&["unbind", name])?, 2, &me);
    drop(session.device);
    says(
        &vfioctl(&["unbind", "--dry-run", name])?,
        0,
        "echo >/sys/bus",
    );
    assert_eq!(edu.driver().as_deref(), Some(VFIO_PCI));
    says(&vfioctl(&["unbind", name])?, 0, "vfio-pci -> no driver");
    free(&edu)?;
    says(&vfioctl(&["unbind", name])?, 0, "nothing to do");

    // The group's number does as well.
    vfioctl(&["bind", &group.to_string()])?;
    assert_eq!(edu.driver().as_deref(), Some(VFIO_PCI));
    vfioctl(&["unbind", &group.to_string()])?;
    free(&edu)
}

fn F231_bind_takes_the_whole_group() -> TestResult {
    let [edu, other] = bench::edu_pair()?;
    let sibling = bench::kernel_driven_sibling(&edu)?;
    let drivers = || [&edu, &other, &sibling].map(PciDevice::driver);
    let said = vfioctl(&["bind", "--only", edu.name()])?;
    says(
        &said,
        0,
        &format!("is not viable: {SERIAL} has {}", sibling.name()),
    );
    let [vfio, serial] = [VFIO_PCI, SERIAL].map(|name| Some(name.to_owned()));
    assert_eq!(drivers(), [vfio.clone(), None, serial.clone()]);
    let said = vfioctl(&["bind", edu.name()])?;
    assert!(!said.out.contains("not viable"));
    assert_eq!(drivers(), [vfio.clone(), vfio.clone(), vfio]);
    assert_eq!(value(&listed(&edu)?, "viable"), "true");
    drop(edu.open(uapi::TYPE1v2_IOMMU)?);
    // Whoever had a driver of the kernel has it again.
    vfioctl(&["unbind", other.name()])?;
    assert_eq!(drivers(), [None, None, serial]);
    sibling.unbind()
}

fn F231_bind_is_undone() -> TestResult {
    let free = bench::edu()?;
    let refused = format!("{SERIAL} did not take {}", free.name());
    says(
        &vfioctl(&["bind", "--driver", SERIAL, free.name()])?,
        2,
        &refused,
    );
    assert_eq!((free.driver(), only(&free)?.as_str()), (None, "(null)"));
    let edu = free.bind()?;
    says(
        &vfioctl(&["bind", "--driver", SERIAL, edu.name()])?,
        2,
        &refused,
    );
    assert_eq!(edu.driver().as_deref(), Some(VFIO_PCI));
    assert_eq!(only(&edu)?, VFIO_PCI);
    // Those that went before it come back as well: the port takes that driver.
    drop(edu);
    let [edu, other] = bench::edu_pair()?;
    let port = bench::kernel_driven_sibling(&edu)?;
    let port = port.bind()?;
    let group = edu.iommu_group().context("no group")?.to_string();
    says(
        &vfioctl(&["bind", "--driver", SERIAL, &group])?,
        2,
        "did not take",
    );
    assert_eq!((edu.driver(), other.driver()), (None, None));
    assert_eq!(port.driver().as_deref(), Some(VFIO_PCI));
    // Who had no driver has none again, although there is one that would like it.
    drop(port);
    let port = bench::kernel_driven_sibling(&edu)?;
    port.unbind()?;
    says(
        &vfioctl(&["bind", "--only", "--driver", "pcieport", port.name()])?,
        2,
        "did not take",
    );
    assert_eq!((port.driver(), only(&port)?.as_str()), (None, "(null)"));
    Ok(())
}

fn F231_bind_is_remembered() -> TestResult {
    let edu = bench::edu()?;
    let stored = format!("/etc/driverctl.d/pci-{}", edu.name());
    let there = || Path::new(&stored).exists();
    vfioctl(&["bind", edu.name()])?;
    assert!(!there());
    let said = vfioctl(&["bind", "--save", edu.name()])?;
    let is_read = !said.out.contains("install driverctl or rust-vfio-tools");
    assert_eq!(
        (said.status, is_read),
        (Some(0), Path::new(SERVICE).exists())
    );
    assert_eq!(fs::read_to_string(&stored)?, "vfio-pci\n");
    // As after a boot.
    vfioctl(&["unbind", edu.name()])?;
    assert_eq!((edu.driver(), there()), (None, true));
    let name = format!("pci-{}", edu.name());
    says(&vfioctl(&["restore", &name])?, 0, "-> vfio-pci");
    assert_eq!(edu.driver().as_deref(), Some(VFIO_PCI));
    says(&vfioctl(&["restore"])?, 0, "nothing to do");
    vfioctl(&["unbind", "--save", edu.name()])?;
    assert_eq!((edu.driver(), there()), (None, false));
    // What fails in the background is in the log.
    let mut log = kmsg::Log::from_now()?;
    fs::write(&stored, format!("{SERIAL}\n"))?;
    let text = format!("{SERIAL} did not take {}", edu.name());
    says(&vfioctl(&["restore"])?, 2, &text);
    assert_eq!(log.with(&["vfioctl: ", &text])?.len(), 1);
    Ok(fs::remove_file(&stored)?)
}

fn F231_bind_needs_root() -> TestResult {
    let edu = bench::edu()?;
    says(
        &as_nobody(&["bind", edu.name()])?,
        2,
        "only root can do that",
    );
    assert_eq!((edu.driver(), only(&edu)?.as_str()), (None, "(null)"));
    says(&as_nobody(&["bind", "-n", edu.name()])?, 0, "drivers_probe");
    Ok(())
}

fn F232_why_a_device_cannot_be_used() -> TestResult {
    let edu = bench::edu()?;
    let said = vfioctl(&["why", edu.name()])?;
    says(&said, 1, &format!("{} has no driver", edu.name()));
    says(&said, 1, &format!("vfioctl bind {}", edu.name()));
    let edu = edu.bind()?;
    edu.group_name()?;
    says(
        &vfioctl(&["why", edu.name()])?,
        0,
        "a program can use it now",
    );
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let said = vfioctl(&["why", edu.name()])?;
    says(&said, 1, &format!("Process {} (", process::id()));
    drop(session);
    let said = vfioctl(&["why", "--json", edu.name()])?;
    assert_eq!(value(&said.out, "usable"), "true");
    Ok(())
}

fn F232_why_a_group_cannot_be_used() -> TestResult {
    let [edu, _] = bench::edu_pair()?;
    let edu = edu.bind()?;
    let group = edu.group_name()?;
    let blocked = |target: &str, sibling: &PciDevice| -> TestResult {
        let said = vfioctl(&["why", target])?;
        let text = format!(
            "{} of the same group belongs to the kernel: {SERIAL} has it",
            sibling.name()
        );
        says(&said, 1, &text);
        says(&said, 1, &format!("vfioctl bind {}", sibling.name()));
        Ok(())
    };
    for target in [edu.name(), &group] {
        says(&vfioctl(&["why", target])?, 0, "a program can use it now");
        let sibling = bench::kernel_driven_sibling(&edu)?;
        blocked(target, &sibling)?;
        // And what it says is so.
        assert!(edu.open(uapi::TYPE1v2_IOMMU).is_err());
        sibling.unbind()?;
        drop(edu.open(uapi::TYPE1v2_IOMMU)?);
    }
    Ok(())
}

fn F232_why_not_for_this_user() -> TestResult {
    let edu = bench::bound_edu()?;
    let node = format!("/dev/vfio/{}", edu.group_name()?);
    let said = as_nobody(&["why", edu.name()])?;
    says(&said, 1, &format!("This user may not open {node}"));
    says(
        &vfioctl(&["why", edu.name()])?,
        0,
        &format!("This user may open {node}"),
    );
    Ok(())
}

fn F233_watch_shows_memory() -> TestResult {
    const SIZE: u64 = 2 << 20;
    let open = bench::open()?;
    let memory = Memory::anonymous(SIZE as usize)?;
    let container = &open.session.container;
    container.map_part(&memory, 0, memory.len(), IOVA, READ_WRITE)?;
    let said = vfioctl(&["watch", "--once", "--json"])?;
    let is = |key: &str, text: &str| {
        assert!(values(&said.out, key).contains(&text), "{key}: {text}");
    };
    for kind in ["container", "group", "device"] {
        is("kind", &quoted(kind));
    }
    is("pid", &process::id().to_string());
    is("name", &quoted(open.pci.name()));
    // The C modules tell nothing of containers.
    let told = |key| values(&said.out, key).iter().any(|value| *value != "null");
    if told("mappings") {
        is("mappings", "1");
        is("mapped_bytes", &SIZE.to_string());
        is("pinned_bytes", &SIZE.to_string());
    }
    let locked = process_memory(&said.out)?;
    assert_eq!(locked, selves::locked()?);
    assert!(locked >= SIZE);
    says(&vfioctl(&["watch", "--once"])?, 0, "container");
    Ok(())
}

/// How much memory the processes have locked: all files are of the same one.
fn process_memory(json: &str) -> anyhow::Result<u64> {
    let mut locked = values(json, "locked_bytes");
    locked.dedup();
    assert_eq!(locked.len(), 1);
    Ok(locked[0].parse()?)
}

fn F234_doctor_knows_the_modules() -> TestResult {
    let said = vfioctl(&["doctor"])?;
    for words in ["hugepages", "is in use, with", "The IOMMU translates them"] {
        says(&said, 0, words);
    }
    let (rust, c) = ("in Rust, of rust_vfio", "the kernel's own, in C");
    let expected = match Impl::get() {
        Impl::C => [c, c],
        Impl::Rust => [rust, rust],
        Impl::RustCore => [rust, c],
        Impl::RustType1 => [c, rust],
    };
    for (name, whose) in ["vfio", "vfio_iommu_type1"].into_iter().zip(expected) {
        says(&said, 0, &format!("{name} is {whose}, version "));
    }
    Ok(())
}

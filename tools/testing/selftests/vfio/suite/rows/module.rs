// SPDX-License-Identifier: GPL-2.0
//! The modules themselves: what is in their files, their parameters, what they
//! show in sysfs and debugfs, and unloading them. Rows F002, F081, F146, F147,
//! F150, F154 and section 8.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::Context;
use object::{Object, ObjectSection, ObjectSymbol};
use rustix::io::Errno;
use vfio_selftests::{
    config,
    container::Container,
    device::Event,
    kmsg::Log,
    module::{self, Parameter, CORE, TYPE1},
    sysfs,
    target::Target,
    uapi,
};

use crate::{
    bench,
    check::fails,
    emulated::{By, READ},
    fixture::{self, abi::Range, must_warn, Fixture, Op},
    harness::{rows, Impl, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F002_module_information,
    F081_exported_symbols,
    F146_debugfs,
    F147_parameters,
    F147_sampling,
    S085_classes,
    F154_each_function_warns.limit(120),
    F150_unload_and_load.limit(120),
];

/// Symbols that only modules under the GPL may use. Contract sections 4.1-4.9.
const GPL: [&str; 35] = [
    "_vfio_alloc_device",
    "vfio_assign_device_set",
    "vfio_combine_iova_ranges",
    "vfio_device_put_registration",
    "vfio_device_set_open_count",
    "vfio_device_try_get_registration",
    "vfio_file_enforced_coherent",
    "vfio_file_has_dev",
    "vfio_file_iommu_group",
    "vfio_file_is_group",
    "vfio_file_is_valid",
    "vfio_file_set_kvm",
    "vfio_find_device_in_devset",
    "vfio_info_cap_add",
    "vfio_iommufd_device_ictx",
    "vfio_iommufd_emulated_attach_ioas",
    "vfio_iommufd_emulated_bind",
    "vfio_iommufd_emulated_detach_ioas",
    "vfio_iommufd_emulated_unbind",
    "vfio_iommufd_get_dev_id",
    "vfio_iommufd_physical_attach_ioas",
    "vfio_iommufd_physical_bind",
    "vfio_iommufd_physical_detach_ioas",
    "vfio_iommufd_physical_pasid_attach_ioas",
    "vfio_iommufd_physical_pasid_detach_ioas",
    "vfio_iommufd_physical_unbind",
    "vfio_mig_get_next_state",
    "vfio_register_emulated_iommu_dev",
    "vfio_register_group_dev",
    "vfio_register_iommu_driver",
    "vfio_unregister_group_dev",
    "vfio_unregister_iommu_driver",
    "vfio_virqfd_disable",
    "vfio_virqfd_enable",
    "vfio_virqfd_flush_thread",
];

/// Symbols that any module may use.
const PLAIN: [&str; 6] = [
    "vfio_dma_rw",
    "vfio_info_add_capability",
    "vfio_info_cap_shift",
    "vfio_pin_pages",
    "vfio_set_irqs_validate_and_prepare",
    "vfio_unpin_pages",
];

/// The lines of a module's information: `key=value`.
fn information(name: &str) -> anyhow::Result<Vec<String>> {
    let data = fs::read(module::file(name))?;
    let file = object::File::parse(&*data)?;
    let section = file.section_by_name(".modinfo").context("no .modinfo")?;
    Ok(section
        .data()?
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect())
}

fn F002_module_information() -> TestResult {
    let cases: [(&str, &[&str]); 2] = [
        (
            CORE,
            &[
                "alias=char-major-10-196",
                "alias=devname:vfio/vfio",
                "softdep=post: vfio_iommu_type1 vfio_iommu_spapr_tce",
                "version=0.3",
                "license=GPL v2",
                "name=vfio",
            ],
        ),
        (
            TYPE1,
            &["version=0.2", "license=GPL v2", "name=vfio_iommu_type1"],
        ),
    ];
    for (name, lines) in cases {
        let information = information(name)?;
        for line in lines {
            assert!(
                information.iter().any(|have| have == line),
                "{name}: no {line}"
            );
        }
        // What is loaded is what was looked at.
        let version = sysfs::read(Path::new("/sys/module").join(name).join("version"))?;
        assert!(information.contains(&format!("version={version}")));
    }
    // It is found through the core, not by a name of its own.
    let aliases = information(TYPE1)?;
    assert!(
        !aliases.iter().any(|line| line.starts_with("alias=")),
        "{aliases:?}"
    );
    Ok(())
}

/// Each symbol that a module offers, and whether only to modules under the GPL.
fn exports(name: &str) -> anyhow::Result<BTreeMap<String, bool>> {
    /// Size of an entry of the table of offered symbols.
    const ENTRY: u64 = 12;
    let data = fs::read(module::file(name))?;
    let file = object::File::parse(&*data)?;
    // One byte for each entry; its lowest bit is the restriction.
    let flags = file
        .section_by_name("__kflagstab")
        .context("no flags of symbols")?
        .data()?;
    let mut exports = BTreeMap::new();
    for symbol in file.symbols() {
        let Some(exported) = symbol.name()?.strip_prefix("__ksymtab_") else {
            continue;
        };
        let flag = flags
            .get((symbol.address() / ENTRY) as usize)
            .context("no flag")?;
        exports.insert(exported.to_owned(), flag & 1 == 1);
    }
    Ok(exports)
}

fn F081_exported_symbols() -> TestResult {
    let exports = exports(CORE)?;
    let iommufd = config::has("IOMMUFD")?;
    let expected: BTreeMap<_, _> = GPL
        .iter()
        .filter(|name| iommufd || !name.starts_with("vfio_iommufd_"))
        .map(|name| (name.to_string(), true))
        .chain(PLAIN.iter().map(|name| (name.to_string(), false)))
        .collect();
    assert_eq!(exports, expected);
    assert_eq!(exports.len(), if iommufd { 41 } else { 29 });
    // Nobody uses the backend by name, but for our core, which asks ours what to show.
    let of_type1: Vec<String> = self::exports(TYPE1)
        .map(|exports| exports.into_keys().collect())
        .unwrap_or_default();
    let expected: &[&str] = match Impl::get().type1_is_rust() {
        true => &["vfio_iommu_type1_show"],
        false => &[],
    };
    assert_eq!(of_type1, expected);
    Ok(())
}

fn F146_debugfs() -> TestResult {
    let root = Path::new("/sys/kernel/debug/vfio");
    let edu = bench::bound_edu()?;
    let mtty = bench::mtty(1)?;
    let directory = root.join(mtty.name());
    assert!(root.join(edu.name()).is_dir());
    // A device that cannot be migrated has nothing to tell about that.
    assert!(!root.join(edu.name()).join("migration").exists());

    let (state, features) = (
        directory.join("migration/state"),
        directory.join("migration/features"),
    );
    for file in [&state, &features] {
        assert_eq!(std::fs::metadata(file)?.permissions().mode() & 0o777, 0o444);
    }
    assert_eq!(sysfs::read(&state)?, "RUNNING");
    assert_eq!(
        sysfs::read(&features)?,
        "stop-copy\np2p\npre-copy\ndirty-tracking"
    );
    // A reader that stays does not keep it.
    let reader = std::fs::File::open(&state)?;
    drop(mtty);
    assert!(!directory.exists());
    drop(reader);
    let gone = root.join(edu.name());
    drop(edu);
    assert!(!gone.exists());
    assert!(root.is_dir());
    Ok(())
}

fn F147_parameters() -> TestResult {
    let of_core: &[_] = match config::has("VFIO_NOIOMMU")? {
        true => &[("enable_unsafe_noiommu_mode", "N")],
        false => &[],
    };
    let expected: [(&str, &[(&str, &str)]); 2] = [
        (CORE, of_core),
        (
            TYPE1,
            &[
                ("allow_unsafe_interrupts", "N"),
                ("disable_hugepages", "N"),
                ("dma_entry_limit", "65535"),
            ],
        ),
    ];
    for (module, parameters) in expected {
        let directory = Path::new("/sys/module").join(module).join("parameters");
        let names: Vec<_> = sysfs::list(&directory)
            .iter()
            .map(|path| sysfs::name(path).to_owned())
            .collect();
        let wanted: Vec<_> = parameters
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        assert_eq!(names, wanted, "{module}");
        for (name, default) in parameters {
            let path = Parameter::path(module, name);
            assert_eq!(sysfs::read(&path)?, *default, "{name}");
            let mode = std::fs::metadata(&path)?.permissions().mode();
            assert_eq!(mode & 0o777, 0o644, "{name}");
        }
    }
    // Only what they are for.
    for (name, bad) in [
        ("allow_unsafe_interrupts", "maybe"),
        ("dma_entry_limit", "-1"),
    ] {
        assert!(Parameter::set(TYPE1, name, bad).is_err(), "{name}={bad}");
    }
    Ok(())
}

fn F147_sampling() -> TestResult {
    // How many mappings there may be: when the backend is chosen.
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let group = edu.join(&container)?;
    let limit = Parameter::set(TYPE1, "dma_entry_limit", "7")?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    drop(limit);
    assert_eq!(container.info()?.dma_avail(), Some(7));
    group.unset_container()?;
    group.set_container(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(container.info()?.dma_avail(), Some(65535));
    // Huge pages: each time; with and without, what is mapped is the same.
    let memory = vfio_selftests::memory::Memory::transparent_huge(4 << 20)?;
    for value in ["Y", "N", "Y"] {
        let _small = Parameter::set(TYPE1, "disable_hugepages", value)?;
        container.map(&memory, 1 << 21)?;
        assert_eq!(container.unmap_all()?, 4 << 20);
    }
    Ok(())
}

/// Section 8.5: what the classes show.
fn S085_classes() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.vfio_name().context("a name")?;
    assert!(
        name.strip_prefix("vfio")
            .is_some_and(|n| n.parse::<u32>().is_ok()),
        "{name}"
    );
    let here = edu.sysfs().join("vfio-dev").join(&name);
    let class = Path::new("/sys/class/vfio-dev").join(&name);
    assert_eq!(
        std::fs::canonicalize(&class)?,
        std::fs::canonicalize(&here)?
    );
    // The group has no parent.
    let group = Path::new("/sys/class/vfio").join(edu.group_name()?);
    let real = std::fs::canonicalize(group)?;
    assert!(
        real.starts_with("/sys/devices/virtual/vfio"),
        "{}",
        real.display()
    );
    drop(edu);
    assert!(!class.exists());
    // Names are used again.
    assert_eq!(bench::bound_edu()?.vfio_name(), Some(name));
    Ok(())
}

/// What depends on the core, in an order in which it can be loaded, with the
/// names of their files.
const STACK: [&str; 6] = [
    "vfio",
    "vfio_iommu_type1",
    "vfio-pci-core",
    "vfio-pci",
    "mdev",
    "mtty",
];

/// Unloads all that needs the core.
fn unload_drivers() -> anyhow::Result<()> {
    let fixture = fixture::MODULE;
    if module::is_loaded(fixture) {
        module::unload(fixture).context(fixture)?;
    }
    for name in STACK[1..].iter().rev().map(|name| name.replace('-', "_")) {
        if module::is_loaded(&name) {
            module::unload(&name).with_context(|| format!("unload {name}"))?;
        }
    }
    Ok(())
}

/// Loads again what is not loaded, also if the test fails.
struct Reload;

impl Reload {
    fn now(&self) -> anyhow::Result<()> {
        for name in STACK {
            let loaded = module::is_loaded(&name.replace('-', "_"));
            if !loaded && module::file(name).exists() {
                module::load(name, "")?;
            }
        }
        Ok(())
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        if let Err(error) = self.now() {
            eprintln!("{error:#}");
        }
    }
}

fn F154_each_function_warns() -> TestResult {
    const IOVA: u64 = 0x10_0000;
    // Some of the warnings come once in the life of the module.
    let reload = Reload;
    unload_drivers()?;
    module::unload(CORE)?;
    reload.now()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    // Nobody has opened the device. These two warn each time, ...
    for _ in 0..2 {
        let (result, _) = must_warn(|| target.pin_raw(IOVA, 1, READ))?;
        fails(result, Errno::INVAL);
        must_warn(|| target.unpin_raw(IOVA, 1))??;
    }
    // ... and this one, whatever the others did, for the first time.
    let read = || target.dma_read(IOVA, 1, By::Caller);
    fails(must_warn(read)?, Errno::INVAL);
    // A warning here, and below without `must_warn`, would fail the whole run.
    fails(read(), Errno::INVAL);

    // The driver's count of files is too low by 1 while one is closed.
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    let close = || -> anyhow::Result<()> {
        let second = session.group.device(target.name())?;
        target.call(Op::SetOpenCount, &[0])?;
        drop(second);
        target.call(Op::SetOpenCount, &[1])?;
        Ok(())
    };
    must_warn(close)??;
    close()?;

    // Ranges to be merged into one, but there is none; more merges than ranges.
    let one = [Range { first: 1, last: 2 }];
    assert_eq!(must_warn(|| fixture.combine(&[], 1))??, []);
    assert_eq!(must_warn(|| fixture.combine(&one, 0))??, one);
    assert_eq!(fixture.combine(&[], 1)?, []);
    assert_eq!(fixture.combine(&one, 0)?, one);
    Ok(())
}

fn F150_unload_and_load() -> TestResult {
    let reload = Reload;
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let group = edu.join(&container)?;
    // A backend that nobody uses can go, and then it is not there.
    module::unload(TYPE1)?;
    assert_eq!(container.check_extension(uapi::TYPE1v2_IOMMU)?, 0);
    fails(container.set_iommu(uapi::TYPE1v2_IOMMU), Errno::NODEV);
    module::load(TYPE1, "dma_entry_limit=11")?;
    assert_eq!(container.check_extension(uapi::TYPE1v2_IOMMU)?, 1);
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(container.info()?.dma_avail(), Some(11));
    // In use it stays: because of the backend, and the driver because of a device.
    fails(module::unload(TYPE1), Errno::AGAIN);
    let device = group.device(edu.name())?;
    fails(module::unload("vfio_pci"), Errno::AGAIN);
    drop((device, group, edu));
    module::unload(TYPE1)?;

    // The core itself stays for an open file.
    unload_drivers()?;
    fails(module::unload(CORE), Errno::AGAIN);
    assert_eq!(container.api_version()?, 0);
    drop(container);
    module::unload(CORE)?;
    // Where systemd has made this node it stays, so that opening it loads the module.
    let nodes = fs::read_to_string("/run/tmpfiles.d/static-nodes.conf").unwrap_or_default();
    if !nodes.contains("/dev/vfio/vfio") {
        assert!(!Path::new("/dev/vfio/vfio").exists());
    }
    for path in [
        "/sys/class/misc/vfio",
        "/sys/class/vfio",
        "/sys/class/vfio-dev",
        "/sys/kernel/debug/vfio",
    ] {
        assert!(!Path::new(path).exists(), "{path} is still there");
    }
    let regions = sysfs::read("/proc/devices")?;
    assert!(!regions.contains("vfio"), "{regions}");

    let mut log = Log::from_now()?;
    reload.now()?;
    let banner = log.with(&["version: 0.3"])?;
    assert!(
        banner.iter().any(|message| message.level == 6),
        "{banner:?}"
    );
    let open = bench::open()?;
    assert_eq!(open.session.container.info()?.dma_avail(), Some(65535));
    open.session
        .device
        .set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&Event::new()?])?;
    Ok(())
}

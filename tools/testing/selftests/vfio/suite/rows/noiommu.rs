// SPDX-License-Identifier: GPL-2.0
//! Devices that no IOMMU keeps from any memory: rows F141-F143.
//!
//! The fixture's devices have no IOMMU, whatever the machine has. Real devices
//! are there, too, but only on a machine without one: `make iommu-matrix`.

use rustix::{io::Errno, thread::CapabilitySet};
use vfio_selftests::{
    container::Container,
    device::Event,
    edu::{Edu, IRQ_OF_DMA},
    group::Group,
    iommufd::Iommufd,
    kmsg::Log,
    memory::Memory,
    module::Parameter,
    pci::{self, PciDevice},
    process::{drop_capability, in_child},
    sysfs,
    target::{wait_for, Target},
    uapi, PAGE,
};

use crate::{
    bench,
    check::fails,
    fixture::{abi, Device, Fixture, Kind, Op},
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F141_off_by_default,
    F141_node_and_taint,
    F141_who_may_use_it,
    F141_container,
    F141_no_mixing,
    F141_real_device,
    F142_node,
    F142_bind_and_attach,
    F142_real_device,
    F143_group_in_an_iommufd,
    F143_who_may_use_it,
    F143_no_mixing,
];

/// `TAINT_USER` in `/proc/sys/kernel/tainted`.
const TAINT_USER: u64 = 1 << 6;

/// Lets such devices be used, until the result is dropped.
pub(crate) fn allow() -> anyhow::Result<Parameter> {
    let name = "enable_unsafe_noiommu_mode";
    match Parameter::path("vfio", name).exists() {
        true => Parameter::set("vfio", name, "Y"),
        false => skip("this kernel was built without no-IOMMU"),
    }
}

/// A device without an IOMMU that does its own DMA.
pub(crate) fn device(fixture: &Fixture) -> anyhow::Result<Device<'_>> {
    fixture.build().flags(abi::PHYSICAL).create()
}

/// The name of the device's group.
fn group_name(target: &impl Target) -> String {
    format!("noiommu-{}", target.iommu_group().expect("a group"))
}

pub(crate) fn open_group(target: &impl Target) -> anyhow::Result<Group> {
    let name = group_name(target);
    let path = vfio_selftests::group::path(&name);
    wait_for(&name, || path.exists())?;
    Ok(Group::open_when_free(&name)?)
}

/// Gives up what using such devices takes.
fn give_up() -> TestResult {
    drop_capability(CapabilitySet::SYS_RAWIO)
}

fn F141_off_by_default() -> TestResult {
    let fixture = Fixture::open()?;
    let refused = fixture.build().flags(abi::PHYSICAL).attempt()?;
    assert_eq!(refused.outcome(), Err(Errno::INVAL));
    assert_eq!(refused.stage, abi::STAGE_REGISTER);
    // An emulated device has no use for an IOMMU.
    let _allowed = allow()?;
    let emulated = fixture.device()?;
    emulated.group_name()?;
    Ok(())
}

fn F141_node_and_taint() -> TestResult {
    let _allowed = allow()?;
    let fixture = Fixture::open()?;
    let mut log = Log::from_now()?;
    let target = device(&fixture)?;
    let name = group_name(&target);
    open_group(&target)?;
    assert!(std::fs::exists(format!("/sys/class/vfio/{name}/dev"))?);
    assert_eq!(
        sysfs::read(target.sysfs().join("iommu_group/name"))?,
        "vfio-noiommu"
    );
    let tainted = sysfs::read_number("/proc/sys/kernel/tainted")?;
    assert_eq!(tainted & TAINT_USER, TAINT_USER, "{tainted:#x}");
    assert!(!log
        .with(&["vfio-noiommu", "taint", target.name()])?
        .is_empty());
    drop(target);
    assert!(!vfio_selftests::group::path(&name).exists());
    Ok(())
}

fn F141_who_may_use_it() -> TestResult {
    let _allowed = allow()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let name = group_name(&target);
    let group = open_group(&target)?;
    let container = Container::open()?;
    in_child(|| {
        give_up()?;
        fails(group.set_container(&container), Errno::PERM);
        Ok(())
    })?;
    group.set_container(&container)?;
    in_child(|| {
        give_up()?;
        fails(container.set_iommu(uapi::NOIOMMU_IOMMU), Errno::PERM);
        Ok(())
    })?;
    container.set_iommu(uapi::NOIOMMU_IOMMU)?;
    in_child(|| {
        give_up()?;
        fails(group.device(target.name()), Errno::PERM);
        Ok(())
    })?;
    assert_eq!(target.count(Kind::Open)?, 0);
    let mut log = Log::from_now()?;
    let device = group.device(target.name())?;
    assert!(!log
        .with(&["vfio-noiommu", &std::process::id().to_string()])?
        .is_empty());
    // Whoever got the files may use them.
    in_child(|| {
        give_up()?;
        device.info()?;
        group.device(target.name())?;
        Ok(())
    })?;
    drop((device, group, container));
    give_up()?;
    wait_for("the group's file to be closed", || {
        Group::open(&name).is_err_and(|error| error != Errno::BUSY)
    })?;
    fails(Group::open(&name), Errno::PERM);
    Ok(())
}

fn F141_container() -> TestResult {
    let _allowed = allow()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let group = open_group(&target)?;
    let container = Container::open()?;
    group.set_container(&container)?;
    assert_eq!(container.check_extension(uapi::NOIOMMU_IOMMU)?, 1);
    assert_eq!(container.check_extension(uapi::TYPE1v2_IOMMU)?, 0);
    fails(container.set_iommu(uapi::TYPE1v2_IOMMU), Errno::NODEV);
    fails(container.set_iommu(uapi::TYPE1_IOMMU), Errno::NODEV);
    container.set_iommu(uapi::NOIOMMU_IOMMU)?;
    // Nothing is translated, so there is nothing to map.
    let memory = Memory::anonymous(PAGE)?;
    fails(
        container.map_raw(3, memory.address() as u64, 0, PAGE as u64),
        Errno::NOTTY,
    );
    let device = group.device(target.name())?;
    device.info()?;
    fails(target.call(Op::Pin, &[0, 1, 3]), Errno::NOTTY);
    fails(target.call(Op::Copy, &[0, 8, 0, 0]), Errno::NOTTY);
    assert_eq!(target.count(Kind::Bind)?, 0);
    fails(group.unset_container(), Errno::BUSY);
    drop(device);
    group.unset_container()?;
    assert_eq!(container.check_extension(uapi::TYPE1v2_IOMMU)?, 1);
    Ok(())
}

fn F141_no_mixing() -> TestResult {
    let _allowed = allow()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let group = open_group(&target)?;
    let mtty = bench::mtty(1)?;
    let normal = mtty.open_group()?;
    let container = Container::open()?;
    group.set_container(&container)?;
    fails(normal.set_container(&container), Errno::PERM);
    group.unset_container()?;
    normal.set_container(&container)?;
    fails(group.set_container(&container), Errno::PERM);
    normal.unset_container()?;
    group.set_container(&container)?;
    Ok(())
}

/// A real device of a machine that has no IOMMU.
fn real_device() -> anyhow::Result<PciDevice> {
    match PciDevice::find(pci::EDU).first() {
        Some(edu) if edu.iommu_group().is_none() => Ok(edu.clone()),
        _ => skip("this machine has an IOMMU; see make iommu-matrix"),
    }
}

/// The device must reach memory at the two addresses, where the halves of
/// `memory` are, and tell so by an interrupt.
fn check_dma(device: &vfio_selftests::device::Device, memory: &Memory, at: [u64; 2]) -> TestResult {
    let edu = Edu::new(device)?;
    let event = Event::new()?;
    device.set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&event])?;
    memory.write_u32(0, 0xcafe_f00d);
    edu.read_memory(at[0], 4)?;
    edu.write_memory_and_interrupt(at[1], 4)?;
    assert_eq!(event.wait(10)?, 1);
    assert_eq!(memory.read_u32(PAGE), 0xcafe_f00d);
    edu.acknowledge_irq(IRQ_OF_DMA)?;
    Ok(())
}

fn F141_real_device() -> TestResult {
    let edu = real_device()?;
    assert!(
        edu.bind().is_err(),
        "vfio-pci takes it without being allowed"
    );
    let _allowed = allow()?;
    let edu = edu.bind()?;
    let group = open_group(&edu)?;
    let container = Container::open()?;
    group.set_container(&container)?;
    fails(container.set_iommu(uapi::TYPE1v2_IOMMU), Errno::NODEV);
    container.set_iommu(uapi::NOIOMMU_IOMMU)?;
    let device = group.device(edu.name())?;
    // What the device uses are addresses of RAM.
    let memory = Memory::anonymous(2 * PAGE)?;
    memory.fill(0);
    let frames = memory.frames()?;
    let at = |page: usize| frames[page] * PAGE as u64;
    check_dma(&device, &memory, [at(0), at(1)])?;
    drop(device);
    group.unset_container()?;
    Ok(())
}

/// Skips if devices without an IOMMU have no nodes.
fn nodes() -> anyhow::Result<(Parameter, Iommufd)> {
    let iommufd = bench::iommufd()?;
    let allowed = allow()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let name = target.vfio_name().unwrap_or_default();
    if !target
        .sysfs()
        .join("vfio-dev")
        .join(name)
        .join("dev")
        .exists()
    {
        return skip("iommufd of this kernel was built without no-IOMMU");
    }
    Ok((allowed, iommufd))
}

fn F142_node() -> TestResult {
    let (_allowed, iommufd) = nodes()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let name = format!("noiommu-vfio{}", target.index);
    assert_eq!(target.vfio_name().as_deref(), Some(name.as_str()));
    assert!(target.node_path()?.ends_with(&name));
    let device = target.open_by_node()?;
    let group = open_group(&target)?;
    fails(device.bind(&iommufd), Errno::BUSY);
    drop(group);
    in_child(|| {
        give_up()?;
        let path = target.node_path()?;
        fails(vfio_selftests::device::Device::open(&path), Errno::PERM);
        fails(device.info(), Errno::INVAL);
        // What counts is who opened the file.
        device.bind(&iommufd)?;
        Ok(())
    })?;
    device.info()?;
    fails(Group::open(&group_name(&target)), Errno::BUSY);
    Ok(())
}

fn F142_bind_and_attach() -> TestResult {
    let (_allowed, iommufd) = nodes()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let (device, id) = target.bind_to(&iommufd)?;
    assert!(id > 0);
    assert_eq!(target.count(Kind::Bind)?, 1);
    let ioas = iommufd.ioas()?;
    device.attach(ioas)?;
    let memory = Memory::anonymous(4 * PAGE)?;
    memory.fill(1);
    let iova = 0x20_0000;
    iommufd.map(ioas, &memory, iova)?;
    for (n, frame) in memory.frames()?.iter().enumerate() {
        let at = iova + (n * PAGE) as u64;
        let (address, len) = iommufd.physical_address(ioas, at, PAGE as u64)?;
        assert_eq!(address, frame * PAGE as u64, "page {n}");
        assert_eq!(len, PAGE as u64);
    }
    assert!(iommufd.physical_address(ioas, 0, PAGE as u64).is_err());
    device.detach()?;
    device.attach(ioas)?;
    drop(device);
    assert_eq!(target.count(Kind::Unbind)?, 1);
    iommufd.destroy(ioas)?;
    Ok(())
}

fn F142_real_device() -> TestResult {
    let edu = real_device()?;
    let (_allowed, iommufd) = nodes()?;
    let edu = edu.bind()?;
    let name = edu.vfio_name().unwrap_or_default();
    assert!(name.starts_with("noiommu-vfio"), "{name}");
    let (device, _) = edu.bind_to(&iommufd)?;
    let ioas = iommufd.ioas()?;
    device.attach(ioas)?;
    // Mapping translates nothing, but keeps the memory where it is.
    let memory = Memory::anonymous(2 * PAGE)?;
    let iova = 0x20_0000;
    iommufd.map(ioas, &memory, iova)?;
    let at = |page: u64| {
        let page_len = PAGE as u64;
        iommufd
            .physical_address(ioas, iova + page * page_len, page_len)
            .map(|(address, _)| address)
    };
    check_dma(&device, &memory, [at(0)?, at(1)?])?;
    device.detach()?;
    Ok(())
}

fn F143_group_in_an_iommufd() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let _allowed = allow()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let group = open_group(&target)?;
    group.set_container(&iommufd)?;
    let device = group.device(target.name())?;
    let second = group.device(target.name())?;
    device.info()?;
    drop(device);
    second.info()?;
    assert_eq!(target.count(Kind::Open)?, 1);
    // It goes on without its group, like others.
    group.unset_container()?;
    drop(group);
    second.info()?;
    drop(second);
    assert_eq!(target.count(Kind::Close)?, 1);
    for kind in [Kind::Bind, Kind::Attach, Kind::Detach, Kind::Unbind] {
        assert_eq!(target.count(kind)?, 0, "{kind:?}");
    }
    Ok(())
}

fn F143_who_may_use_it() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let _allowed = allow()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let group = open_group(&target)?;
    in_child(|| {
        give_up()?;
        // Choosing the iommufd takes nothing, opening the device does.
        group.set_container(&iommufd)?;
        fails(group.device(target.name()), Errno::PERM);
        Ok(())
    })?;
    group.device(target.name())?;
    assert_eq!(target.status()?.open_count, 0);
    // An address space for requests of containers: somebody expects that
    // addresses are translated.
    let ioas = iommufd.ioas()?;
    if iommufd.set_compat_ioas(ioas).is_ok() {
        fails(group.device(target.name()), Errno::PERM);
        iommufd.clear_compat_ioas()?;
        group.device(target.name())?;
    }
    assert_eq!(target.count(Kind::Bind)?, 0);
    Ok(())
}

fn F143_no_mixing() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let _allowed = allow()?;
    let fixture = Fixture::open()?;
    let target = device(&fixture)?;
    let group = open_group(&target)?;
    let mtty = bench::mtty(1)?;
    let normal = mtty.open_group()?;
    normal.set_container(&iommufd)?;
    fails(group.set_container(&iommufd), Errno::INVAL);
    let other = Iommufd::open()?;
    group.set_container(&other)?;
    normal.unset_container()?;
    fails(normal.set_container(&other), Errno::INVAL);
    normal.set_container(&iommufd)?;
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Requests that do little, where what is around the work is what it takes.

use anyhow::{ensure, Context, Result};
use vfio_selftests::{
    container::Container,
    device::{Device, Event},
    memory::Memory,
    module::{self, Parameter},
    pci,
    request::{bytes_of, Arg},
    target::Target,
    uapi::{self, IommuType1Info, IrqSet},
    PAGE,
};

use crate::{
    clock::timed,
    fixture::{abi, Fixture},
    log::{row, Log},
    stage::Open,
};

/// Calls of a round.
const AGAIN: usize = 1000;

/// Measures one call.
fn call(log: &Log, name: &str, mut work: impl FnMut() -> rustix::io::Result<()>) -> Result<()> {
    log.measure([row(name, "call").of(AGAIN)], || {
        Ok([timed(|| (0..AGAIN).try_for_each(|_| work()))?])
    })
}

pub(super) fn run(log: &Log) -> Result<()> {
    let open = Open::edu()?;
    pci::Config::of(&open.session.device)?.enable()?;
    container(log, open.container())?;
    device(log, &open.session.device)?;
    trigger(log, &open.session.device)?;
    reserved(log)
}

fn container(log: &Log, container: &Container) -> Result<()> {
    call(log, "GET_API_VERSION", || container.api_version().map(drop))?;
    call(log, "CHECK_EXTENSION of the backend", || {
        container.check_extension(uapi::TYPE1v2_IOMMU).map(drop)
    })?;
    info(log, "IOMMU_GET_INFO with capabilities", container)
}

/// Asks for all that there is to know of a container.
fn info(log: &Log, name: &str, container: &Container) -> Result<()> {
    let size = container.info()?.head.argsz;
    let head = IommuType1Info {
        argsz: size,
        ..Default::default()
    };
    let info = Arg::with_tail(&head, size as usize - size_of::<IommuType1Info>());
    call(log, name, || {
        info.send(container, uapi::IOMMU_GET_INFO).map(drop)
    })
}

/// The same where an IOMMU has very many reserved ranges, which is the fixture's.
fn reserved(log: &Log) -> Result<()> {
    let _allow = Parameter::set(module::TYPE1, "allow_unsafe_interrupts", "Y")?;
    let fixture = Fixture::open()?;
    let device = fixture.build().iommu(PAGE as u64, abi::IOMMU_HOLES);
    let device = device.create()?;
    let session = device.open(uapi::TYPE1v2_IOMMU)?;
    let ranges = session.container.info()?.iova_ranges();
    let count = ranges.map_or(0, |ranges| ranges.len() as u64);
    ensure!(
        count == abi::IOMMU_HOLE_COUNT + 1,
        "{count} ranges are left"
    );
    let name = "IOMMU_GET_INFO with 1000 reserved ranges";
    info(log, name, &session.container)
}

fn device(log: &Log, device: &Device) -> Result<()> {
    call(log, "device GET_INFO", || device.info().map(drop))?;
    let config = device.region(uapi::PCI_CONFIG_REGION_INDEX)?.head.offset;
    call(log, "read 4 bytes of configuration", || {
        device.read::<4>(config).map(drop)
    })?;
    let bar = device.region(uapi::PCI_BAR0_REGION_INDEX)?.head;
    call(log, "read 4 bytes of a BAR", || {
        device.read::<4>(bar.offset).map(drop)
    })?;
    let len = usize::try_from(bar.size)?;
    // At one address, because it depends on the address what page tables take.
    let area = Memory::reserve(len)?;
    call(log, "mmap and munmap a BAR", || {
        area.place_file(0, device, bar.offset, len, true)
    })
}

/// Lets the driver signal an eventfd as if an interrupt had come.
fn trigger(log: &Log, device: &Device) -> Result<()> {
    let event = Event::new()?;
    device
        .set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&event])
        .context("an eventfd for MSI")?;
    let set = Arg::from_bytes(bytes_of(&IrqSet {
        argsz: size_of::<IrqSet>() as u32,
        flags: uapi::IRQ_SET_DATA_NONE | uapi::IRQ_SET_ACTION_TRIGGER,
        index: uapi::PCI_MSI_IRQ_INDEX,
        count: 1,
        ..Default::default()
    }));
    call(log, "SET_IRQS: trigger an eventfd", || {
        set.send(device, uapi::DEVICE_SET_IRQS).map(drop)
    })?;
    Ok(device.disable_irqs(uapi::PCI_MSI_IRQ_INDEX)?)
}

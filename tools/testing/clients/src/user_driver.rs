// SPDX-License-Identifier: GPL-2.0
//! `pci-driver`, with which drivers are written that run in user space. It knows groups and
//! containers only, and reads what GET_INFO of the container tells: page sizes, usable
//! addresses, and how many mappings are left.

use std::{os::fd::AsRawFd, sync::Arc};

use anyhow::{Context, Result};
use pci_driver::{
    backends::vfio::{VfioContainer, VfioPciDevice},
    config::{
        caps::{Capability, PciExpressCapability},
        ext_caps::ExtendedCapability,
        PciConfig,
    },
    device::PciDevice,
    regions::{
        BackedByPciSubregion, MappedOwningPciRegion, OwningPciRegion, PciRegion, PciRegionSnapshot,
        Permissions,
    },
};
use vfio_selftests::{
    harness::{Row, TestResult},
    memory::Memory,
    target::Target,
};
use vmm_sys_util::eventfd::EventFd;

use crate::{
    edu::{Bar, Edu, COPIED, DMA_END},
    machine::{self, arrived, event, leaves_nothing, pattern, silent},
};

macro_rules! rows {
    ($($test:ident),* $(,)?) => {
        &[$(Row::new(
            concat!("pci_driver_", stringify!($test)),
            || leaves_nothing($test),
        )),*]
    };
}

pub(crate) const ROWS: &[Row] = rows![
    config_of_edu,
    config_of_igb,
    registers,
    registers_that_are_mapped,
    container,
    dma,
    dma_one_way,
    two_groups,
    two_in_a_group,
    msi,
    msi_x,
    line,
    reset,
    refusals,
    again_and_again,
];

const PAGE: usize = 4096;
const AT: u64 = 0x10_0000;

impl Bar for &dyn PciRegion {
    fn get(&self, at: u64) -> Result<u32> {
        Ok(self.read_le_u32(at)?)
    }

    fn set(&self, at: u64, value: u32) -> Result<()> {
        Ok(self.write_le_u32(at, value)?)
    }
}

/// Opens a device, and lets it answer and do DMA.
fn open(target: &impl Target) -> Result<VfioPciDevice> {
    enabled(VfioPciDevice::open(target.sysfs())?)
}

fn enabled(device: VfioPciDevice) -> Result<VfioPciDevice> {
    let command = device.config().command();
    command.memory_space_enable().write(true)?;
    command.bus_master_enable().write(true)?;
    Ok(device)
}

fn bar(device: &VfioPciDevice, index: usize) -> Result<OwningPciRegion> {
    device.bar(index).context("there is no such BAR")
}

/// Reads the numbers of the capabilities in the configuration.
fn capabilities(config: &PciConfig<'_>) -> Result<Vec<u8>> {
    let caps = config.capabilities()?;
    let numbers = caps.iter().map(|cap| cap.header().capability_id().read());
    Ok(numbers.collect::<Result<_, _>>()?)
}

const MSI: u8 = 0x05;
const EXPRESS: u8 = 0x10;
const MSI_X: u8 = 0x11;

fn config_of_edu() -> TestResult {
    let edu = machine::edu()?;
    let device = open(&edu)?;
    let config = device.config();
    assert_eq!(config.vendor_id().read()?, 0x1234);
    assert_eq!(config.device_id().read()?, 0x11e8);
    assert_eq!(capabilities(&config)?, [MSI]);
    // Some of it can be written.
    let answers = || config.command().memory_space_enable();
    assert!(answers().read()?);
    answers().write(false)?;
    assert!(!answers().read()?);
    config.write_le_u16(0, 0x5555)?;
    assert_eq!(config.vendor_id().read()?, 0x1234);
    assert!(config.read_u8(256).is_err());
    // All at once.
    let snapshot = PciRegionSnapshot::take(config)?;
    let copy = PciConfig::backed_by(&snapshot);
    assert_eq!(copy.len(), 256);
    assert_eq!(copy.device_id().read()?, 0x11e8);
    Ok(())
}

fn config_of_igb() -> TestResult {
    let igb = machine::igb()?;
    let device = open(&igb)?;
    let config = device.config();
    assert_eq!(config.len(), 4096);
    // A network controller.
    assert_eq!(config.read_u8(0x0b)?, 0x02);
    let caps = capabilities(&config)?;
    assert!(
        caps.contains(&EXPRESS) && caps.contains(&MSI_X),
        "{caps:x?}"
    );
    let express = config
        .capabilities()?
        .of_type::<PciExpressCapability<'_>>()?
        .next()
        .context("no PCI Express")?;
    let abilities = express.device_capabilities();
    assert!(abilities.function_level_reset_capability().read()?);
    // Error reporting is the first one of these.
    let extended = config.extended_capabilities()?;
    let numbers: Vec<u16> = extended
        .iter()
        .map(|cap| cap.header().capability_id().read())
        .collect::<Result<_, _>>()?;
    assert_eq!(numbers.first(), Some(&1), "{numbers:x?}");
    Ok(())
}

fn registers() -> TestResult {
    let bound = machine::edu()?;
    let device = open(&bound)?;
    let bar = bar(&device, 0)?;
    assert_eq!(
        (bar.len(), bar.permissions()),
        (1 << 20, Permissions::ReadWrite)
    );
    assert!((1..6).all(|index| device.bar(index).is_none()));
    assert!(device.rom().is_none());
    let edu = Edu::new(&bar as &dyn PciRegion)?;
    assert_eq!(edu.invert(0x1234_5678)?, !0x1234_5678);
    assert_eq!(edu.factorial(10)?, 3_628_800);
    assert!(bar.read_le_u32(1 << 20).is_err());
    Ok(())
}

fn registers_that_are_mapped() -> TestResult {
    let bound = machine::edu()?;
    let device = open(&bound)?;
    let bar = bar(&device, 0)?;
    assert!(bar.is_mappable());
    let mapped: MappedOwningPciRegion = bar.map(..4096, Permissions::ReadWrite)?;
    let edu = Edu::new(&mapped as &dyn PciRegion)?;
    assert_eq!(edu.invert(0x1234_5678)?, !0x1234_5678);
    assert_eq!(edu.factorial(5)?, 120);
    // Both ways lead to the same registers.
    assert_eq!(bar.read_le_u32(8)?, 120);
    // The mapping keeps the device open.
    drop(device);
    drop(bar);
    assert_eq!(mapped.read_le_u32(8)?, 120);
    Ok(())
}

/// What the crate reads of the container.
fn container() -> TestResult {
    let bound = machine::edu()?;
    let device = open(&bound)?;
    let container = device.container();
    assert_eq!(
        container.groups(),
        [bound.iommu_group().context("no group")?]
    );
    let iommu = device.iommu();
    assert_eq!(iommu.alignment(), PAGE);
    assert_eq!(iommu.max_num_mappings(), 65535);
    // All but the first page and the window of interrupts. The crate leaves out the page at
    // 0, and takes the last address of a range for its end.
    assert_eq!(
        iommu.valid_iova_ranges(),
        [0x1000..0xfedf_ffff, 0xfef0_0000..0xffff_ffff_ffff]
    );
    Ok(())
}

fn dma() -> TestResult {
    let bound = machine::edu()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    let device = open(&bound)?;
    let bar = bar(&device, 0)?;
    let edu = Edu::new(&bar as &dyn PciRegion)?;
    let iommu = device.iommu();
    let high = DMA_END - 4 * PAGE as u64;
    for (at, seed) in [(AT, 1), (high, 2)] {
        memory.write(0, &pattern(seed));
        // SAFETY: The memory is accessed by copies only, until it goes as a whole.
        unsafe { iommu.map(at, 4 * PAGE, start(&memory), Permissions::ReadWrite)? };
        edu.read_page(at)?;
        edu.write_page(at + 8192)?;
        assert_eq!(memory.read(8192, PAGE), pattern(seed));
        iommu.unmap(at, 4 * PAGE)?;
        memory.write(8192, &pattern(9));
        edu.write_page(at + 8192)?;
        assert_eq!(memory.read(8192, PAGE), pattern(9));
    }
    Ok(())
}

fn start(memory: &Memory) -> *const u8 {
    memory.address() as *const u8
}

/// The device may only read one page, and only write another one.
fn dma_one_way() -> TestResult {
    let bound = machine::edu()?;
    let (from, to) = (Memory::anonymous(PAGE)?, Memory::anonymous(PAGE)?);
    let device = open(&bound)?;
    let bar = bar(&device, 0)?;
    let edu = Edu::new(&bar as &dyn PciRegion)?;
    let iommu = device.iommu();
    let target = AT + 0x10_0000;
    from.write(0, &pattern(1));
    to.write(0, &pattern(2));
    // SAFETY: The memory is accessed by copies only, until it goes as a whole.
    unsafe {
        iommu.map(AT, PAGE, start(&from), Permissions::Read)?;
        iommu.map(target, PAGE, start(&to), Permissions::Write)?;
    }
    edu.read_page(AT)?;
    edu.write_page(target)?;
    assert_eq!(to.read(0, PAGE), pattern(1));
    from.write(0, &pattern(3));
    edu.write_page(AT)?;
    assert_eq!(from.read(0, PAGE), pattern(3));
    iommu.unmap(AT, PAGE)?;
    iommu.unmap(target, PAGE)?;
    Ok(())
}

fn two_groups() -> TestResult {
    let edus = machine::two_edus()?;
    let memory = Memory::anonymous(2 * PAGE)?;
    let groups: Vec<u32> = edus.iter().filter_map(Target::iommu_group).collect();
    let container = Arc::new(VfioContainer::new(&groups)?);
    assert_eq!(container.groups().len(), 2);
    // SAFETY: The memory is accessed by copies only, until it goes as a whole.
    unsafe {
        let iommu = container.iommu();
        iommu.map(AT, 2 * PAGE, start(&memory), Permissions::ReadWrite)?;
    }
    for (edu, seed) in edus.iter().zip([1, 2]) {
        let device = enabled(VfioPciDevice::open_in_container(
            edu.sysfs(),
            container.clone(),
        )?)?;
        let bar = bar(&device, 0)?;
        let edu = Edu::new(&bar as &dyn PciRegion)?;
        memory.write(0, &pattern(seed));
        edu.read_page(AT)?;
        edu.write_page(AT + 4096)?;
        assert_eq!(memory.read(PAGE, PAGE), pattern(seed));
    }
    // Closed with the container, and without having been unmapped.
    Ok(())
}

fn two_in_a_group() -> TestResult {
    let [a, b] = machine::free_pair()?;
    let (a, b) = (a.bind()?, b.bind()?);
    let group: u32 = b.group_name()?.parse()?;
    let container = Arc::new(VfioContainer::new(&[group])?);
    let open = |edu: &dyn Target| -> Result<VfioPciDevice> {
        enabled(VfioPciDevice::open_in_container(
            edu.sysfs(),
            container.clone(),
        )?)
    };
    let (first, second) = (open(&a)?, open(&b)?);
    for (device, n) in [(&first, 3), (&second, 4)] {
        let bar = bar(device, 0)?;
        Edu::new(&bar as &dyn PciRegion)?.factorial(n)?;
    }
    assert_eq!(bar(&first, 0)?.read_le_u32(8)?, 6);
    assert_eq!(bar(&second, 0)?.read_le_u32(8)?, 24);
    Ok(())
}

fn msi() -> TestResult {
    let bound = machine::edu()?;
    let memory = Memory::anonymous(PAGE)?;
    let device = open(&bound)?;
    let bar = bar(&device, 0)?;
    let edu = Edu::new(&bar as &dyn PciRegion)?;
    let interrupts = device.interrupts();
    let msi = interrupts.msi();
    assert_eq!((msi.max(), interrupts.msi_x().max()), (1, 0));
    // SAFETY: The memory is accessed by copies only, until it goes as a whole.
    unsafe {
        let iommu = device.iommu();
        iommu.map(AT, PAGE, start(&memory), Permissions::ReadWrite)?;
    }
    for _ in 0..3 {
        let event = event()?;
        msi.enable(&[event.as_raw_fd()])?;
        edu.raise(0x42)?;
        assert_eq!(arrived(&event)?, 1);
        assert_eq!(edu.acknowledge()?, 0x42);
        edu.write_page_and_interrupt(AT)?;
        assert_eq!(arrived(&event)?, 1);
        assert_eq!(edu.acknowledge()?, COPIED);
        msi.disable()?;
        edu.raise(1)?;
        edu.acknowledge()?;
        silent(&event)?;
    }
    device.iommu().unmap(AT, PAGE)?;
    Ok(())
}

/// Each vector, raised by the device itself.
fn msi_x() -> TestResult {
    /// Sets causes of interrupts.
    const EICS: u64 = 0x1520;
    /// Which causes raise interrupts.
    const EIMS: u64 = 0x1524;
    /// Which interrupts there are: several.
    const GPIE: u64 = 0x1514;
    const SEVERAL: u32 = 0x10;
    let igb = machine::igb()?;
    let device = open(&igb)?;
    let bar = bar(&device, 0)?;
    let interrupts = device.interrupts();
    let msi_x = interrupts.msi_x();
    assert_eq!(msi_x.max(), 10);
    let events: Vec<EventFd> = (0..10).map(|_| event()).collect::<Result<_>>()?;
    let files: Vec<i32> = events.iter().map(AsRawFd::as_raw_fd).collect();
    msi_x.enable(&files)?;
    bar.write_le_u32(GPIE, SEVERAL)?;
    bar.write_le_u32(EIMS, 0x3ff)?;
    for (vector, event) in events.iter().enumerate() {
        bar.write_le_u32(EICS, 1 << vector)?;
        assert_eq!(arrived(event)?, 1);
    }
    for event in &events {
        assert!(event.read().is_err(), "more than one came");
    }
    msi_x.disable()?;
    bar.write_le_u32(EICS, 1)?;
    silent(&events[0])
}

fn line() -> TestResult {
    let bound = machine::edu()?;
    let device = open(&bound)?;
    let bar = bar(&device, 0)?;
    let edu = Edu::new(&bar as &dyn PciRegion)?;
    let interrupts = device.interrupts();
    let line = interrupts.intx();
    assert_eq!(line.max(), 1);
    for _ in 0..3 {
        let event = event()?;
        line.enable(&[event.as_raw_fd()])?;
        edu.raise(1)?;
        assert_eq!(arrived(&event)?, 1);
        // Masked, and this crate does not unmask it.
        edu.raise(2)?;
        silent(&event)?;
        assert_eq!(edu.acknowledge()?, 3);
        line.disable()?;
    }
    Ok(())
}

fn reset() -> TestResult {
    // Where the card finds room for what it receives.
    const RDBAL: u64 = 0xc000;
    let igb = machine::igb()?;
    let device = open(&igb)?;
    let registers = bar(&device, 0)?;
    registers.write_le_u32(RDBAL, 0x1234_5680)?;
    assert_eq!(registers.read_le_u32(RDBAL)?, 0x1234_5680);
    device.reset()?;
    let device = enabled(device)?;
    assert_eq!(registers.read_le_u32(RDBAL)?, 0);
    drop(device);
    // There is no way to reset this one alone.
    let edu = machine::edu()?;
    let refused = open(&edu)?.reset().expect_err("edu was reset");
    assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
    Ok(())
}

fn refusals() -> TestResult {
    let errno = |error: std::io::Error| error.raw_os_error();
    let free = machine::free_edu()?;
    let refused = VfioPciDevice::open(free.sysfs()).expect_err("no driver for VFIO has it");
    assert_eq!(errno(refused), Some(libc::ENOENT));
    let bound = machine::edu()?;
    let memory = Memory::anonymous(2 * PAGE)?;
    let device = open(&bound)?;
    let refused = VfioPciDevice::open(bound.sysfs()).expect_err("another one has it open");
    assert_eq!(errno(refused), Some(libc::EBUSY));
    let iommu = device.iommu();
    let map = |at: u64, size: usize| {
        // SAFETY: The memory is accessed by copies only, until it goes as a whole.
        unsafe { iommu.map(at, size, start(&memory), Permissions::ReadWrite) }
    };
    map(AT, 2 * PAGE)?;
    for (at, size, words) in [
        (AT, PAGE, "File exists (os error 17)"),
        (AT + 8, PAGE, "Invalid argument (os error 22)"),
        (AT << 1, PAGE / 2, "Invalid argument (os error 22)"),
        (0xfee0_0000, PAGE, "Invalid argument (os error 22)"),
        (1 << 48, PAGE, "Invalid argument (os error 22)"),
    ] {
        let refused = map(at, size).expect_err("mapped").to_string();
        assert!(refused.ends_with(words), "{refused}");
    }
    let refused = iommu
        .unmap(AT, PAGE)
        .expect_err("half a mapping is unmapped");
    assert_eq!(errno(refused), Some(libc::EINVAL));
    // Nothing is there: the kernel unmaps 0 bytes, and the crate does not look at that.
    iommu.unmap(AT << 1, PAGE)?;
    iommu.unmap(AT, 2 * PAGE)?;
    Ok(())
}

/// Whoever closes a device can open it again at once, and finds no mappings.
fn again_and_again() -> TestResult {
    let bound = machine::edu()?;
    let memory = Memory::anonymous(PAGE)?;
    for _ in 0..50 {
        let device = open(&bound)?;
        assert_eq!(device.iommu().max_num_mappings(), 65535);
        // SAFETY: The memory is accessed by copies only, until it goes as a whole.
        unsafe {
            let iommu = device.iommu();
            iommu.map(AT, PAGE, start(&memory), Permissions::ReadWrite)?;
        }
    }
    Ok(())
}

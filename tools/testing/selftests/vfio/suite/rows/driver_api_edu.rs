// SPDX-License-Identifier: GPL-2.0
//! The API for drivers in Rust, by the driver of a real PCI device: row F218.

use std::{fs::File, io::Write};

use rustix::io::Errno;
use vfio_selftests::{
    container::Container,
    device::{Device, Event},
    edu::Edu,
    memory::Memory,
    migrate::{migrate, Plan},
    module,
    pci::{self, Bound, Config, PciDevice},
    target::Target,
    uapi, PAGE,
};

use super::map::IOVA;
use crate::{
    bench,
    check::fails,
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F218_what_it_is,
    F218_registers,
    F218_interrupts,
    F218_memory,
    F218_memory_by_iommufd,
    F218_moves,
    F218_data_that_make_no_sense,
    F218_wrong_devices,
    F218_bound_again,
];

const MODULE: &str = "rust_vfio_edu";

/// The module, with two devices that it has.
struct Loaded {
    // Given back before the module goes.
    devices: [Bound; 2],
    _module: Module,
}

struct Module(());

impl Module {
    fn load() -> anyhow::Result<Self> {
        if !module::file(MODULE).exists() {
            return skip("the driver was not built for this kernel");
        }
        module::load(MODULE, "")?;
        Ok(Self(()))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // Also if the test has failed, for the sake of the next one.
        if let Err(error) = module::unload(MODULE) {
            eprintln!("unload {MODULE}: {error}");
        }
    }
}

impl Loaded {
    fn new() -> anyhow::Result<Self> {
        let module = Module::load()?;
        let mut edus = bench::lone_edus().into_iter();
        let mut next = || -> anyhow::Result<Bound> {
            match edus.next() {
                Some(edu) => edu.bind_driver(MODULE),
                None => skip("there are not two edu devices"),
            }
        };
        Ok(Self {
            devices: [next()?, next()?],
            _module: module,
        })
    }
}

fn F218_what_it_is() -> TestResult {
    let loaded = Loaded::new()?;
    let session = loaded.devices[0].open(uapi::TYPE1v2_IOMMU)?;
    let device = &session.device;
    let info = device.info()?;
    assert_eq!(
        info.flags,
        uapi::DEVICE_FLAGS_PCI | uapi::DEVICE_FLAGS_RESET
    );
    assert_eq!((info.num_regions, info.num_irqs), (9, 5));
    let bar = device.region(uapi::PCI_BAR0_REGION_INDEX)?.head;
    assert_eq!(bar.size, 1 << 20);
    for absent in 1..7 {
        let region = device.region(absent)?.head;
        assert_eq!((region.size, region.flags), (0, 0));
        fails(device.read::<4>(region.offset), Errno::INVAL);
    }
    assert_eq!(device.irq_info(uapi::PCI_INTX_IRQ_INDEX)?.count, 0);
    assert_eq!(device.irq_info(uapi::PCI_MSI_IRQ_INDEX)?.count, 1);
    assert_eq!(Config::of(device)?.id()?, pci::EDU);
    Ok(())
}

fn F218_registers() -> TestResult {
    let loaded = Loaded::new()?;
    let session = loaded.devices[0].open(uapi::TYPE1v2_IOMMU)?;
    let edu = Edu::new(&session.device)?;
    assert_eq!(edu.invert(0x1234_5678)?, !0x1234_5678);
    assert_eq!(edu.factorial(10)?, 3_628_800);
    // It wants whole registers.
    let bar = session.device.region(uapi::PCI_BAR0_REGION_INDEX)?.head;
    fails(session.device.read::<1>(bar.offset), Errno::INVAL);
    fails(session.device.read::<8>(bar.offset), Errno::INVAL);
    let end = bar.offset + bar.size;
    assert_eq!(session.device.read_at(end, &mut [0; 4])?, 0);
    fails(session.device.read_at(end + 4, &mut [0; 4]), Errno::INVAL);
    Ok(())
}

fn F218_interrupts() -> TestResult {
    let loaded = Loaded::new()?;
    let session = loaded.devices[0].open(uapi::TYPE1v2_IOMMU)?;
    let edu = Edu::new(&session.device)?;
    for _ in 0..3 {
        let event = Event::new()?;
        session
            .device
            .set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&event])?;
        edu.raise_irq(4)?;
        assert_eq!(event.wait(10)?, 1);
        assert_eq!(edu.irq_status()?, 4);
        edu.acknowledge_irq(4)?;
        session.device.disable_irqs(uapi::PCI_MSI_IRQ_INDEX)?;
        // Nobody is told any more.
        edu.raise_irq(8)?;
        edu.acknowledge_irq(8)?;
        assert_eq!(event.wait(0)?, 0);
    }
    // Closed while it is enabled.
    let event = Event::new()?;
    session
        .device
        .set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&event])?;
    Ok(())
}

/// The device copies from one page to the other.
fn copies(device: &Device, memory: &Memory) -> TestResult {
    let edu = Edu::new(device)?;
    memory.write(0, b"through the IOMMU");
    edu.read_memory(IOVA, 17)?;
    edu.write_memory(IOVA + PAGE as u64, 17)?;
    assert_eq!(memory.read(PAGE, 17), b"through the IOMMU");
    Ok(())
}

fn F218_memory() -> TestResult {
    let loaded = Loaded::new()?;
    let session = loaded.devices[0].open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    session.container.map(&memory, IOVA)?;
    copies(&session.device, &memory)
}

fn F218_memory_by_iommufd() -> TestResult {
    let loaded = Loaded::new()?;
    let iommufd = bench::iommufd()?;
    let (device, _) = loaded.devices[0].bind_to(&iommufd)?;
    let ioas = iommufd.ioas()?;
    device.attach(ioas)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    iommufd.map(ioas, &memory, IOVA)?;
    copies(&device, &memory)
}

fn F218_moves() -> TestResult {
    let loaded = Loaded::new()?;
    let container = Container::open()?;
    let groups = [
        loaded.devices[0].join(&container)?,
        loaded.devices[1].join(&container)?,
    ];
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let [source, target] = [0, 1].map(|n| groups[n].device(loaded.devices[n].name()));
    let (source, target) = (source?, target?);
    assert_eq!(source.migration_flags()?, uapi::MIGRATION_STOP_COPY);
    let (first, second) = (Edu::new(&source)?, Edu::new(&target)?);
    assert_eq!(first.factorial(9)?, 362_880);
    assert_eq!(first.invert(77)?, !77);
    let memory = Memory::anonymous(2 * PAGE)?;
    container.map(&memory, IOVA)?;
    copies(&source, &memory)?;
    let moved = migrate(&source, &target, Plan::default(), |_| true)?;
    assert_eq!(
        (moved.rounds, moved.running, moved.stopped),
        (0, 0, 16 + 16 + 56)
    );
    // The result was computed again, and the registers of the copy are there.
    let bar = target.region(uapi::PCI_BAR0_REGION_INDEX)?.head.offset;
    let get = |at: u64| target.read(bar + at).map(u32::from_le_bytes);
    assert_eq!(get(0x08)?, 362_880);
    assert_eq!(get(0x04)?, !77);
    let wide = |at: u64| target.read(bar + at).map(u64::from_le_bytes);
    assert_eq!(wide(0x88)?, IOVA + PAGE as u64);
    assert_eq!(wide(0x90)?, 17);
    assert_eq!(second.factorial(5)?, 120);
    copies(&target, &memory)?;
    // A device that is stopped does nothing.
    let bar = source.region(uapi::PCI_BAR0_REGION_INDEX)?.head.offset;
    for register in [0x08, 0x60, 0x98] {
        fails(
            source.write(bar + register, &1u32.to_le_bytes()),
            Errno::BUSY,
        );
    }
    // One with an interrupt that nobody has acknowledged is not saved.
    source.set_migration_state(uapi::DEVICE_STATE_RUNNING)?;
    first.raise_irq(4)?;
    fails(
        source.set_migration_state(uapi::DEVICE_STATE_STOP_COPY),
        Errno::BUSY,
    );
    assert_eq!(source.migration_state()?, uapi::DEVICE_STATE_STOP);
    source.reset()?;
    assert_eq!(first.irq_status()?, 0);
    assert_eq!(source.migration_state()?, uapi::DEVICE_STATE_RUNNING);
    assert_eq!(first.factorial(5)?, 120);
    Ok(())
}

fn F218_data_that_make_no_sense() -> TestResult {
    let loaded = Loaded::new()?;
    let session = loaded.devices[0].open(uapi::TYPE1v2_IOMMU)?;
    let device = &session.device;
    let begin = || -> anyhow::Result<File> {
        let file = device.set_migration_state(uapi::DEVICE_STATE_RESUMING)?;
        Ok(file.expect("a data file").into())
    };
    let number = |n: u64| n.to_le_bytes().to_vec();
    let data = |format, registers: Vec<u8>| {
        let begin = [number(0x4245_4749_4e00_0001), number(format)].concat();
        let end = [number(0x454e_4400_0000_0003), number(7)].concat();
        [begin, end, registers].concat()
    };
    // Too much, another format, and no memory to be restored.
    assert!(begin()?.write_all(&data(1, vec![0; 57])).is_err());
    device.reset()?;
    fails(
        rustix::io::write(begin()?, &data(2, vec![])),
        Errno::OPNOTSUPP,
    );
    device.reset()?;
    let page = [number(0x5041_4745_0000_0002), number(0)].concat();
    assert!(begin()?
        .write_all(&[&data(1, vec![])[..16], &page].concat())
        .is_err());
    device.reset()?;
    // Too little, and no register that is so wide.
    let wide = [vec![0xff; 8], vec![0; 48]].concat();
    for registers in [vec![0; 55], wide] {
        begin()?.write_all(&data(1, registers))?;
        fails(
            device.set_migration_state(uapi::DEVICE_STATE_RUNNING),
            Errno::INVAL,
        );
        assert_eq!(device.migration_state()?, uapi::DEVICE_STATE_ERROR);
        device.reset()?;
    }
    assert_eq!(device.migration_state()?, uapi::DEVICE_STATE_RUNNING);
    assert_eq!(Edu::new(device)?.factorial(4)?, 24);
    Ok(())
}

fn F218_wrong_devices() -> TestResult {
    let _module = Module::load()?;
    let Some(igb) = PciDevice::find(pci::IGB).into_iter().next() else {
        return skip("there is no other device");
    };
    assert!(igb.bind_driver(MODULE).is_err());
    igb.release()
}

fn F218_bound_again() -> TestResult {
    let loaded = Loaded::new()?;
    let [first, second] = loaded.devices;
    drop(first.open(uapi::TYPE1v2_IOMMU)?);
    drop((first, second));
    let edu = bench::lone_edus().remove(0);
    for _ in 0..3 {
        let bound = edu.bind_driver(MODULE)?;
        let session = bound.open(uapi::TYPE1v2_IOMMU)?;
        assert_eq!(Edu::new(&session.device)?.factorial(3)?, 6);
    }
    Ok(())
}

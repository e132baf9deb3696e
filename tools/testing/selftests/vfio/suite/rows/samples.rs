// SPDX-License-Identifier: GPL-2.0
//! The kernel's samples of emulated devices, drivers that know nothing of this
//! project: row F124.

use rustix::io::Errno;
use vfio_selftests::{
    container::READ_WRITE,
    mdev::Mdev,
    module,
    pci::Config,
    target::{Session, Target},
    uapi, PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench,
    check::{fails, Books},
    emulated::touched,
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F124_serial_port,
    F124_framebuffer,
    F124_display,
    F124_three_in_one_container,
];

const PAGE64: u64 = PAGE as u64;

/// A sample that is loaded for a test.
struct Sample(&'static str);

impl Sample {
    fn load(name: &'static str) -> anyhow::Result<Self> {
        if !module::file(name).exists() {
            return skip(format!("this kernel has no {name} sample"));
        }
        module::load(name, "")?;
        Ok(Self(name))
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Devices that a failed test left need it.
        if let Err(error) = module::unload(self.0) {
            eprintln!("unload {}: {error}", self.0);
        }
    }
}

/// What every emulated device can have: memory in its container, which costs
/// nothing as long as nobody uses it.
fn check_memory(session: &Session) -> TestResult {
    let container = &session.container;
    let memory = touched(8)?;
    let books = Books::open()?;
    container.map_part(&memory, 0, 4 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(&memory, 4 * PAGE, 4 * PAGE, 2 * IOVA, READ_WRITE)?;
    books.say(0, 0);
    fails(container.map(&memory, IOVA), Errno::EXIST);
    container.dirty_start()?;
    assert_eq!(container.dirty(IOVA, 4)?, []);
    container.dirty_stop()?;
    fails(
        container.unmap_with(uapi::DMA_UNMAP_FLAG_VADDR, IOVA, 4 * PAGE64),
        Errno::BUSY,
    );
    assert_eq!(container.unmap_all()?, 8 * PAGE64);
    Ok(())
}

fn F124_serial_port() -> TestResult {
    let mtty = bench::mtty(1)?;
    let session = mtty.open(uapi::TYPE1v2_IOMMU)?;
    let device = &session.device;
    let info = device.info()?;
    assert_ne!(info.flags & uapi::DEVICE_FLAGS_PCI, 0);
    assert_eq!(Config::of(device)?.id()?, (0x4348, 0x3253));
    // The scratch register of the port keeps what it is told.
    let bar = device.region(uapi::PCI_BAR0_REGION_INDEX)?.head;
    for value in [0x5a, 0xa5, 0] {
        device.write(bar.offset + 7, &[value])?;
        assert_eq!(device.read::<1>(bar.offset + 7)?, [value]);
    }
    check_memory(&session)
}

fn F124_framebuffer() -> TestResult {
    let _sample = Sample::load("mdpy")?;
    let mdpy = Mdev::create_at("mdpy", "mdpy-vga", 0x77)?;
    let edu = bench::bound_edu()?;
    let session = mdpy.open(uapi::TYPE1v2_IOMMU)?;
    let (container, device) = (&session.container, &session.device);
    assert_eq!(Config::of(device)?.id()?, (0x1b36, 0x000f));
    let config = device.region(uapi::PCI_CONFIG_REGION_INDEX)?.head.offset;
    let word = |at: u64| device.read::<4>(config + at).map(u32::from_le_bytes);
    assert_eq!((word(0x48)?, word(0x4c)?), (640, 480));
    // Its memory, by reading and writing, and by mapping.
    let bar = device.region(uapi::PCI_BAR0_REGION_INDEX)?.head;
    assert!(bar.size >= 640 * 480 * 4);
    let view = device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
    // The sample takes each access for one to the start.
    device.write(bar.offset, b"file")?;
    assert_eq!(view.read(0, 4), b"file");
    view.write(0, b"view");
    assert_eq!(device.read::<4>(bar.offset)?, *b"view");
    check_memory(&session)?;
    // It is memory like any other: a real device can draw there.
    let books = Books::open()?;
    container.map_part(&view, 0, 4 * PAGE, IOVA, READ_WRITE)?;
    books.say(0, 0);
    let group = edu.join(container)?;
    let real = group.device(edu.name())?;
    view.write(3 * PAGE, b"draw");
    copy(&real, IOVA + 3 * PAGE64, IOVA, 4)?;
    assert_eq!(device.read::<4>(bar.offset)?, *b"draw");
    assert_eq!(container.unmap_all()?, 4 * PAGE64);
    books.say(0, 0);
    Ok(())
}

fn F124_display() -> TestResult {
    let _sample = Sample::load("mbochs")?;
    let mbochs = Mdev::create_at("mbochs", "mbochs-small", 0x78)?;
    let session = mbochs.open(uapi::TYPE1v2_IOMMU)?;
    let device = &session.device;
    assert_eq!(Config::of(device)?.id()?, (0x1234, 0x1111));
    // Its registers: a number that says which interface it has.
    let bar = device.region(uapi::PCI_BAR2_REGION_INDEX)?.head;
    let id = device
        .read::<2>(bar.offset + 0x500)
        .map(u16::from_le_bytes)?;
    assert_eq!(id, 0xb0c5);
    // Its memory.
    let bar = device.region(uapi::PCI_BAR0_REGION_INDEX)?.head;
    let view = device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
    device.write(bar.offset + 5 * PAGE64, b"file")?;
    assert_eq!(device.read::<4>(bar.offset + 5 * PAGE64)?, *b"file");
    // The sample has it two pages further on.
    assert_eq!(view.read(7 * PAGE, 4), b"file");
    // A region of a kind of its own, which says so.
    let own = device.region(uapi::PCI_NUM_REGIONS)?;
    assert_eq!(own.caps.len(), 1);
    check_memory(&session)
}

fn F124_three_in_one_container() -> TestResult {
    let _samples = (Sample::load("mdpy")?, Sample::load("mbochs")?);
    let devices = [
        bench::mtty(1)?,
        Mdev::create_at("mdpy", "mdpy-xga", 0x77)?,
        Mdev::create_at("mbochs", "mbochs-small", 0x78)?,
    ];
    let session = devices[0].open(uapi::TYPE1v2_IOMMU)?;
    let mut open = Vec::new();
    for device in &devices[1..] {
        let group = device.join(&session.container)?;
        open.push((group.device(device.name())?, group));
    }
    check_memory(&session)?;
    for (device, _) in &open {
        device.info()?;
    }
    // They leave in another order than they came.
    let memory = touched(1)?;
    session.container.map(&memory, IOVA)?;
    drop(session.device);
    session.group.unset_container()?;
    open.remove(0);
    assert_eq!(session.container.unmap_all()?, PAGE64);
    Ok(())
}

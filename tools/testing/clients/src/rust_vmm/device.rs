// SPDX-License-Identifier: GPL-2.0
//! What devices have, and opening and closing them.

use anyhow::Context;
use vfio_bindings::bindings::vfio::*;
use vfio_ioctls::{VfioDevice, VfioRegionInfoCap};
use vfio_selftests::{harness::TestResult, target::Target};

use super::vmm::{edu as driver, Vmm};
use crate::{complaints, machine};

const READ: u32 = VFIO_REGION_INFO_FLAG_READ;
const WRITE: u32 = VFIO_REGION_INFO_FLAG_WRITE;
const MMAP: u32 = VFIO_REGION_INFO_FLAG_MMAP;
const CAPS: u32 = VFIO_REGION_INFO_FLAG_CAPS;

/// Returns the size and the flags of each region.
fn regions(device: &VfioDevice) -> Vec<(u64, u32)> {
    (0..=VFIO_PCI_CONFIG_REGION_INDEX)
        .map(|index| {
            (
                device.get_region_size(index),
                device.get_region_flags(index),
            )
        })
        .collect()
}

/// Returns the number and the flags of each kind of interrupts.
fn interrupts(device: &VfioDevice) -> Vec<(u32, u32)> {
    (0..VFIO_PCI_NUM_IRQS)
        .map_while(|index| device.get_irq_info(index))
        .map(|irq| (irq.count, irq.flags))
        .collect()
}

/// Reads the vendor and the number of the device.
fn id(device: &VfioDevice) -> [u8; 4] {
    let mut id = [0; 4];
    device.region_read(VFIO_PCI_CONFIG_REGION_INDEX, &mut id, 0);
    id
}

const EVENT: u32 = VFIO_IRQ_INFO_EVENTFD;
const NO_RESIZE: u32 = EVENT | VFIO_IRQ_INFO_NORESIZE;
const LINE: u32 = EVENT | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;

pub(super) fn edu(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let device = vmm.device(&edu)?;
    let none = (0, 0);
    let bar = (1 << 20, READ | WRITE | MMAP);
    let config = (256, READ | WRITE);
    assert_eq!(
        regions(&device),
        [bar, none, none, none, none, none, none, config]
    );
    assert_eq!(device.get_region_caps(0), []);
    assert_eq!(
        device.get_region_offset(VFIO_PCI_CONFIG_REGION_INDEX),
        7 << 40
    );
    assert_eq!(
        interrupts(&device),
        [
            (1, LINE),
            (1, NO_RESIZE),
            (0, NO_RESIZE),
            (1, NO_RESIZE),
            (1, NO_RESIZE)
        ]
    );
    assert_eq!(device.max_interrupts(), 1);
    assert_eq!(id(&device), [0x34, 0x12, 0xe8, 0x11]);
    let driver = driver(&device)?;
    assert_eq!(driver.invert(0x1234_5678)?, !0x1234_5678);
    assert_eq!(driver.factorial(10)?, 3_628_800);
    assert_eq!(device.iommufd_dev_id().is_some(), vmm.iommufd().is_some());
    Ok(())
}

pub(super) fn igb(vmm: &Vmm) -> TestResult {
    let igb = machine::igb()?;
    let device = vmm.device(&igb)?;
    let msi_x = device
        .get_irq_info(VFIO_PCI_MSIX_IRQ_INDEX)
        .context("no MSI-X")?;
    assert_eq!((msi_x.count, msi_x.flags), (10, EVENT));
    assert_eq!(device.max_interrupts(), 10);
    assert_eq!(id(&device), [0x86, 0x80, 0xc9, 0x10]);
    // Its table of interrupts is in a region that may be mapped as a whole.
    let tables: Vec<_> = (0..6)
        .filter(|&index| device.get_region_flags(index) & CAPS != 0)
        .map(|index| device.get_region_caps(index))
        .collect();
    assert_eq!(tables, [[VfioRegionInfoCap::MsixMappable]]);
    assert_eq!(device.get_region_size(VFIO_PCI_CONFIG_REGION_INDEX), 4096);
    Ok(())
}

pub(super) fn reset(vmm: &Vmm) -> TestResult {
    // Where the card finds room for what it receives.
    const RDBAL: u64 = 0xc000;
    let igb = machine::igb()?;
    let device = vmm.device(&igb)?;
    let mut bytes = [0; 4];
    device.region_write(0, &0x1234_5680_u32.to_le_bytes(), RDBAL);
    device.region_read(0, &mut bytes, RDBAL);
    assert_eq!(u32::from_le_bytes(bytes), 0x1234_5680);
    device.reset();
    super::vmm::enable(&device);
    device.region_read(0, &mut bytes, RDBAL);
    assert_eq!(u32::from_le_bytes(bytes), 0);
    // One that cannot be reset is not.
    let edu = machine::edu()?;
    let device = vmm.device(&edu)?;
    let driver = driver(&device)?;
    assert_eq!(driver.invert(1)?, !1);
    device.reset();
    assert_eq!(complaints::take(), [""; 0]);
    Ok(())
}

/// Whoever closes a device can open it again at once.
pub(super) fn again_and_again(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    for _ in 0..50 {
        let device = vmm.device(&edu)?;
        assert_eq!(driver(&device)?.invert(7)?, !7);
    }
    Ok(())
}

pub(super) fn two_groups(vmm: &Vmm) -> TestResult {
    let [a, b] = machine::two_edus()?;
    let first = vmm.device(&a)?;
    for _ in 0..3 {
        let second = vmm.device(&b)?;
        assert_eq!(driver(&second)?.invert(2)?, !2);
        assert_eq!(driver(&first)?.invert(1)?, !1);
    }
    let second = vmm.device(&b)?;
    drop(first);
    assert_eq!(driver(&second)?.invert(2)?, !2);
    Ok(())
}

/// The crate knows of one device for each group only: when it closes the first one, it wants
/// to have the group back, and is told that it is in use.
pub(super) fn two_in_a_group(vmm: &Vmm) -> TestResult {
    let [a, b] = machine::free_pair()?;
    let (a, b) = (a.bind()?, b.bind()?);
    b.group_name()?;
    let first = vmm.device(&a)?;
    let second = vmm.device(&b)?;
    assert_eq!(driver(&first)?.invert(1)?, !1);
    drop(first);
    let busy = complaints::take();
    match vmm.container() {
        Some(_) => assert!(busy[0].ends_with("busy (os error 16)"), "{busy:?}"),
        None => assert_eq!(busy, [""; 0]),
    }
    // The other one does not notice.
    assert_eq!(driver(&second)?.invert(2)?, !2);
    drop(second);
    if vmm.has_kvm() {
        // KVM was told already to forget the group.
        complaints::take();
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Interrupts by eventfds.

use vfio_bindings::bindings::vfio::{VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX};
use vfio_selftests::harness::TestResult;
use vmm_sys_util::eventfd::EventFd;

use super::vmm::{edu as driver, guest_memory, Vmm};
use crate::{
    edu::COPIED,
    machine::{self, arrived, event, silent},
};

pub(super) fn msi(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let memory = guest_memory()?;
    let device = vmm.device(&edu)?;
    let driver = driver(&device)?;
    for _ in 0..3 {
        let event = event()?;
        device.enable_msi(vec![&event])?;
        driver.raise(0x42)?;
        assert_eq!(arrived(&event)?, 1);
        assert_eq!(driver.acknowledge()?, 0x42);
        // At the end of a copy.
        vmm.map(&memory)?;
        driver.write_page_and_interrupt(0x5000)?;
        assert_eq!(arrived(&event)?, 1);
        assert_eq!(driver.acknowledge()?, COPIED);
        vmm.unmap(&memory)?;
        device.disable_msi()?;
        driver.raise(1)?;
        driver.acknowledge()?;
        silent(&event)?;
    }
    Ok(())
}

pub(super) fn msi_x(vmm: &Vmm) -> TestResult {
    let igb = machine::igb()?;
    let device = vmm.device(&igb)?;
    let events: Vec<EventFd> = (0..10).map(|_| event()).collect::<Result<_, _>>()?;
    // More than it has.
    let other = event()?;
    let many = events.iter().chain([&other]).collect();
    assert!(device.enable_msix(many).is_err());
    for count in [1, 10, 3] {
        let events: Vec<&EventFd> = events[..count].iter().collect();
        device.enable_msix(events.clone())?;
        // By the kernel, as if the device had raised them.
        for (vector, event) in events.iter().enumerate() {
            device.trigger_irq(VFIO_PCI_MSIX_IRQ_INDEX, u32::try_from(vector)?)?;
            assert_eq!(arrived(event)?, 1);
        }
        device.disable_msix()?;
        assert!(device.trigger_irq(VFIO_PCI_MSIX_IRQ_INDEX, 0).is_err());
    }
    Ok(())
}

/// The interrupt line, which is masked until the guest has acknowledged.
pub(super) fn line(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let device = vmm.device(&edu)?;
    let driver = driver(&device)?;
    let (event, resample) = (event()?, event()?);
    device.enable_irq(VFIO_PCI_INTX_IRQ_INDEX, vec![&event])?;
    driver.raise(1)?;
    assert_eq!(arrived(&event)?, 1);
    driver.raise(2)?;
    silent(&event)?;
    // The line is still up, so this is the next one.
    device.unmask_irq(VFIO_PCI_INTX_IRQ_INDEX)?;
    assert_eq!(arrived(&event)?, 1);
    assert_eq!(driver.acknowledge()?, 3);
    device.set_irq_resample_fd(VFIO_PCI_INTX_IRQ_INDEX, vec![&resample])?;
    for _ in 0..3 {
        resample.write(1)?;
        silent(&event)?;
        driver.raise(4)?;
        assert_eq!(arrived(&event)?, 1);
        assert_eq!(driver.acknowledge()?, 4);
    }
    device.disable_irq(VFIO_PCI_INTX_IRQ_INDEX)?;
    Ok(())
}

/// Who closes a device does not get its interrupts any more.
pub(super) fn given_back(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let (first, second) = (event()?, event()?);
    let device = vmm.device(&edu)?;
    device.enable_msi(vec![&first])?;
    drop(device);
    let device = vmm.device(&edu)?;
    device.enable_msi(vec![&second])?;
    let driver = driver(&device)?;
    driver.raise(1)?;
    assert_eq!(arrived(&second)?, 1);
    silent(&first)?;
    assert_eq!(driver.acknowledge()?, 1);
    Ok(())
}

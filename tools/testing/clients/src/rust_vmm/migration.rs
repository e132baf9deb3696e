// SPDX-License-Identifier: GPL-2.0
//! Migration from one device to another.

use anyhow::{ensure, Context};
use vfio_bindings::bindings::vfio::*;
use vfio_ioctls::VfioDevice;
use vfio_selftests::{harness::TestResult, target::Target};

use super::vmm::{edu as driver, Vmm};
use crate::{
    complaints,
    machine::{self, MovableEdus},
};

const STOP: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_STOP;
const RUNNING: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING;
const STOP_COPY: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_STOP_COPY;
const RESUMING: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_RESUMING;
const PRE_COPY: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY;

/// Saves a device, while it is running first if it can.
fn save(device: &VfioDevice) -> anyhow::Result<Vec<u8>> {
    let flags = device
        .query_migration_support()?
        .context("it does not migrate")?;
    ensure!(flags & u64::from(VFIO_MIGRATION_STOP_COPY) != 0);
    assert_eq!(device.get_migration_state()?, RUNNING);
    let mut data = Vec::new();
    if flags & u64::from(VFIO_MIGRATION_PRE_COPY) != 0 {
        device.set_migration_state(PRE_COPY)?;
        assert_eq!(device.get_migration_state()?, PRE_COPY);
        let left = device.mig_get_precopy_info()?;
        let mut piece = vec![0; usize::try_from(left.initial_bytes)?];
        while !piece.is_empty() {
            let count = device.read_migration_data(&mut piece)?;
            data.extend(piece.drain(..count));
            ensure!(count > 0, "less came than was promised");
        }
        assert_eq!(device.mig_get_precopy_info()?.initial_bytes, 0);
    }
    device.set_migration_state(STOP_COPY)?;
    assert_eq!(device.get_migration_state()?, STOP_COPY);
    data.extend(device.read_migration_data_to_end()?);
    device.set_migration_state(STOP)?;
    assert!(device.mig_get_precopy_info().is_err());
    Ok(data)
}

/// Lets another device go on.
fn restore(device: &VfioDevice, data: &[u8]) -> TestResult {
    device.set_migration_state(RESUMING)?;
    for piece in data.chunks(7) {
        device.write_migration_data(piece)?;
    }
    device.set_migration_state(STOP)?;
    device.set_migration_state(RUNNING)?;
    assert_eq!(device.get_migration_state()?, RUNNING);
    Ok(())
}

pub(super) fn serial_port(vmm: &Vmm) -> TestResult {
    // Registers of the port: what kinds of interrupts it raises, and one to keep a byte.
    const INTERRUPTS: u64 = 1;
    const SCRATCH: u64 = 7;
    let ports = machine::two_serial_ports()?;
    let (source, target) = (vmm.open(ports[0].sysfs())?, vmm.open(ports[1].sysfs())?);
    // It has no interrupts of some kinds.
    assert_eq!(complaints::take().len(), 6);
    assert_eq!(source.get_mig_data_size()?, target.get_mig_data_size()?);
    for (at, value) in [(INTERRUPTS, 5), (SCRATCH, 0x5a)] {
        source.region_write(0, &[value], at);
    }
    let data = save(&source)?;
    assert_eq!(data.len() as u64, source.get_mig_data_size()?);
    restore(&target, &data)?;
    for (at, value) in [(INTERRUPTS, 5), (SCRATCH, 0x5a)] {
        let mut byte = [0];
        target.region_read(0, &mut byte, at);
        assert_eq!(byte, [value]);
    }
    // The source can go on as well, as if nothing had been.
    source.set_migration_state(RUNNING)?;
    let mut byte = [0];
    source.region_read(0, &mut byte, SCRATCH);
    assert_eq!(byte, [0x5a]);
    Ok(())
}

/// A real device, which our driver saves while it is stopped.
pub(super) fn edu(vmm: &Vmm) -> TestResult {
    let edus = MovableEdus::new()?;
    let source = vmm.device(&edus.devices[0])?;
    let target = vmm.device(&edus.devices[1])?;
    assert_eq!(driver(&source)?.factorial(10)?, 3_628_800);
    assert_eq!(driver(&source)?.invert(0x1234)?, !0x1234);
    let data = save(&source)?;
    assert_eq!(data.len() as u64, source.get_mig_data_size()?);
    restore(&target, &data)?;
    let mut bytes = [0; 4];
    target.region_read(0, &mut bytes, 4);
    assert_eq!(u32::from_le_bytes(bytes), !0x1234);
    target.region_read(0, &mut bytes, 8);
    assert_eq!(u32::from_le_bytes(bytes), 3_628_800);
    assert_eq!(driver(&target)?.factorial(5)?, 120);
    Ok(())
}

/// A device that does not migrate says so.
pub(super) fn none(vmm: &Vmm) -> TestResult {
    for target in [machine::edu()?, machine::igb()?] {
        let device = vmm.device(&target)?;
        assert_eq!(device.query_migration_support()?, None);
    }
    Ok(())
}

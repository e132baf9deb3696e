// SPDX-License-Identifier: GPL-2.0

//! The requests that are the same for every device.

use kernel::prelude::*;

use crate::{
    bindings,
    driver::{
        access::Opened,
        device::{
            self,
            Driver, //
        },
        irq::{
            self,
            Irq, //
        },
        migration,
        uapi::{
            self,
            DeviceInfo,
            IrqInfo, //
        }, //
    }, //
};

/// Handles an ioctl of a device's file that the core has passed on. `arg` is what user space
/// passed.
///
/// # Errors
///
/// - Those of the functions below, and of [`irq::set`].
/// - `ENOTTY` for VFIO_DEVICE_RESET if the driver cannot reset the device.
/// - Any error of [`Driver::ioctl`] for other requests.
pub(crate) fn handle<D: Driver>(device: &Opened<'_, D>, cmd: u32, arg: usize) -> Result<isize> {
    match cmd {
        uapi::DEVICE_GET_INFO => info::<D>(arg)?,
        uapi::DEVICE_GET_IRQ_INFO => irq_info::<D>(arg)?,
        uapi::DEVICE_SET_IRQS => irq::set(D::IRQS, device::irqs::<D>(), device, arg)?,
        uapi::DEVICE_RESET if D::HAS_RESET => migration::reset(device, || D::reset(device))?,
        uapi::DEVICE_RESET => return Err(ENOTTY),
        _ => return D::ioctl(device, cmd, arg),
    }
    Ok(0)
}

/// Handles VFIO_DEVICE_GET_INFO.
///
/// # Errors
///
/// - `EFAULT` if the structure is not accessible.
/// - `EINVAL` if user space says that it is too small.
fn info<D: Driver>(arg: usize) -> Result {
    let mut info: DeviceInfo = uapi::read(arg, |info: &DeviceInfo| info.argsz)?;
    info.flags = D::BUS as u32;
    if D::HAS_RESET {
        info.flags |= bindings::VFIO_DEVICE_FLAGS_RESET;
    }
    // CAST: A driver has few of both.
    info.num_regions = device::regions::<D>() as u32;
    info.num_irqs = device::irqs::<D>() as u32;
    uapi::write(arg, &info)
}

/// Handles VFIO_DEVICE_GET_IRQ_INFO.
///
/// # Errors
///
/// - `EFAULT` if the structure is not accessible.
/// - `EINVAL` if user space says that it is too small, or there is no such kind of interrupts.
fn irq_info<D: Driver>(arg: usize) -> Result {
    let mut info: IrqInfo = uapi::read(arg, |info: &IrqInfo| info.argsz)?;
    let number = usize::try_from(info.index)?;
    if number >= device::irqs::<D>() {
        return Err(EINVAL);
    }
    let irq = D::IRQS.get(number);
    info.flags = irq.map_or(0, Irq::flags);
    info.count = irq.map_or(0, Irq::count);
    uapi::write(arg, &info)
}

// SPDX-License-Identifier: GPL-2.0

//! A VFIO driver for a real PCI device: the educational device of QEMU (1234:11e8).
//!
//! User space reads and writes the device's registers through the driver, gets its interrupts, and
//! lets it access memory through the IOMMU. The device can be saved while it is stopped: its
//! registers are few, and the driver knows what was written to those that cannot be read back. Its
//! buffer of 4 KiB cannot be read but by DMA and stays behind, and while an interrupt has not been
//! acknowledged the device cannot be saved.
//!
//! Numbers follow the conventions of PCI: region 0 is the BAR, region 7 the configuration, of which
//! only one bit can be written, and interrupt 1 the message-signalled ones.
//!
//! The registers are in `docs/specs/edu.rst` of QEMU.

use kernel::{
    device::{
        Bound,
        Core, //
    },
    io::Io,
    new_mutex,
    pci,
    prelude::*,
    sync::Mutex,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use vfio::prelude::*;

/// The registers.
mod register {
    pub(crate) const ID: usize = 0x00;
    pub(crate) const LIVENESS: usize = 0x04;
    pub(crate) const FACTORIAL: usize = 0x08;
    pub(crate) const STATUS: usize = 0x20;
    /// Interrupts that have not been acknowledged.
    pub(crate) const INTERRUPTS: usize = 0x24;
    pub(crate) const INTERRUPT_RAISE: usize = 0x60;
    pub(crate) const INTERRUPT_ACKNOWLEDGE: usize = 0x64;
    pub(crate) const DMA_SOURCE: usize = 0x80;
    pub(crate) const DMA_DESTINATION: usize = 0x88;
    pub(crate) const DMA_COUNT: usize = 0x90;
    pub(crate) const DMA_COMMAND: usize = 0x98;

    /// A bit of `STATUS`: the factorial is being computed.
    pub(crate) const COMPUTING: u32 = 1 << 0;
    /// A bit of `STATUS`: an interrupt is raised when that is done.
    pub(crate) const RAISES: u32 = 1 << 7;
    /// A bit of `DMA_COMMAND`: memory is being copied.
    pub(crate) const COPYING: u64 = 1 << 0;
    /// From here on registers have eight bytes.
    pub(crate) const WIDE: u64 = 0x80;
}

/// The size of the BAR in bytes.
const BAR: usize = 1 << 20;
/// The size of the configuration in bytes.
const CONFIG: u64 = 256;
/// The command register of the configuration, its bit that lets the device access memory, and the
/// one that keeps it from using its interrupt line, for which nobody listens here.
const COMMAND: usize = 4;
const MASTER: u16 = 1 << 2;
const INTX_DISABLE: u16 = 1 << 10;

/// The data of a device.
#[pin_data]
struct Edu {
    bar: pci::DevresBar<BAR>,
    /// What user space has written last to registers that read differently.
    #[pin]
    written: Mutex<Written>,
}

/// What there is while the device is open.
#[pin_data]
struct Session {
    /// Whether the device is stopped for a migration, and must not begin anything.
    #[pin]
    is_stopped: Mutex<bool>,
}

#[derive(Clone, Copy, Default)]
struct Written {
    liveness: u32,
    factorial: u32,
}

impl Edu {
    fn bar<'a>(&'a self, device: &'a pci::Device<Bound>) -> Result<&'a pci::Bar<'a, BAR>> {
        self.bar.access(device.as_ref())
    }
}

#[vtable]
impl Driver for Edu {
    const NAME: &'static CStr = c"rust_vfio_edu";
    type Iommu = Physical;
    type Session = Session;
    type Pin = ();
    type Migration = migration::Stopped;
    type DirtyLog = dirty::NoLog;
    const BUS: Bus = Bus::Pci;
    const REGIONS: &'static [Region<Self>] = &[
        Region::registers::<Bar0>(BAR as u64),
        Region::absent(),
        Region::absent(),
        Region::absent(),
        Region::absent(),
        Region::absent(),
        Region::absent(),
        Region::registers::<Configuration>(CONFIG),
        Region::absent(),
    ];
    const IRQS: &'static [Irq<Self>] = &[Irq::absent(), vfio::pci::msi(1)];

    fn open(device: &Access<'_, Self>) -> impl PinInit<Session, Error> {
        try_pin_init!(Session {
            is_stopped <- new_mutex!(quiesce(device).map(|()| false)?),
        }? Error)
    }

    fn close(device: &Opened<'_, Self>) {
        // Errors mean that the device is gone.
        let _ = wait(device);
        let _ = set_master(device, false);
    }

    fn reset(device: &Opened<'_, Self>) -> Result {
        let mut is_stopped = device.session().is_stopped.lock();
        restore(device, [0; SAVED])?;
        let bar = device.bar(device.pci()?)?;
        bar.write32(u32::MAX, register::INTERRUPT_ACKNOWLEDGE);
        set_master(device, false)?;
        *is_stopped = false;
        Ok(())
    }
}

/// Region 0.
struct Bar0;

impl Registers<Edu> for Bar0 {
    fn read(device: &Opened<'_, Edu>, offset: u64, width: Width) -> Result<u64> {
        let bar = device.bar(device.pci()?)?;
        let at = usize::try_from(offset)?;
        match width {
            Width::Long => Ok(bar.try_read32(at)?.into()),
            Width::Quad if offset >= register::WIDE => bar.try_read64(at),
            _ => Err(EINVAL),
        }
    }

    fn write(device: &Opened<'_, Edu>, offset: u64, width: Width, value: u64) -> Result {
        let bar = device.bar(device.pci()?)?;
        let at = usize::try_from(offset)?;
        // Held so that the device is not stopped before it was told.
        let is_stopped = device.session().is_stopped.lock();
        if *is_stopped && Self::starts(at) {
            return Err(EBUSY);
        }
        match width {
            Width::Long => {
                let value = u32::try_from(value)?;
                let mut written = device.written.lock();
                match at {
                    register::LIVENESS => written.liveness = value,
                    register::FACTORIAL => written.factorial = value,
                    _ => {}
                }
                bar.try_write32(value, at)
            }
            Width::Quad if offset >= register::WIDE => bar.try_write64(value, at),
            _ => Err(EINVAL),
        }
    }
}

impl Bar0 {
    /// Returns whether the device begins something when this register is written.
    fn starts(at: usize) -> bool {
        matches!(at, register::FACTORIAL | register::INTERRUPT_RAISE) || at >= register::DMA_COMMAND
    }
}

/// Lets the device access memory by itself, or not.
fn set_master(device: &Access<'_, Edu>, may: bool) -> Result {
    let config = device.pci()?.config_space();
    let command = config.try_read16(COMMAND)? & !MASTER | INTX_DISABLE;
    config.try_write16(command | if may { MASTER } else { 0 }, COMMAND)
}

/// Region 7.
struct Configuration;

impl Registers<Edu> for Configuration {
    fn read(device: &Opened<'_, Edu>, offset: u64, width: Width) -> Result<u64> {
        let config = device.pci()?.config_space();
        let at = usize::try_from(offset)?;
        match width {
            Width::Byte => Ok(config.try_read8(at)?.into()),
            Width::Word => Ok(config.try_read16(at)?.into()),
            Width::Long => Ok(config.try_read32(at)?.into()),
            Width::Quad => {
                let low = u64::from(config.try_read32(at)?);
                Ok(low | u64::from(config.try_read32(at + 4)?) << 32)
            }
        }
    }

    fn write(device: &Opened<'_, Edu>, offset: u64, _: Width, value: u64) -> Result {
        if offset == COMMAND as u64 {
            set_master(device, value & u64::from(MASTER) != 0)?;
        }
        Ok(())
    }
}

/// Keeps the device from accessing memory, and forgets the interrupts that whoever had it before has
/// left.
fn quiesce(device: &Access<'_, Edu>) -> Result {
    set_master(device, false)?;
    let bar = device.bar(device.pci()?)?;
    bar.write32(u32::MAX, register::INTERRUPT_ACKNOWLEDGE);
    Ok(())
}

/// Waits until the device has done what it was told: it cannot be interrupted.
fn wait(device: &Opened<'_, Edu>) -> Result {
    let bar = device.bar(device.pci()?)?;
    for _ in 0..1000 {
        let computing = bar.read32(register::STATUS) & register::COMPUTING != 0;
        let copying = bar.try_read64(register::DMA_COMMAND)? & register::COPYING != 0;
        if !computing && !copying {
            return Ok(());
        }
        fsleep(Delta::from_millis(1));
    }
    Err(ETIMEDOUT)
}

/// What is saved: the registers that [`restore`] takes.
const IMAGE: Image<'_> = Image {
    format: 1,
    numbers: SAVED,
    memory: None,
};
const SAVED: usize = 7;

impl StopCopy for Edu {
    type Saving = Saver;
    type Resuming = Restorer;

    fn stop(device: &Opened<'_, Self>) -> Result {
        let mut is_stopped = device.session().is_stopped.lock();
        wait(device)?;
        *is_stopped = true;
        Ok(())
    }

    fn start(device: &Opened<'_, Self>) -> Result {
        // The device does nothing until it is told.
        *device.session().is_stopped.lock() = false;
        Ok(())
    }

    fn save(device: &Opened<'_, Self>) -> Result<Saver> {
        let bar = device.bar(device.pci()?)?;
        if bar.read32(register::INTERRUPTS) != 0 {
            return Err(EBUSY);
        }
        let written = *device.written.lock();
        IMAGE.save()?.finish(&[
            written.liveness.into(),
            written.factorial.into(),
            bar.read32(register::STATUS).into(),
            bar.try_read64(register::DMA_SOURCE)?,
            bar.try_read64(register::DMA_DESTINATION)?,
            bar.try_read64(register::DMA_COUNT)?,
            bar.try_read64(register::DMA_COMMAND)?,
        ])
    }

    fn resume(_: &Opened<'_, Self>) -> Result<Restorer> {
        IMAGE.restore()
    }

    fn resumed(device: &Opened<'_, Self>, resuming: Restorer) -> Result {
        resuming.finish(|registers| restore(device, registers))
    }

    fn size(_: &Opened<'_, Self>) -> u64 {
        IMAGE.size()
    }
}

/// Gives the registers the values that were saved.
fn restore(device: &Opened<'_, Edu>, registers: [u64; SAVED]) -> Result {
    let [liveness, factorial, status, source, destination, count, command] = registers;
    let written = Written {
        liveness: u32::try_from(liveness)?,
        factorial: u32::try_from(factorial)?,
    };
    // What it was told before comes to its end.
    wait(device)?;
    let bar = device.bar(device.pci()?)?;
    bar.write32(written.liveness, register::LIVENESS);
    // The result is computed again, and that raises no interrupt.
    bar.write32(0, register::STATUS);
    bar.write32(written.factorial, register::FACTORIAL);
    *device.written.lock() = written;
    wait(device)?;
    bar.write32(u32::try_from(status)? & register::RAISES, register::STATUS);
    bar.try_write64(source, register::DMA_SOURCE)?;
    bar.try_write64(destination, register::DMA_DESTINATION)?;
    bar.try_write64(count, register::DMA_COUNT)?;
    // It was done, so this starts nothing.
    bar.try_write64(command & !register::COPYING, register::DMA_COMMAND)?;
    Ok(())
}

/// The PCI driver.
struct Pci;

impl vfio::pci::PciDriver for Pci {
    const NAME: &'static CStr = c"rust_vfio_edu";
    type Device = Edu;

    fn probe(device: &pci::Device<Core<'_>>) -> impl PinInit<Edu, Error> {
        let bar = || -> Result<_> {
            if device.device_id() != 0x11e8 {
                return Err(ENODEV);
            }
            device.enable_device_mem()?;
            let bar = device.iomap_region_sized::<BAR>(0, c"rust_vfio_edu")?;
            if bar.read32(register::ID) & 0xffff != 0x00ed {
                return Err(ENODEV);
            }
            bar.into_devres()
        };
        try_pin_init!(Edu {
            bar: bar()?,
            written <- new_mutex!(Written::default()),
        }? Error)
    }
}

#[pin_data]
struct Module {
    #[pin]
    _driver: vfio::pci::PciRegistration<Pci>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- vfio::pci::PciRegistration::new(module),
        })
    }
}

module! {
    type: Module,
    name: "rust_vfio_edu",
    authors: ["The rust_vfio developers"],
    description: "A VFIO driver in Rust for QEMU's educational device",
    license: "GPL v2",
}

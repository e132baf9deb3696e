// SPDX-License-Identifier: GPL-2.0

//! A VFIO driver for a real PCI device: the educational device of QEMU (1234:11e8).
//!
//! User space reads and writes the device's registers through the driver, gets its interrupts, and
//! lets it access memory through the IOMMU. The device can be saved while it is stopped: its
//! registers are few, and the driver knows what was written to those that cannot be read back.
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
use vfio::{
    dirty,
    irq::Irq,
    migration::{
        self,
        Sink,
        Source,
        StopCopy, //
    },
    pci::Msi,
    region::{
        Region,
        Registers,
        Width, //
    },
    Access,
    Bus,
    Driver,
    Opened,
    Physical, //
};

/// The registers.
mod register {
    pub(crate) const ID: usize = 0x00;
    pub(crate) const LIVENESS: usize = 0x04;
    pub(crate) const FACTORIAL: usize = 0x08;
    pub(crate) const STATUS: usize = 0x20;
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
/// The command register of the configuration, and its bit that lets the device access memory.
const COMMAND: usize = 4;
const MASTER: u16 = 1 << 2;

/// The data of a device.
#[pin_data]
struct Edu {
    bar: pci::DevresBar<BAR>,
    /// What user space has written last to registers that read differently.
    #[pin]
    written: Mutex<Written>,
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
    type Session = ();
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
    const IRQS: &'static [Irq<Self>] = &[Irq::absent(), Irq::raised_by::<Msi>(1)];

    fn open(device: &Access<'_, Self>) -> impl PinInit<(), Error> {
        set_master(device, false)
    }

    fn close(device: &Opened<'_, Self>) {
        // Errors mean that the device is gone.
        let _ = Self::stop(device);
        let _ = set_master(device, false);
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

/// Lets the device access memory by itself, or not.
fn set_master(device: &Access<'_, Edu>, may: bool) -> Result {
    let config = device.pci()?.config_space();
    let command = config.try_read16(COMMAND)? & !MASTER;
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

/// The registers that are saved, as 64-bit numbers.
const SAVED: usize = 7;
const BYTES: usize = SAVED * 8;

/// A device that is being saved.
struct Saving {
    data: [u8; BYTES],
    read: usize,
}

/// A device that is being restored.
struct Resuming {
    data: [u8; BYTES],
    written: usize,
}

impl Source<Edu> for Saving {
    fn read(&mut self, _: &Opened<'_, Edu>, data: &mut [u8]) -> Result<usize> {
        let rest = self.data.get(self.read..).ok_or(EINVAL)?;
        let count = rest.len().min(data.len());
        let (to, from) = data.get_mut(..count).zip(rest.get(..count)).ok_or(EINVAL)?;
        to.copy_from_slice(from);
        self.read += count;
        Ok(count)
    }
}

impl Sink<Edu> for Resuming {
    fn write(&mut self, _: &Opened<'_, Edu>, data: &[u8]) -> Result<usize> {
        let rest = self.data.get_mut(self.written..).ok_or(EINVAL)?;
        let count = rest.len().min(data.len());
        if count == 0 {
            return Err(ENOSPC);
        }
        let (to, from) = rest.get_mut(..count).zip(data.get(..count)).ok_or(EINVAL)?;
        to.copy_from_slice(from);
        self.written += count;
        Ok(count)
    }
}

impl StopCopy for Edu {
    type Saving = Saving;
    type Resuming = Resuming;

    /// Waits until the device has done what it was told: it cannot be interrupted.
    fn stop(device: &Opened<'_, Self>) -> Result {
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

    fn start(_: &Opened<'_, Self>) -> Result {
        // The device does nothing until it is told.
        Ok(())
    }

    fn save(device: &Opened<'_, Self>) -> Result<Saving> {
        let bar = device.bar(device.pci()?)?;
        let written = *device.written.lock();
        let registers: [u64; SAVED] = [
            written.liveness.into(),
            written.factorial.into(),
            bar.read32(register::STATUS).into(),
            bar.try_read64(register::DMA_SOURCE)?,
            bar.try_read64(register::DMA_DESTINATION)?,
            bar.try_read64(register::DMA_COUNT)?,
            bar.try_read64(register::DMA_COMMAND)?,
        ];
        let mut data = [0; BYTES];
        for (to, from) in data.chunks_exact_mut(8).zip(registers) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        Ok(Saving { data, read: 0 })
    }

    fn resume(_: &Opened<'_, Self>) -> Result<Resuming> {
        Ok(Resuming {
            data: [0; BYTES],
            written: 0,
        })
    }

    fn resumed(device: &Opened<'_, Self>, resuming: Resuming) -> Result {
        if resuming.written < BYTES {
            return Err(EINVAL);
        }
        let mut registers = [0; SAVED];
        for (to, from) in registers.iter_mut().zip(resuming.data.chunks_exact(8)) {
            *to = u64::from_le_bytes(from.try_into().map_err(|_| EINVAL)?);
        }
        let [liveness, factorial, status, source, destination, count, command] = registers;
        let written = Written {
            liveness: u32::try_from(liveness)?,
            factorial: u32::try_from(factorial)?,
        };
        let bar = device.bar(device.pci()?)?;
        bar.write32(written.liveness, register::LIVENESS);
        // The result is computed again, and that raises no interrupt.
        bar.write32(0, register::STATUS);
        bar.write32(written.factorial, register::FACTORIAL);
        *device.written.lock() = written;
        Self::stop(device)?;
        bar.write32(u32::try_from(status)? & register::RAISES, register::STATUS);
        bar.try_write64(source, register::DMA_SOURCE)?;
        bar.try_write64(destination, register::DMA_DESTINATION)?;
        bar.try_write64(count, register::DMA_COUNT)?;
        // It was done, so this starts nothing.
        bar.try_write64(command & !register::COPYING, register::DMA_COMMAND)?;
        Ok(())
    }

    fn size(_: &Opened<'_, Self>) -> u64 {
        BYTES as u64
    }
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

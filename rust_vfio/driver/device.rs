// SPDX-License-Identifier: GPL-2.0

//! What a driver says of its device.

use kernel::{
    error::VTABLE_DEFAULT_ERROR,
    prelude::*,
    str::CStr, //
};

use crate::driver::{
    access::{
        Access,
        Handle,
        Opened, //
    },
    data::{
        sealed::Sealed,
        Data, //
    },
    dirty,
    irq::Irq,
    migration::{
        self,
        Machine, //
    },
    pins::Unmapped,
    region::Region,
    uapi, //
};

/// A device that user space can use through VFIO.
///
/// A value of the type is the data of one device. It is there from the registration of the device
/// on until the last reference to it is gone.
///
/// # Locks
///
/// `open`, `close` and what belongs to migration run one at a time for each device. Everything else
/// may run on several threads at once, also while the device is being opened by its second user.
///
/// # Examples
///
/// A device with one region of 4096 bytes of registers, of which the first is a counter:
///
/// ```
/// # use kernel::{prelude::*, sync::atomic::{Atomic, Relaxed}};
/// # use vfio::{region::{Region, Registers, Width}, *};
/// struct Counter(Atomic<u64>);
///
/// struct Bank;
///
/// impl Registers<Counter> for Bank {
///     fn read(device: &Opened<'_, Counter>, offset: u64, _width: Width) -> Result<u64> {
///         match offset {
///             0 => Ok(device.0.fetch_add(1, Relaxed)),
///             _ => Ok(0),
///         }
///     }
///
///     fn write(_: &Opened<'_, Counter>, _: u64, _: Width, _: u64) -> Result {
///         Ok(())
///     }
/// }
///
/// #[vtable]
/// impl Driver for Counter {
///     const NAME: &'static CStr = c"counter";
///     type Iommu = Emulated;
///     type Session = ();
///     type Pin = ();
///     type Migration = migration::NoMigration;
///     type DirtyLog = dirty::NoLog;
///     const REGIONS: &'static [Region<Self>] = &[Region::registers::<Bank>(4096)];
///
///     fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> {
///         Ok::<(), Error>(())
///     }
/// }
/// ```
#[vtable]
pub trait Driver: Sized + Send + Sync + 'static {
    /// The name of the driver, for messages of the kernel.
    const NAME: &'static CStr;

    /// What translates the addresses at which the device accesses memory: [`Emulated`] or
    /// [`Physical`].
    type Iommu: Iommu;

    /// What exists while the device is open. It is made by [`Driver::open`] and dropped after
    /// [`Driver::close`].
    type Session: Send + Sync + 'static;

    /// What the driver notes with pages that it [pins](crate::pins).
    type Pin: Send + 'static;

    /// Whether the device migrates, and how: [`migration::NoMigration`], or the most that it can
    /// do.
    type Migration: migration::Support<Self>;

    /// Whether the device can say which memory it has written: [`dirty::NoLog`] or [`dirty::Log`].
    type DirtyLog: dirty::LogSupport<Self>;

    /// The kind of bus whose conventions the numbers of regions and interrupts follow.
    const BUS: Bus = Bus::Other;

    /// The regions of the device, by their numbers.
    const REGIONS: &'static [Region<Self>];

    /// The interrupts of the device, by their numbers.
    const IRQS: &'static [Irq<Self>] = &[];

    /// Makes the device ready for its first user.
    ///
    /// # Errors
    ///
    /// The device is not opened, and user space gets the error.
    fn open(device: &Access<'_, Self>) -> impl PinInit<Self::Session, Error>;

    /// Stops the device, because its last user is gone. It must not access memory any more when
    /// this returns. Pages that are still pinned are unpinned afterwards.
    ///
    /// Must not wait for anybody who waits in [`Handle::enter`].
    fn close(device: &Opened<'_, Self>) {
        let _ = device;
    }

    /// Resets the device, as VFIO_DEVICE_RESET asks for. Interrupts stay as they are, and the
    /// device is running afterwards, whatever state of migration it was in. A device that migrates
    /// must have this method.
    ///
    /// # Errors
    ///
    /// User space gets the error.
    fn reset(device: &Opened<'_, Self>) -> Result {
        let _ = device;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Handles an ioctl that this crate does not know. `arg` is what user space passed.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if the driver does not know it either.
    fn ioctl(device: &Opened<'_, Self>, cmd: u32, arg: usize) -> Result<isize> {
        let _ = (device, cmd, arg);
        Err(ENOTTY)
    }

    /// Asks user space to give the device back, which is about to be unregistered: signals an
    /// interrupt that means this. Called for the `count`th time, from 0 on, every ten seconds. The
    /// device may be closed.
    fn request(device: &Handle<Self>, count: u32) {
        let _ = (device, count);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Stops using pages that user space unmaps. They are unpinned when this returns.
    fn unmapped(&self, pages: &Unmapped<'_, Self>) {
        let _ = pages;
    }

    /// Returns whether `text`, with which user space asks a group for a device, means this one.
    /// Without this method it must be the name of the device on its bus.
    ///
    /// # Errors
    ///
    /// The search ends, and user space gets the error.
    fn matches(&self, text: &CStr) -> Result<bool> {
        let _ = text;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Checks the token with which user space wants to open the device by its node.
    ///
    /// # Errors
    ///
    /// User space gets the error.
    fn check_token(&self, token: Option<&[u8; 16]>) -> Result {
        let _ = token;
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

impl<D: Driver> Data for D {
    type Session = <D as Driver>::Session;
    type Pin = <D as Driver>::Pin;
    type Owner = D::OwnerModule;
    type Machine = Machine<D, D::Migration>;
}

/// The kind of bus whose conventions a device follows (`VFIO_DEVICE_FLAGS_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Bus {
    /// None: whoever uses the device knows what its numbers mean.
    Other = 0,
    /// `VFIO_PCI_*_REGION_INDEX` and `VFIO_PCI_*_IRQ_INDEX`. Those that the driver does not have
    /// are there and empty.
    Pci = 1 << 1,
    /// A platform device.
    Platform = 1 << 2,
    /// A channel subsystem device of s390.
    Ccw = 1 << 4,
    /// An adjunct processor of s390.
    Ap = 1 << 5,
}

/// Returns the number of regions that user space sees. Those that the driver lacks are empty.
pub(crate) fn regions<D: Driver>() -> usize {
    match D::BUS {
        Bus::Pci => D::REGIONS.len().max(uapi::PCI_REGIONS),
        _ => D::REGIONS.len(),
    }
}

/// Returns the number of kinds of interrupts that user space sees. Those that the driver lacks have
/// no vectors.
pub(crate) fn irqs<D: Driver>() -> usize {
    match D::BUS {
        Bus::Pci => D::IRQS.len().max(uapi::PCI_IRQS),
        _ => D::IRQS.len(),
    }
}

/// What translates the addresses of a device.
pub trait Iommu: Sealed {
    /// Whether an IOMMU does.
    #[doc(hidden)]
    const IS_PHYSICAL: bool;
}

/// Nothing does: the device accesses memory only through its driver, which [pins](crate::pins)
/// pages or copies.
pub enum Emulated {}

/// An IOMMU does, so the device itself can be told addresses that user space chose. Its parent must
/// be bound to a driver that leaves its DMA to user space, as
/// [`pci::PciDriver`](crate::pci::PciDriver) does.
pub enum Physical {}

impl Sealed for Emulated {}
impl Sealed for Physical {}

impl Iommu for Emulated {
    const IS_PHYSICAL: bool = false;
}

impl Iommu for Physical {
    const IS_PHYSICAL: bool = true;
}

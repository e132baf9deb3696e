// SPDX-License-Identifier: GPL-2.0

//! Interrupts: the eventfds by which a device talks to user space.
//!
//! A device has kinds of interrupts ([`Irq`]), and each kind so many vectors. User space gives each
//! vector an eventfd, may mask and unmask it, and may raise it for a test: VFIO_DEVICE_SET_IRQS is
//! answered here. The driver raises a vector with [`Access::raise`](crate::Access::raise), from any
//! context.
//!
//! Interrupts of hardware ([`pci::msi`](crate::pci::msi)) are enabled while a vector of their kind
//! has an eventfd.

use kernel::{
    error::to_result,
    ffi::c_int,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

use crate::{
    bindings,
    driver::{
        access::Opened,
        data::Data,
        eventfd::EventFd,
        logic::irqs::{
            descriptors,
            Action,
            Which, //
        },
        uapi::{
            self,
            IrqSet, //
        },
        vectors::{
            Enabled,
            Kind,
            Shape, //
        }, //
    }, //
};

/// Enables what raises the interrupts of a kind: its number, and how many there are.
type Enable<D> = fn(&Opened<'_, D>, usize, u32) -> Result<Enabled>;

/// A kind of interrupts of a device.
pub struct Irq<D: Data> {
    count: u32,
    flags: u32,
    source: Option<Enable<D>>,
}

/// What raises the interrupts of a kind in hardware.
///
/// Drivers choose one ([`pci::msi`](crate::pci::msi)) and do not implement this: what it returns
/// must not be kept by anybody else, because it must be gone when the device is closed.
pub(crate) trait Hardware<D: Data> {
    /// What exists while the interrupts are enabled. Dropping it disables them: when that returns,
    /// none is being handled any more.
    type Enabled: Send + 'static;

    /// Enables the `count` interrupts of the kind with number `kind`. Called when the first vector
    /// of the kind gets an eventfd; the result is dropped when the last one has none any more.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// User space gets the error, and no vector has an eventfd.
    fn enable(device: &Opened<'_, D>, kind: usize, count: u32) -> Result<Self::Enabled>;
}

impl<D: Data> Irq<D> {
    /// Creates a kind of which the device has none, to keep the numbers of those behind it.
    pub const fn absent() -> Self {
        Self {
            count: 0,
            flags: 0,
            source: None,
        }
    }

    /// Creates a kind with so many vectors, which the driver raises.
    pub const fn vectors(count: u32) -> Self {
        // C counts with signed numbers.
        assert!(count > 0 && count <= 1 << 16);
        Self {
            count,
            flags: bindings::VFIO_IRQ_INFO_EVENTFD,
            source: None,
        }
    }

    /// Creates a kind with so many vectors, which `S` raises.
    pub(crate) const fn raised_by<S: Hardware<D>>(count: u32) -> Self {
        let mut irq = Self::vectors(count);
        irq.source = Some(enable::<D, S>);
        irq
    }

    /// User space can mask vectors. One that is raised meanwhile is signalled later, once.
    pub const fn maskable(mut self) -> Self {
        // Hardware would have to be masked as well.
        assert!(self.source.is_none());
        self.flags |= bindings::VFIO_IRQ_INFO_MASKABLE;
        self
    }

    /// Vectors are masked when they are signalled, as the interrupts of levels are.
    pub const fn automasked(self) -> Self {
        let mut irq = self.maskable();
        irq.flags |= bindings::VFIO_IRQ_INFO_AUTOMASKED;
        irq
    }

    /// Returns the flags of VFIO_DEVICE_GET_IRQ_INFO.
    pub(crate) const fn flags(&self) -> u32 {
        self.flags
    }

    /// Returns the number of vectors.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Returns what must be stored of its vectors.
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            count: self.count as usize,
            automasked: self.flags & bindings::VFIO_IRQ_INFO_AUTOMASKED != 0,
        }
    }

    const fn is_maskable(&self) -> bool {
        self.flags & bindings::VFIO_IRQ_INFO_MASKABLE != 0
    }
}

/// Enables what raises the interrupts of a kind.
fn enable<D: Data, S: Hardware<D>>(
    device: &Opened<'_, D>,
    kind: usize,
    count: u32,
) -> Result<Enabled> {
    Enabled::new(S::enable(device, kind, count)?)
}

/// Handles VFIO_DEVICE_SET_IRQS of a device that has so many kinds; those that `irqs` lacks have no
/// vectors. Sleeps.
///
/// # Errors
///
/// - `EFAULT` if the request is not accessible.
/// - `EINVAL` if it is not sound, for which see `vfio_set_irqs_validate_and_prepare()`.
/// - `EINVAL` if vectors shall be raised and none of the kind has an eventfd.
/// - `ENOTTY` unless the request has exactly one action, which this kind knows.
/// - `EBADF`, `EINVAL` if there is no eventfd behind a file descriptor.
/// - `ENOMEM` if there is no memory.
/// - Any error of [`Hardware::enable`].
pub(crate) fn set<D: Data>(
    irqs: &[Irq<D>],
    kinds: usize,
    device: &Opened<'_, D>,
    arg: usize,
) -> Result {
    let header: IrqSet = uapi::read(arg, |header: &IrqSet| header.argsz)?;
    let number = usize::try_from(header.index)?;
    let irq = irqs.get(number);
    let size = check(&header, irq.map_or(0, Irq::count), kinds)?;
    let irq = irq.ok_or(EINVAL)?;
    let mut data = KVec::new();
    let from = UserPtr::from_addr(arg.wrapping_add(size_of::<IrqSet>()));
    UserSlice::new(from, size).read_all(&mut data, GFP_KERNEL)?;
    let IrqSet { start, count, .. } = header;

    let interrupts = &device.object().parts().irqs;
    let kind = interrupts.kind(number).ok_or(EINVAL)?;
    let mut settings = interrupts.settings.lock();
    let setting = settings.get_mut(number).ok_or(EINVAL)?;

    let each = |which: Which, f: fn(&Kind, usize)| {
        for vector in which.vectors(start, count, &data) {
            f(kind, vector as usize);
        }
    };
    match Action::decode(header.flags, count, irq.is_maskable()).ok_or(ENOTTY)? {
        Action::Mask(which) => each(which, Kind::mask),
        Action::Unmask(which) => each(which, Kind::unmask),
        Action::UnmaskBy => kind.unmask_by(setting, start as usize, descriptors(&data))?,
        Action::Disable => kind.disable(setting),
        Action::Assign => {
            let mut eventfds = KVec::with_capacity(count as usize, GFP_KERNEL)?;
            for fd in descriptors(&data) {
                let eventfd = (fd >= 0).then(|| EventFd::get(fd)).transpose()?;
                eventfds.push(eventfd, GFP_KERNEL)?;
            }
            let some = eventfds.iter().any(Option::is_some);
            if let (true, None, Some(enable)) = (some, &setting.enabled, irq.source) {
                setting.enabled = Some(enable(device, number, irq.count)?);
            }
            kind.replace(start as usize, eventfds);
            if !kind.is_used() {
                setting.enabled = None;
            }
        }
        Action::Raise(_) if !kind.is_used() => return Err(EINVAL),
        Action::Raise(which) => each(which, Kind::signal),
    }
    Ok(())
}

/// Lets the core check a request for a device that has so many kinds, and of this one so many
/// vectors. Returns the number of bytes of data behind the request.
///
/// # Errors
///
/// `EINVAL` if it is not sound.
fn check(header: &IrqSet, vectors: u32, kinds: usize) -> Result<usize> {
    // The core's structure has the same fields, and no byte of what follows them.
    let mut header = *header;
    let mut size = 0;
    // CAST: `Irq` bounds the number of vectors, and a driver has few kinds.
    let (vectors, kinds) = (vectors as c_int, kinds as c_int);
    // SAFETY: Both pointers are valid, and the core only looks at the header.
    to_result(unsafe {
        bindings::vfio_set_irqs_validate_and_prepare(
            (&raw mut header).cast(),
            vectors,
            kinds,
            &mut size,
        )
    })?;
    Ok(size)
}

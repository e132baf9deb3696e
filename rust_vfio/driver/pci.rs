// SPDX-License-Identifier: GPL-2.0

//! PCI drivers for VFIO.
//!
//! A driver that gives PCI devices to user space implements [`PciDriver`] for a type, and its
//! module keeps a [`PciRegistration`]. The administrator names the driver in the `driver_override`
//! of a device; it is never chosen by itself. The DMA of the devices is left to user space, as
//! their IOMMU groups demand.
//!
//! The kernel crate's `pci::Driver` cannot say that (`driver_managed_dma`), so there is another
//! trait here. The devices, BARs and vectors are the kernel crate's.

use core::marker::PhantomData;

use kernel::{
    device::{
        Bound,
        Core, //
    },
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    pci,
    prelude::*,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

use crate::{
    bindings,
    driver::{
        access::{
            Access,
            Handle,
            Opened, //
        },
        device::{
            self,
            Physical, //
        },
        irq,
        registration, //
    }, //
};

/// A PCI driver whose devices are for VFIO.
pub trait PciDriver: 'static {
    /// The name of the driver, which goes into `driver_override`.
    const NAME: &'static CStr;

    /// The VFIO device.
    type Device: device::Driver<Iommu = Physical>;

    /// Makes the data of a VFIO device for a PCI device that was given to the driver.
    ///
    /// # Errors
    ///
    /// The device is not bound to the driver.
    fn probe(device: &pci::Device<Core<'_>>) -> impl PinInit<Self::Device, Error>;
}

/// A registered PCI driver. Dropping it takes the driver away from its devices.
///
/// # Invariants
///
/// The driver is registered.
#[pin_data(PinnedDrop)]
pub struct PciRegistration<T: PciDriver> {
    #[pin]
    raw: Opaque<bindings::pci_driver>,
    _driver: PhantomData<fn(T)>,
}

// SAFETY: The driver core has its own locks, and nothing here uses the driver after `new`.
unsafe impl<T: PciDriver> Send for PciRegistration<T> {}
// SAFETY: As above.
unsafe impl<T: PciDriver> Sync for PciRegistration<T> {}

type Registered<T> = registration::Registration<<T as PciDriver>::Device>;

impl<T: PciDriver> PciRegistration<T> {
    /// Registers the driver.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if there is a driver of that name.
    /// - `ENOMEM` if there is no memory.
    pub fn new(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // INVARIANT: Success means registered.
        try_pin_init!(Self {
            raw <- Opaque::try_ffi_init(move |slot: *mut bindings::pci_driver| {
                let driver = bindings::pci_driver {
                    name: T::NAME.as_char_ptr(),
                    probe: Some(Self::probe),
                    remove: Some(Self::remove),
                    driver_managed_dma: true,
                    ..Default::default()
                };
                // SAFETY: The slot is valid for writing, and pinned until `drop`.
                unsafe { slot.write(driver) };
                // SAFETY: The driver was filled in, and stays until it is unregistered.
                to_result(unsafe {
                    bindings::__pci_register_driver(slot, module.as_ptr(), T::NAME.as_char_ptr())
                })
            }),
            _driver: PhantomData,
        })
    }

    /// Binds a device: registers it for VFIO.
    ///
    /// # Safety
    ///
    /// Called by the PCI core for a device that is being bound.
    unsafe extern "C" fn probe(
        raw: *mut bindings::pci_dev,
        _id: *const bindings::pci_device_id,
    ) -> c_int {
        // SAFETY: The device is valid, and its lock is held, as `Core` says. The type is a
        // transparent wrapper.
        let device = unsafe { &*raw.cast::<pci::Device<Core<'_>>>() };
        // SAFETY: As above. A device that is being bound can do what a bound one can.
        let bound = unsafe { &*raw.cast::<pci::Device<Bound>>() };
        from_result(|| {
            // SAFETY: `remove` drops the registration before the device is unbound. The other
            // drivers of the group are checked by the core of the kernel.
            let registration: Registered<T> = unsafe {
                registration::Registration::new_unchecked(bound.as_ref(), T::probe(device))
            }?;
            let registration = KBox::new(registration, GFP_KERNEL)?;
            // SAFETY: The device's driver data are its driver's.
            unsafe { bindings::dev_set_drvdata(&raw mut (*raw).dev, registration.into_foreign()) };
            Ok(0)
        })
    }

    /// Unbinds a device: unregisters it, and waits until nobody uses it.
    ///
    /// # Safety
    ///
    /// Called by the PCI core for a device that `probe` has bound.
    unsafe extern "C" fn remove(raw: *mut bindings::pci_dev) {
        // SAFETY: `probe` has set the data.
        let data: *mut c_void = unsafe { bindings::dev_get_drvdata(&raw mut (*raw).dev) };
        // SAFETY: As above, and the registration is taken back once.
        drop(unsafe { KBox::<Registered<T>>::from_foreign(data) });
    }
}

#[pinned_drop]
impl<T: PciDriver> PinnedDrop for PciRegistration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants.
        unsafe { bindings::pci_unregister_driver(self.raw.get()) };
    }
}

impl<'a, D: device::Driver<Iommu = Physical>> Access<'a, D> {
    /// Returns the PCI device that the device stands for.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no PCI device.
    pub fn pci(&self) -> Result<&'a pci::Device<Bound>> {
        self.parent().try_into()
    }
}

/// Creates a kind of interrupts that are the message-signalled ones of the PCI device, MSI or
/// MSI-X. A device has one such kind.
pub const fn msi<D: device::Driver<Iommu = Physical>>(count: u32) -> irq::Irq<D> {
    irq::Irq::raised_by::<Msi>(count)
}

/// The message-signalled interrupts of a PCI device: each one is passed on to user space.
pub(crate) enum Msi {}

/// The interrupts of a PCI device, which are enabled.
///
/// # Invariants
///
/// The device has so many vectors, and the first `handlers.len()` of them have a handler.
pub(crate) struct EnabledMsi<D: device::Driver> {
    device: Handle<D>,
    handlers: KVec<KBox<MsiHandler<D>>>,
}

/// What a handler of interrupts knows.
struct MsiHandler<D: device::Driver> {
    device: Handle<D>,
    kind: usize,
    vector: usize,
    irq: u32,
}

impl<D: device::Driver<Iommu = Physical>> irq::Hardware<D> for Msi {
    type Enabled = EnabledMsi<D>;

    /// Enables as many vectors as the kind has.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if the interrupts of another kind are enabled.
    /// - `ENOSPC` if the device has not so many vectors.
    /// - Any error of enabling them.
    fn enable(device: &Opened<'_, D>, kind: usize, count: u32) -> Result<EnabledMsi<D>> {
        let pci = device.pci()?;
        let types = bindings::PCI_IRQ_MSI | bindings::PCI_IRQ_MSIX;
        let raw = raw(pci);
        // SAFETY: The device is valid, and only its driver changes these bits.
        if unsafe { (*raw).msi_enabled() != 0 || (*raw).msix_enabled() != 0 } {
            return Err(EBUSY);
        }
        // SAFETY: The device is bound, and stays so as long as it is open.
        to_result(unsafe { bindings::pci_alloc_irq_vectors(raw, count, count, types) })?;
        // INVARIANT: The vectors were allocated, and none has a handler.
        let mut enabled = EnabledMsi {
            device: device.handle(),
            handlers: KVec::new(),
        };
        for vector in 0..count {
            // SAFETY: The device is bound, and has this vector.
            let irq = unsafe { bindings::pci_irq_vector(raw, vector) };
            to_result(irq)?;
            let handler = MsiHandler {
                device: device.handle(),
                kind,
                vector: vector as usize,
                irq: irq as u32,
            };
            let handler = KBox::new(handler, GFP_KERNEL)?;
            enabled.handlers.reserve(1, GFP_KERNEL)?;
            // SAFETY: The handler gets what it expects, and `drop` frees the interrupt before that.
            to_result(unsafe {
                bindings::request_threaded_irq(
                    handler.irq,
                    Some(handle::<D>),
                    None,
                    0,
                    D::NAME.as_char_ptr(),
                    core::ptr::from_ref(&*handler).cast_mut().cast(),
                )
            })?;
            // INVARIANT: This one has a handler now.
            enabled
                .handlers
                .push_within_capacity(handler)
                .map_err(|_| ENOMEM)?;
        }
        Ok(enabled)
    }
}

impl<D: device::Driver> Drop for EnabledMsi<D> {
    fn drop(&mut self) {
        for handler in &self.handlers {
            // SAFETY: By the type invariants it was requested with this cookie. Waits until it is
            // not being handled any more.
            unsafe {
                bindings::free_irq(
                    handler.irq,
                    core::ptr::from_ref(&**handler).cast_mut().cast(),
                )
            };
        }
        let parent = self.device.object().parent();
        // SAFETY: By the type invariants, and no vector has a handler any more. The parent is a PCI
        // device, as `enable` has seen.
        unsafe {
            let raw = kernel::container_of!(
                core::ptr::from_ref(parent)
                    .cast_mut()
                    .cast::<bindings::device>(),
                bindings::pci_dev,
                dev
            );
            bindings::pci_free_irq_vectors(raw);
            // That has enabled the interrupt of the pin, which nobody handles.
            bindings::pci_intx(raw, 0);
        }
    }
}

/// Passes an interrupt on.
///
/// # Safety
///
/// `cookie` must be a valid [`MsiHandler`].
unsafe extern "C" fn handle<D: device::Driver>(
    _irq: c_int,
    cookie: *mut c_void,
) -> bindings::irqreturn_t {
    // SAFETY: By the safety requirements of this function.
    let handler = unsafe { &*cookie.cast::<MsiHandler<D>>() };
    handler.device.raise(handler.kind, handler.vector);
    bindings::irqreturn::IRQ_HANDLED
}

/// Returns the C object.
fn raw(device: &pci::Device<Bound>) -> *mut bindings::pci_dev {
    // The type is a transparent wrapper.
    core::ptr::from_ref(device).cast_mut().cast()
}

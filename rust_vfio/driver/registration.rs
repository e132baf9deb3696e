// SPDX-License-Identifier: GPL-2.0

//! The registration of a device, by which user space finds it.

use kernel::{
    device::{
        self,
        Bound, //
    },
    error::to_result,
    prelude::*, //
};

use crate::{
    bindings,
    driver::{
        device::{
            Driver,
            Emulated,
            Iommu, //
        },
        dirty::LogSupport,
        irq::Irq,
        migration::Support,
        object::{
            Object,
            Ref, //
        },
        ops::Table,
        vectors::Interrupts, //
    }, //
};

/// A device that is registered. Dropping it unregisters the device, and waits until nobody uses it:
/// [`Driver::request`] asks them for it.
///
/// # Invariants
///
/// The device is registered.
pub struct Registration<D: Driver>(Ref<D>);

impl<D: Driver> Registration<D> {
    /// Registers a device on `parent`, with the driver's data from `data`. Sleeps. Corresponds to
    /// `vfio_register_group_dev()` and `vfio_register_emulated_iommu_dev()`.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory.
    /// - `EINVAL` if the parent is in no IOMMU group and has no emulated IOMMU, or its IOMMU cannot
    ///   enforce that memory is coherent.
    /// - `EBUSY` if a device of the same group is registered for the same parent.
    /// - Any error of `data`.
    ///
    /// # Safety
    ///
    /// The parent must stay bound to its driver until the registration is dropped. If it is in
    /// other devices' group, all of their drivers must leave the DMA of the group to user space.
    #[doc(alias = "vfio_register_group_dev")]
    #[doc(alias = "vfio_register_emulated_iommu_dev")]
    pub(crate) unsafe fn new_unchecked(
        parent: &device::Device<Bound>,
        data: impl PinInit<D, Error>,
    ) -> Result<Self> {
        const {
            assert!(
                D::HAS_RESET || <D::Migration as Support<D>>::FLAGS == 0,
                "a device that migrates needs `reset`, the only way out of the state ERROR"
            );
            assert!(
                !(D::Iommu::IS_PHYSICAL && <D::DirtyLog as LogSupport<D>>::IS_KEPT),
                "a device that writes by itself needs `dirty::Log`"
            );
        }
        let irqs = Interrupts::new(D::IRQS.iter().map(Irq::shape));
        // SAFETY: The table is for devices of this driver.
        let object = unsafe { Object::alloc(parent, &Table::<D>::OPS, irqs, data) }?;
        // SAFETY: The device is not registered.
        unsafe { Table::<D>::announce(object.raw()) };
        // SAFETY: The device is complete and not registered.
        to_result(unsafe {
            if D::Iommu::IS_PHYSICAL {
                bindings::vfio_register_group_dev(object.raw())
            } else {
                bindings::vfio_register_emulated_iommu_dev(object.raw())
            }
        })?;
        // INVARIANT: Registered above.
        Ok(Self(object))
    }

    /// Returns the number in the name of the device's node: N of `/dev/vfio/devices/vfioN`.
    pub fn index(&self) -> u32 {
        // SAFETY: The object is valid, and the number does not change after the allocation.
        unsafe { (*self.0.raw()).index }
    }

    /// Returns the driver's data.
    pub fn data(&self) -> &D {
        self.0.data()
    }
}

impl<D: Driver> Drop for Registration<D> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the device is registered.
        unsafe { bindings::vfio_unregister_group_dev(self.0.raw()) };
    }
}

/// A device on a bus of its own, for drivers of devices that are only emulated.
///
/// The fields are dropped in this order.
pub struct Faux<D: Driver<Iommu = Emulated>> {
    registration: Registration<D>,
    _parent: kernel::faux::Registration,
}

impl<D: Driver<Iommu = Emulated>> Faux<D> {
    /// Creates a device named `name` on the faux bus, and registers it for VFIO.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the faux device cannot be made.
    /// - Those of registering it.
    pub fn new(name: &CStr, data: impl PinInit<D, Error>) -> Result<Self> {
        let parent = kernel::faux::Registration::new(name, None)?;
        let device: &kernel::faux::Device<Bound> = parent.as_ref();
        // SAFETY: The parent is bound as long as it exists, which is longer than the registration,
        // and is alone in its group.
        let registration = unsafe { Registration::new_unchecked(device.as_ref(), data) }?;
        Ok(Self {
            registration,
            _parent: parent,
        })
    }

    /// Returns the registration for VFIO.
    pub fn registration(&self) -> &Registration<D> {
        &self.registration
    }
}

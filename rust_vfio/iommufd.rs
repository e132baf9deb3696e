// SPDX-License-Identifier: GPL-2.0

//! Binding of devices to iommufd, and the standard callbacks that drivers put into their tables.
//!
//! A device with DMA of its own ([`physical`]) is bound by its bus device and attached to page
//! tables: one for DMA without a PASID and one per PASID. An emulated device ([`emulated`]) gets
//! access to an address space, through which the core pins and copies memory for its driver.
//!
//! Lock: that of the device's set, which the core holds when it calls the driver. [`ctx`] and
//! [`device_id`] are called by drivers, which hold it too.
//!
//! Corresponds to `drivers/vfio/iommufd.c`; contract 4.7 and 7.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    core::session::Backing,
    kernel::{
        iommu_group::IommuGroup,
        iommufd::{
            IommufdCtx,
            IommufdDevice, //
        },
        returned::Failure, //
    },
    views::device::Device, //
};

/// The binding of an open device to an iommufd context, which its driver made.
pub(crate) struct IommufdBacking {
    /// The id of the device in the context.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    id: u32,
    /// The context, which is kept while the device is bound.
    #[cfg_attr(not(CONFIG_VFIO_GROUP), expect(dead_code))]
    ctx: ARef<IommufdCtx>,
}

impl IommufdBacking {
    /// Binds the device to `ctx` with the driver's `bind_iommufd`. The lock of the device's set is
    /// held. Sleeps. Corresponds to `vfio_df_iommufd_bind()`.
    ///
    /// # Errors
    ///
    /// Any failure of the driver's `bind_iommufd`. Drivers use [`physical::bind`] or
    /// [`emulated::bind`], which list them.
    #[doc(alias = "vfio_df_iommufd_bind")]
    pub(crate) fn new(device: &Device, ctx: ARef<IommufdCtx>) -> Result<Self, Failure> {
        let _id = device.driver_bind_iommufd(&ctx)?;
        Ok(Self {
            #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
            id: _id,
            ctx,
        })
    }

    /// Returns the id of the device in the context.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Returns the context.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn ctx(&self) -> &IommufdCtx {
        &self.ctx
    }
}

impl Backing for IommufdBacking {
    /// Unbinds the device with the driver's `unbind_iommufd`; undoes [`IommufdBacking::new`].
    #[doc(alias = "vfio_df_iommufd_unbind")]
    fn release(self, device: &Device) {
        device.driver_unbind_iommufd();
    }
}

/// Returns the context that a device with DMA of its own is bound to, or none if it is not bound.
/// The lock of the device's set is held.
#[doc(alias = "vfio_iommufd_device_ictx")]
pub(crate) fn ctx(device: &Device) -> Option<&IommufdCtx> {
    device.iommufd_device().and_then(IommufdDevice::ctx)
}

/// Returns the id of the device in `ctx`. The lock of the device's set is held.
///
/// # Errors
///
/// - `EINVAL` if `ctx` is none and the device is not bound.
/// - `ENODEV` if `ctx` is none and the device is bound.
/// - `ENODEV` if the device is in no IOMMU group.
/// - `ENOENT` if the device is not bound to `ctx`, but another one of its IOMMU group is.
/// - `ENODEV` if none of its IOMMU group is.
#[doc(alias = "vfio_iommufd_get_dev_id")]
pub(crate) fn device_id(device: &Device, ctx: Option<&IommufdCtx>) -> Result<u32> {
    if self::ctx(device) == ctx {
        return device.iommufd_device().map(IommufdDevice::id).ok_or(EINVAL);
    }
    let Some(ctx) = ctx else {
        return Err(ENODEV);
    };
    let group = IommuGroup::of(device.bus_device()).ok_or(ENODEV)?;
    match ctx.has_group(&group) {
        true => Err(ENOENT),
        false => Err(ENODEV),
    }
}

/// Devices with DMA of their own.
pub(crate) mod physical {
    use kernel::prelude::*;

    use crate::{
        kernel::{
            iommufd::{
                IommufdCtx,
                IommufdDevice,
                Pasid,
                NO_PASID, //
            },
            returned::Failure, //
        },
        views::device::Device, //
    };

    /// Returns the binding of the device; warns if it is not bound, or if the lock of the device's
    /// set is not held.
    fn bound(device: &Device) -> Option<&IommufdDevice> {
        device.assert_set_locked();
        let bound = device.iommufd_device();
        kernel::warn_on!(bound.is_none());
        bound
    }

    /// Binds the device to `ctx`, and returns its id there. The standard `bind_iommufd` of a device
    /// with DMA of its own. The lock of the device's set is held. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EINVAL` if the DMA of the device is not cache-coherent.
    /// - `ENODEV` if the device is in no IOMMU group.
    /// - `EPERM` if its interrupts are not isolated and iommufd's parameter
    ///   `allow_unsafe_interrupts` is off.
    /// - `EPERM` if a kernel driver or another owner uses the DMA of the group.
    /// - `EBUSY` if another domain is attached to the group.
    /// - Any errno of the IOMMU driver, which is asked to block the DMA of the group.
    #[doc(alias = "vfio_iommufd_physical_bind")]
    pub(crate) fn bind(device: &Device, ctx: &IommufdCtx) -> Result<u32> {
        let (bound, id) = IommufdDevice::bind(device.bus_device(), ctx)?;
        device.set_iommufd_device(bound);
        Ok(id)
    }

    /// Detaches what is attached, PASIDs included, and unbinds the device; undoes [`bind`]. The
    /// standard `unbind_iommufd` of a device with DMA of its own. The lock of the device's set is
    /// held. Sleeps.
    #[doc(alias = "vfio_iommufd_physical_unbind")]
    pub(crate) fn unbind(device: &Device) {
        let Some(bound) = bound(device) else {
            return;
        };
        while let Some(pasid) = device.next_pasid(0) {
            bound.detach(pasid);
            device.remove_pasid(pasid);
        }
        if device.is_iommufd_attached() {
            bound.detach(NO_PASID);
            device.set_iommufd_attached(false);
        }
        device.unbind_iommufd_device();
    }

    /// Attaches the address space or page table with the id `*pt` in place of what is attached, and
    /// sets `*pt` to the id of the page table that is used. The standard `attach_ioas` of a device
    /// with DMA of its own. The lock of the device's set is held. Sleeps.
    ///
    /// # Errors
    ///
    /// What was attached stays.
    ///
    /// - `EINVAL` (and a warning) if the device is not bound.
    /// - `ENOENT` if there is no object with this id.
    /// - `EINVAL` if the object is neither an address space nor a page table, or does not fit the
    ///   device.
    /// - `EBUSY` while the device is being reset.
    /// - `ENOMEM`.
    /// - Any errno of the IOMMU driver.
    #[doc(alias = "vfio_iommufd_physical_attach_ioas")]
    pub(crate) fn attach(device: &Device, pt: &mut u32) -> Result<(), Failure> {
        let bound = bound(device).ok_or(EINVAL)?;
        if device.is_iommufd_attached() {
            return bound.replace(NO_PASID, pt);
        }
        bound.attach(NO_PASID, pt)?;
        device.set_iommufd_attached(true);
        Ok(())
    }

    /// Detaches what is attached, if anything is; undoes [`attach`]. The standard `detach_ioas` of
    /// a device with DMA of its own. The lock of the device's set is held. Sleeps.
    #[doc(alias = "vfio_iommufd_physical_detach_ioas")]
    pub(crate) fn detach(device: &Device) {
        if let Some(bound) = bound(device).filter(|_| device.is_iommufd_attached()) {
            bound.detach(NO_PASID);
            device.set_iommufd_attached(false);
        }
    }

    /// Attaches the address space or page table with the id `*pt` for a PASID, in place of what is
    /// attached for it, and sets `*pt` to the id of the page table that is used. The standard
    /// `pasid_attach_ioas`. The lock of the device's set is held. Sleeps.
    ///
    /// # Errors
    ///
    /// What was attached stays.
    ///
    /// - `EINVAL` (and a warning) if the device is not bound.
    /// - `ENOMEM`.
    /// - `ENOSPC` if the number is too large for a PASID.
    /// - Those of [`attach`].
    #[doc(alias = "vfio_iommufd_physical_pasid_attach_ioas")]
    pub(crate) fn attach_pasid(device: &Device, pasid: Pasid, pt: &mut u32) -> Result<(), Failure> {
        let bound = bound(device).ok_or(EINVAL)?;
        if is_attached(device, pasid) {
            return bound.replace(pasid, pt);
        }
        // Noting the PASID may fail, so it comes first: it is easier to undo than the attachment.
        device.add_pasid(pasid)?;
        bound
            .attach(pasid, pt)
            .inspect_err(|_| device.remove_pasid(pasid))
    }

    /// Detaches what is attached for a PASID, if anything is; undoes [`attach_pasid`]. The standard
    /// `pasid_detach_ioas`. The lock of the device's set is held. Sleeps.
    #[doc(alias = "vfio_iommufd_physical_pasid_detach_ioas")]
    pub(crate) fn detach_pasid(device: &Device, pasid: Pasid) {
        if let Some(bound) = bound(device).filter(|_| is_attached(device, pasid)) {
            bound.detach(pasid);
            device.remove_pasid(pasid);
        }
    }

    fn is_attached(device: &Device, pasid: Pasid) -> bool {
        device.next_pasid(pasid) == Some(pasid)
    }
}

/// Emulated devices.
pub(crate) mod emulated {
    use kernel::prelude::*;

    use crate::{
        kernel::{
            iommufd::IommufdCtx,
            returned::Failure, //
        },
        views::device::Device, //
    };

    /// Gives the device access to `ctx`, and returns the id of the access there. The standard
    /// `bind_iommufd` of an emulated device. The lock of the device's set is held. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[doc(alias = "vfio_iommufd_emulated_bind")]
    pub(crate) fn bind(device: &Device, ctx: &IommufdCtx) -> Result<u32> {
        device.assert_set_locked();
        let (access, id) = device.create_iommufd_access(ctx)?;
        device.set_iommufd_access(access);
        Ok(id)
    }

    /// Detaches the address space and ends the access; undoes [`bind`]. Calls the driver's
    /// `dma_unmap` for all IOVAs. The standard `unbind_iommufd` of an emulated device. The lock of
    /// the device's set is held. Sleeps.
    #[doc(alias = "vfio_iommufd_emulated_unbind")]
    pub(crate) fn unbind(device: &Device) {
        device.assert_set_locked();
        device.destroy_iommufd_access();
    }

    /// Attaches the address space with the id `ioas` in place of the one that is attached. The
    /// standard `attach_ioas` of an emulated device. The lock of the device's set is held. Sleeps.
    ///
    /// # Errors
    ///
    /// What was attached stays.
    ///
    /// - `EINVAL` (and a warning) if the device is not bound.
    /// - `ENOENT` if there is no object with this id.
    /// - `EINVAL` if the object is no address space.
    /// - `EBUSY` if the access is just being detached.
    /// - `ENOMEM`.
    #[doc(alias = "vfio_iommufd_emulated_attach_ioas")]
    pub(crate) fn attach(device: &Device, ioas: u32) -> Result<(), Failure> {
        device.assert_set_locked();
        let Some(access) = device.iommufd_access() else {
            kernel::warn_on!(true);
            return Err(EINVAL.into());
        };
        if device.is_iommufd_attached() {
            return access.replace(ioas);
        }
        access.attach(ioas)?;
        device.set_iommufd_attached(true);
        Ok(())
    }

    /// Detaches the address space, if there is one; undoes [`attach`]. Calls the driver's
    /// `dma_unmap` for all IOVAs. The standard `detach_ioas` of an emulated device. The lock of the
    /// device's set is held. Sleeps.
    #[doc(alias = "vfio_iommufd_emulated_detach_ioas")]
    pub(crate) fn detach(device: &Device) {
        device.assert_set_locked();
        let access = device.iommufd_access();
        kernel::warn_on!(access.is_none());
        if let Some(access) = access.filter(|_| device.is_iommufd_attached()) {
            access.detach();
            device.set_iommufd_attached(false);
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! How devices are bound to iommufd: the two standard ways that drivers put into their tables.
//!
//! A device with DMA of its own ([`physical`]) is bound by its device of the bus, and attached to
//! page tables, one for requests without a PASID and one per PASID. An emulated device
//! ([`emulated`]) gets access to an address space, through which the core pins and copies memory.
//!
//! Everything is called from driver callbacks under the lock of the device's set.
//!
//! Corresponds to `drivers/vfio/iommufd.c`; contract sections 4.7 and 7.

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
        }, //
    },
    views::device::Device, //
};

/// A device that its driver bound to a context, for as long as it is open.
pub(crate) struct IommufdBacking {
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    id: u32,
    /// Held for as long as the device is bound.
    #[cfg_attr(not(CONFIG_VFIO_GROUP), expect(dead_code))]
    ctx: ARef<IommufdCtx>,
}

impl IommufdBacking {
    /// Lets the driver bind the device.
    ///
    /// # Errors
    ///
    /// The driver's errno, which is iommufd's.
    pub(crate) fn new(device: &Device, ctx: ARef<IommufdCtx>) -> Result<Self> {
        let _id = device.driver_bind_iommufd(&ctx)?;
        Ok(Self {
            #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
            id: _id,
            ctx,
        })
    }

    /// The id of the device in the context.
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
    fn release(self, device: &Device) {
        device.driver_unbind_iommufd();
    }
}

/// Returns the context that a device with DMA of its own is bound to.
#[doc(alias = "vfio_iommufd_device_ictx")]
pub(crate) fn ctx(device: &Device) -> Option<&IommufdCtx> {
    device.iommufd_device().and_then(IommufdDevice::ctx)
}

/// Returns the id of the device in `ctx`.
///
/// # Errors
///
/// - `EINVAL` if there is no context and the device is not bound.
/// - `ENODEV` if the device is in no IOMMU group, or no device of its group is bound to the context.
/// - `ENOENT` if not the device but another one of its IOMMU group is bound to the context.
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
        kernel::iommufd::{
            IommufdCtx,
            IommufdDevice,
            Pasid,
            NO_PASID, //
        },
        views::device::Device, //
    };

    /// What the device is bound with; warns if it is not.
    fn bound(device: &Device) -> Option<&IommufdDevice> {
        device.assert_set_locked();
        let bound = device.iommufd_device();
        kernel::warn_on!(bound.is_none());
        bound
    }

    /// Binds the device, and returns its id in the context.
    ///
    /// # Errors
    ///
    /// iommufd's errno.
    #[doc(alias = "vfio_iommufd_physical_bind")]
    pub(crate) fn bind(device: &Device, ctx: &IommufdCtx) -> Result<u32> {
        let (bound, id) = IommufdDevice::bind(device.bus_device(), ctx)?;
        device.set_iommufd_device(bound);
        Ok(id)
    }

    /// Detaches whatever is attached, and undoes [`bind`].
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

    /// Attaches what has the id `*pt`, in place of what is attached.
    ///
    /// # Errors
    ///
    /// `EINVAL` (and a warning) if the device is not bound; iommufd's errno, and then nothing has
    /// changed.
    #[doc(alias = "vfio_iommufd_physical_attach_ioas")]
    pub(crate) fn attach(device: &Device, pt: &mut u32) -> Result {
        let bound = bound(device).ok_or(EINVAL)?;
        if device.is_iommufd_attached() {
            return bound.replace(NO_PASID, pt);
        }
        bound.attach(NO_PASID, pt)?;
        device.set_iommufd_attached(true);
        Ok(())
    }

    /// Detaches what is attached, if anything is.
    #[doc(alias = "vfio_iommufd_physical_detach_ioas")]
    pub(crate) fn detach(device: &Device) {
        if let Some(bound) = bound(device).filter(|_| device.is_iommufd_attached()) {
            bound.detach(NO_PASID);
            device.set_iommufd_attached(false);
        }
    }

    /// Attaches what has the id `*pt` for a PASID, in place of what is attached for it.
    ///
    /// # Errors
    ///
    /// As for [`attach`]; `ENOMEM`, `ENOSPC` for a number that is no PASID.
    #[doc(alias = "vfio_iommufd_physical_pasid_attach_ioas")]
    pub(crate) fn attach_pasid(device: &Device, pasid: Pasid, pt: &mut u32) -> Result {
        let bound = bound(device).ok_or(EINVAL)?;
        if is_attached(device, pasid) {
            return bound.replace(pasid, pt);
        }
        // Noted first, since that may fail and detaching cannot be followed by a failure.
        device.add_pasid(pasid)?;
        bound
            .attach(pasid, pt)
            .inspect_err(|_| device.remove_pasid(pasid))
    }

    /// Detaches what is attached for a PASID, if anything is.
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
        kernel::iommufd::{
            IommufdCtx, //
        },
        views::device::Device, //
    };

    /// Binds the device, and returns its id in the context.
    ///
    /// # Errors
    ///
    /// iommufd's errno.
    #[doc(alias = "vfio_iommufd_emulated_bind")]
    pub(crate) fn bind(device: &Device, ctx: &IommufdCtx) -> Result<u32> {
        device.assert_set_locked();
        let (access, id) = device.create_iommufd_access(ctx)?;
        device.set_iommufd_access(access);
        Ok(id)
    }

    /// Detaches the address space, and undoes [`bind`]. The driver hears of everything that is
    /// unmapped by it.
    #[doc(alias = "vfio_iommufd_emulated_unbind")]
    pub(crate) fn unbind(device: &Device) {
        device.assert_set_locked();
        device.destroy_iommufd_access();
    }

    /// Attaches the address space with the id `ioas`, in place of the one that is attached.
    ///
    /// # Errors
    ///
    /// `EINVAL` (and a warning) if the device is not bound; iommufd's errno, and then nothing has
    /// changed.
    #[doc(alias = "vfio_iommufd_emulated_attach_ioas")]
    pub(crate) fn attach(device: &Device, ioas: u32) -> Result {
        device.assert_set_locked();
        let Some(access) = device.iommufd_access() else {
            kernel::warn_on!(true);
            return Err(EINVAL);
        };
        if device.is_iommufd_attached() {
            return access.replace(ioas);
        }
        access.attach(ioas)?;
        device.set_iommufd_attached(true);
        Ok(())
    }

    /// Detaches the address space, if there is one.
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

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

use kernel::prelude::*;

use crate::{
    core::session::Backing,
    ffi::{
        device::Device,
        iommufd::{
            Binding,
            Context,
            OwnedContext, //
        },
    },
};

/// A device that its driver bound to a context, for as long as it is open.
pub(crate) struct Bound {
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    id: u32,
    /// Held for as long as the device is bound.
    #[cfg_attr(not(CONFIG_VFIO_GROUP), expect(dead_code))]
    context: OwnedContext,
}

impl Bound {
    /// Lets the driver bind the device.
    ///
    /// # Errors
    ///
    /// The driver's errno, which is iommufd's.
    pub(crate) fn new(device: &Device, context: OwnedContext) -> Result<Self> {
        let _id = device.driver_bind_iommufd(context.get())?;
        Ok(Self {
            #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
            id: _id,
            context,
        })
    }

    /// The id of the device in the context.
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The context.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn context(&self) -> &OwnedContext {
        &self.context
    }
}

impl Backing for Bound {
    fn release(self, device: &Device) {
        device.driver_unbind_iommufd();
    }
}

/// The context that a device with DMA of its own is bound to.
#[doc(alias = "vfio_iommufd_device_ictx")]
pub(crate) fn context(device: &Device) -> Option<Context> {
    device.iommufd_binding().and_then(Binding::context)
}

/// The id of the device in `context`.
///
/// # Errors
///
/// `ENOENT` if not the device but another one of its IOMMU group is bound to the context, `ENODEV`
/// if none is, `EINVAL` if there is no context and the device is not bound.
#[doc(alias = "vfio_iommufd_get_dev_id")]
pub(crate) fn device_id(device: &Device, context: Option<Context>) -> Result<u32> {
    if self::context(device) == context {
        return device.iommufd_binding().map(Binding::id).ok_or(EINVAL);
    }
    match context {
        Some(context) if context.has_group_of(device)? => Err(ENOENT),
        _ => Err(ENODEV),
    }
}

/// Devices with DMA of their own.
pub(crate) mod physical {
    use kernel::prelude::*;

    use crate::ffi::{
        device::Device,
        iommufd::{
            Binding,
            Context,
            Pasid,
            NO_PASID, //
        },
    };

    /// What the device is bound with; warns if it is not.
    fn binding(device: &Device) -> Option<Binding> {
        device.assert_set_locked();
        let binding = device.iommufd_binding();
        kernel::warn_on!(binding.is_none());
        binding
    }

    /// Binds the device, and returns its id in the context.
    ///
    /// # Errors
    ///
    /// iommufd's errno.
    #[doc(alias = "vfio_iommufd_physical_bind")]
    pub(crate) fn bind(device: &Device, context: Context) -> Result<u32> {
        let (binding, id) = Binding::new(device, context)?;
        device.set_iommufd_binding(Some(binding));
        Ok(id)
    }

    /// Detaches whatever is attached, and undoes [`bind`].
    #[doc(alias = "vfio_iommufd_physical_unbind")]
    pub(crate) fn unbind(device: &Device) {
        let Some(binding) = binding(device) else {
            return;
        };
        while let Some(pasid) = device.next_pasid(0) {
            binding.detach(pasid);
            device.remove_pasid(pasid);
        }
        if device.is_iommufd_attached() {
            binding.detach(NO_PASID);
            device.set_iommufd_attached(false);
        }
        device.set_iommufd_binding(None);
        // SAFETY: Nothing is attached any more, and the device has forgotten the binding.
        unsafe { binding.unbind() };
    }

    /// Attaches what has the id `*pt`, in place of what is attached.
    ///
    /// # Errors
    ///
    /// `EINVAL` (and a warning) if the device is not bound; iommufd's errno, and then nothing has
    /// changed.
    #[doc(alias = "vfio_iommufd_physical_attach_ioas")]
    pub(crate) fn attach(device: &Device, pt: &mut u32) -> Result {
        let binding = binding(device).ok_or(EINVAL)?;
        if device.is_iommufd_attached() {
            return binding.replace(NO_PASID, pt);
        }
        binding.attach(NO_PASID, pt)?;
        device.set_iommufd_attached(true);
        Ok(())
    }

    /// Detaches what is attached, if anything is.
    #[doc(alias = "vfio_iommufd_physical_detach_ioas")]
    pub(crate) fn detach(device: &Device) {
        if let Some(binding) = binding(device).filter(|_| device.is_iommufd_attached()) {
            binding.detach(NO_PASID);
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
        let binding = binding(device).ok_or(EINVAL)?;
        if is_attached(device, pasid) {
            return binding.replace(pasid, pt);
        }
        // Noted first, since that may fail and detaching cannot be followed by a failure.
        device.add_pasid(pasid)?;
        binding
            .attach(pasid, pt)
            .inspect_err(|_| device.remove_pasid(pasid))
    }

    /// Detaches what is attached for a PASID, if anything is.
    #[doc(alias = "vfio_iommufd_physical_pasid_detach_ioas")]
    pub(crate) fn detach_pasid(device: &Device, pasid: Pasid) {
        if let Some(binding) = binding(device).filter(|_| is_attached(device, pasid)) {
            binding.detach(pasid);
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

    use crate::ffi::{
        device::Device,
        iommufd::{
            Access,
            Context, //
        },
    };

    /// Binds the device, and returns its id in the context.
    ///
    /// # Errors
    ///
    /// iommufd's errno.
    #[doc(alias = "vfio_iommufd_emulated_bind")]
    pub(crate) fn bind(device: &Device, context: Context) -> Result<u32> {
        device.assert_set_locked();
        let (access, id) = Access::new(device, context)?;
        device.set_iommufd_access(Some(access));
        Ok(id)
    }

    /// Detaches the address space, and undoes [`bind`]. The driver hears of everything that is
    /// unmapped by it.
    #[doc(alias = "vfio_iommufd_emulated_unbind")]
    pub(crate) fn unbind(device: &Device) {
        device.assert_set_locked();
        if let Some(access) = device.iommufd_access() {
            // SAFETY: The device forgets the access before somebody else gets the lock of its set.
            unsafe { access.destroy() };
            device.set_iommufd_attached(false);
            device.set_iommufd_access(None);
        }
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

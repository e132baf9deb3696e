// SPDX-License-Identifier: GPL-2.0

//! The callbacks of a device's driver that have to do with iommufd.
//!
//! A driver cannot register a device without the four that are not optional
//! ([`Device::supports_iommufd`]). All are called under the lock of the device's set.

use kernel::{
    error::to_result,
    prelude::*, //
};

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::{
    bindings,
    kernel::iommufd::Pasid, //
};
use crate::{
    kernel::iommufd::IommufdCtx,
    views::device::Device, //
};

/// A number of 128 bits that proves that the caller may use the device.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) type Token = [u8; 16];

impl Device {
    /// `bind_iommufd`. Returns the id of the device in the context.
    pub(crate) fn driver_bind_iommufd(&self, ctx: &IommufdCtx) -> Result<u32> {
        let bind = self.ops().bind_iommufd.ok_or(EINVAL)?;
        let mut id = 0;
        // SAFETY: The device is registered, the context valid, and `id` for the call.
        to_result(unsafe { bind(self.as_raw(), ctx.as_raw(), &mut id) })?;
        Ok(id)
    }

    /// `unbind_iommufd`. What is attached is detached.
    pub(crate) fn driver_unbind_iommufd(&self) {
        if let Some(unbind) = self.ops().unbind_iommufd {
            // SAFETY: The device is bound.
            unsafe { unbind(self.as_raw()) };
        }
    }

    /// `attach_ioas`. The driver says in `pt` which page table is used.
    pub(crate) fn driver_attach(&self, pt: &mut u32) -> Result {
        let attach = self.ops().attach_ioas.ok_or(EINVAL)?;
        // SAFETY: The device is bound, and `pt` valid for the call.
        to_result(unsafe { attach(self.as_raw(), pt) })
    }
}

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
impl Device {
    /// `detach_ioas`. Does nothing if nothing is attached.
    pub(crate) fn driver_detach(&self) {
        if let Some(detach) = self.ops().detach_ioas {
            // SAFETY: The device is bound.
            unsafe { detach(self.as_raw()) };
        }
    }

    /// Whether the driver can attach something for a PASID.
    pub(crate) fn driver_can_attach_pasid(&self) -> bool {
        self.ops().pasid_attach_ioas.is_some()
    }

    /// Whether the driver can detach what is attached for a PASID.
    pub(crate) fn driver_can_detach_pasid(&self) -> bool {
        self.ops().pasid_detach_ioas.is_some()
    }

    /// `pasid_attach_ioas`; `EOPNOTSUPP` without one.
    pub(crate) fn driver_attach_pasid(&self, pasid: Pasid, pt: &mut u32) -> Result {
        let attach = self.ops().pasid_attach_ioas.ok_or(EOPNOTSUPP)?;
        // SAFETY: The device is bound, and `pt` valid for the call.
        to_result(unsafe { attach(self.as_raw(), pasid, pt) })
    }

    /// `pasid_detach_ioas`. Does nothing without one, nor if nothing is attached.
    pub(crate) fn driver_detach_pasid(&self, pasid: Pasid) {
        if let Some(detach) = self.ops().pasid_detach_ioas {
            // SAFETY: The device is bound.
            unsafe { detach(self.as_raw(), pasid) };
        }
    }

    /// Whether the driver wants to see tokens.
    pub(crate) fn driver_wants_token(&self) -> bool {
        self.ops().match_token_uuid.is_some()
    }

    /// `match_token_uuid`: whether the token, or the lack of one, will do. Nothing to do without
    /// a callback.
    pub(crate) fn driver_match_token(&self, token: Option<&Token>) -> Result {
        let Some(matches) = self.ops().match_token_uuid else {
            return Ok(());
        };
        let uuid = token.map(|token| bindings::uuid_t { b: *token });
        let uuid = uuid
            .as_ref()
            .map_or(core::ptr::null(), |uuid| &raw const *uuid);
        // SAFETY: The device is registered, and the token null or valid for the call.
        to_result(unsafe { matches(self.as_raw(), uuid) })
    }
}

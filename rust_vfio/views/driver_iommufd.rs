// SPDX-License-Identifier: GPL-2.0

//! The callbacks of `struct vfio_device_ops` for iommufd.
//!
//! With iommufd a driver cannot register a device without `bind_iommufd`, `unbind_iommufd`,
//! `attach_ioas` and `detach_ioas` ([`Device::supports_iommufd`]); the others are optional. All are
//! called with the lock of the device's set held, and all may sleep. What they return is passed on
//! as it is ([`Failure`]).
//!
//! Contract sections 4.10 and 7.1.

use kernel::prelude::*;

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
use crate::{
    bindings,
    kernel::iommufd::Pasid, //
};
use crate::{
    kernel::{
        iommufd::IommufdCtx,
        returned::Failure, //
    },
    views::device::Device, //
};

/// A UUID that proves that a process may use the device: the token of the PF, for a VF.
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) type Token = [u8; 16];

impl Device {
    /// Calls `bind_iommufd`: binds the device to `ctx`. Returns the id of the device in the
    /// context.
    ///
    /// # Errors
    ///
    /// - `EINVAL` without a callback.
    /// - Any failure of the driver's `bind_iommufd`.
    pub(crate) fn driver_bind_iommufd(&self, ctx: &IommufdCtx) -> Result<u32, Failure> {
        let bind = self.ops().bind_iommufd.ok_or(EINVAL)?;
        let mut id = 0;
        // SAFETY: Device and context are valid, being references, and `id` is valid during the
        // call.
        Failure::check(unsafe { bind(self.as_raw(), ctx.as_raw(), &mut id) })?;
        Ok(id)
    }

    /// Calls `unbind_iommufd`, if there is one: detaches everything and unbinds the device.
    pub(crate) fn driver_unbind_iommufd(&self) {
        if let Some(unbind) = self.ops().unbind_iommufd {
            // SAFETY: The device is valid, being a reference. The caller has bound it.
            unsafe { unbind(self.as_raw()) };
        }
    }

    /// Calls `attach_ioas`: attaches the IOAS or the page table with the id `*pt`. The driver sets
    /// `*pt` to the id of the page table that is used.
    ///
    /// # Errors
    ///
    /// - `EINVAL` without a callback.
    /// - Any failure of the driver's `attach_ioas`.
    pub(crate) fn driver_attach(&self, pt: &mut u32) -> Result<(), Failure> {
        let attach = self.ops().attach_ioas.ok_or(EINVAL)?;
        // SAFETY: The device is valid, being a reference, and the caller has bound it. `pt` is
        // valid during the call.
        Failure::check(unsafe { attach(self.as_raw(), pt) })
    }
}

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
impl Device {
    /// Calls `detach_ioas`, if there is one: detaches the IOAS or the page table, if any.
    pub(crate) fn driver_detach(&self) {
        if let Some(detach) = self.ops().detach_ioas {
            // SAFETY: The device is valid, being a reference, and the caller knows that it is
            // bound.
            unsafe { detach(self.as_raw()) };
        }
    }

    /// Returns whether the driver has `pasid_attach_ioas`.
    pub(crate) fn driver_can_attach_pasid(&self) -> bool {
        self.ops().pasid_attach_ioas.is_some()
    }

    /// Returns whether the driver has `pasid_detach_ioas`.
    pub(crate) fn driver_can_detach_pasid(&self) -> bool {
        self.ops().pasid_detach_ioas.is_some()
    }

    /// Calls `pasid_attach_ioas`: attaches the IOAS or the page table with the id `*pt` for a
    /// PASID. The driver sets `*pt` to the id of the page table that is used.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP` without a callback.
    /// - Any failure of the driver's `pasid_attach_ioas`.
    pub(crate) fn driver_attach_pasid(&self, pasid: Pasid, pt: &mut u32) -> Result<(), Failure> {
        let attach = self.ops().pasid_attach_ioas.ok_or(EOPNOTSUPP)?;
        // SAFETY: The device is valid, being a reference, and the caller knows that it is bound.
        // `pt` is valid during the call.
        Failure::check(unsafe { attach(self.as_raw(), pasid, pt) })
    }

    /// Calls `pasid_detach_ioas`, if there is one: detaches the page table of a PASID, if any.
    pub(crate) fn driver_detach_pasid(&self, pasid: Pasid) {
        if let Some(detach) = self.ops().pasid_detach_ioas {
            // SAFETY: The device is valid, being a reference, and the caller knows that it is
            // bound.
            unsafe { detach(self.as_raw(), pasid) };
        }
    }

    /// Returns whether the driver checks tokens: whether it has `match_token_uuid`.
    pub(crate) fn driver_wants_token(&self) -> bool {
        self.ops().match_token_uuid.is_some()
    }

    /// Calls `match_token_uuid`, if there is one: checks the token, or that none is needed.
    ///
    /// # Errors
    ///
    /// Any failure of the driver's `match_token_uuid`, with which it rejects the token.
    pub(crate) fn driver_match_token(&self, token: Option<&Token>) -> Result<(), Failure> {
        let Some(matches) = self.ops().match_token_uuid else {
            return Ok(());
        };
        let uuid = token.map(|token| bindings::uuid_t { b: *token });
        let uuid = uuid
            .as_ref()
            .map_or(core::ptr::null(), |uuid| &raw const *uuid);
        // SAFETY: The device is valid, being a reference. `uuid` is null or points to a local
        // variable.
        Failure::check(unsafe { matches(self.as_raw(), uuid) })
    }
}

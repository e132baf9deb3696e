// SPDX-License-Identifier: GPL-2.0

//! Devices are opened and closed through their group: GROUP_GET_DEVICE_FD without the file.
//!
//! Contract sections 3.2 (GET_DEVICE_FD), 3.4 and 7.2.

use kernel::prelude::*;

#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::group::{
    membership::{
        ActiveContainer,
        ContainerUse, //
    },
    state::Users, //
};
#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::noiommu;
use crate::{
    core::session::{
        self,
        Left,
        Session, //
    },
    group::{
        attachment::Attachment,
        sessions::GroupBacking,
        state::{
            Group,
            GroupState, //
        }, //
    },
    views::device::{
        Device,
        OpenState, //
    }, //
};
#[cfg(CONFIG_IOMMUFD)]
use crate::{
    group::{
        sessions::IommufdUse,
        state::is_noiommu, //
    },
    iommufd::IommufdBacking,
    kernel::task, //
};

impl Group {
    /// Adds a file to the session of a device, which begins if the device is not open.
    ///
    /// Takes the group's lock and that of the device's set.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the group is in nothing; if the device is open by what the group was in
    ///   before, or by a file of its own node.
    /// - `EMFILE` if there are too many files to count, `ENOMEM`.
    /// - `ENODEV` if the bus driver's module is on its way out.
    /// - Those of `backing`; what the driver's `open_device` returned.
    pub(super) fn open_session(&self, device: &Device) -> Result {
        let mut state = self.state.lock();
        let state = &mut *state;
        let attachment = state.attachment.as_ref().ok_or(EINVAL)?;
        let mut open = device.lock_set();
        if let Some(at) = state.sessions.position(device) {
            let (_, session) = state.sessions.0.get(at).ok_or(EINVAL)?;
            if !session.backing().is_from(attachment) {
                return Err(EINVAL);
            }
            return session::join(&mut open);
        }
        // Room first: a session that has begun cannot be forgotten.
        state.sessions.0.reserve(1, GFP_KERNEL)?;
        let session = self
            .begin(state, attachment, &mut open)
            .inspect_err(|_| self.deactivate_unless_used(state))?;
        match state
            .sessions
            .0
            .push_within_capacity((core::ptr::from_ref(device).addr(), session))
        {
            Ok(()) => Ok(()),
            Err(_) => Err(ENOMEM),
        }
    }

    fn begin(
        &self,
        state: &GroupState,
        attachment: &Attachment,
        open: &mut OpenState<'_>,
    ) -> Result<Session<GroupBacking>> {
        let session = Session::begin(open, &self.kvm, |device| {
            self.backing(state, attachment, device)
        })?;
        match session.backing().finish(open.device()) {
            Ok(()) => Ok(session),
            Err(e) => {
                session.end(open);
                Err(e)
            }
        }
    }

    /// Takes a file out of a device's session, which ends with the last one.
    ///
    /// Takes the group's lock and that of the device's set.
    pub(super) fn close_session(&self, device: &Device) {
        let mut state = self.state.lock();
        let mut open = device.lock_set();
        if let Left::Nobody = session::leave(&mut open) {
            if let Some(session) = state.sessions.take(device) {
                session.end(&mut open);
            }
            self.deactivate_unless_used(&state);
        }
    }

    /// Readies the IOMMU for a device of this group, which is in `attachment` and is being opened.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the user has not chosen a backend.
    /// - `EPERM` if nothing translates and the caller may not use such devices, or expects that
    ///   something does.
    /// - What the driver returned when it should bind the device.
    #[cfg_attr(
        not(CONFIG_VFIO_CONTAINER),
        expect(unused_variables, reason = "only a container wants to know")
    )]
    fn backing(
        &self,
        state: &GroupState,
        attachment: &Attachment,
        device: &Device,
    ) -> Result<GroupBacking> {
        match attachment {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Attachment::Container(membership) => {
                let active = membership.active()?;
                noiommu::check_rawio(self.kind)?;
                let Users::GroupFile(file) = &state.users else {
                    return Err(EINVAL);
                };
                // SAFETY: The group is in a container, so its file is open, and the lock is held
                // that the file's release takes before it is done.
                let file = unsafe { file.get() };
                let backend = active.backend().clone();
                self.activate(active);
                Ok(GroupBacking::Container(ContainerUse::new(
                    device, backend, file,
                )))
            }
            #[cfg(CONFIG_IOMMUFD)]
            Attachment::Iommufd(ctx) if is_noiommu(device) => {
                if !task::capable_rawio() || ctx.compat_ioas().is_ok() {
                    return Err(EPERM);
                }
                Ok(GroupBacking::Iommufd(IommufdUse::Untranslated(ctx.clone())))
            }
            #[cfg(CONFIG_IOMMUFD)]
            Attachment::Iommufd(ctx) => {
                let bound = IommufdBacking::new(device, ctx.clone())?;
                Ok(GroupBacking::Iommufd(IommufdUse::Bound(bound)))
            }
        }
    }

    /// Lets drivers of the group's devices find the user's memory, from before the first of them is
    /// opened through a container.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    fn activate(&self, active: ActiveContainer) {
        let spare = {
            let mut slot = self.active.lock();
            match &*slot {
                Some(_) => Some(active),
                None => slot.replace(active),
            }
        };
        // Not under the spinlock.
        drop(spare);
    }

    /// The opposite of `activate`, once no device of the group is open through a container.
    fn deactivate_unless_used(&self, state: &GroupState) {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        if !state.sessions.need_container() {
            let last = self.active.lock().take();
            // Not under the spinlock.
            drop(last);
        }
        #[cfg(not(CONFIG_VFIO_CONTAINER))]
        let _ = state;
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Opening and closing of devices through their group: GROUP_GET_DEVICE_FD without the file.
//!
//! Locks: the group's, and under it that of the device's set. `active` is changed under both. The
//! lock of the container is not taken: somebody may be attaching another group, which takes long,
//! and whoever shares the device's set would wait as well.
//!
//! Corresponds to `vfio_df_group_open()` and `vfio_df_group_close()` in `drivers/vfio/group.c`;
//! contract 3.2 (GET_DEVICE_FD), 3.4 and 7.2.
//!
//! Deviation: if a driver refuses the device with a number that is no errno (a positive one, or one
//! below -4095), GET_DEVICE_FD fails with `EINVAL`. C takes the number for a pointer to the
//! device's file.

use kernel::prelude::*;

#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::group::{
    membership::ContainerUse,
    state::Users, //
};
#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::{
    container::backend::Backend,
    kernel::slab::Shared,
    noiommu, //
};
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
    kernel::returned::Failure,
    refusal::Refusal,
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

/// What the container or iommufd of a group has for a device that is about to be opened. It is
/// taken before the lock of the device's set.
#[derive(Default)]
struct Offer {
    /// The container's backend, if the group is in a container that has one.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    backend: Option<Shared<Backend>>,
}

impl Offer {
    /// Takes what `attachment` has. The group's lock is held.
    fn of(attachment: &Attachment) -> Self {
        match attachment {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Attachment::Container(membership) => Self {
                backend: membership.backend(),
            },
            #[cfg(CONFIG_IOMMUFD)]
            Attachment::Iommufd(_) => Self::default(),
        }
    }
}

impl Group {
    /// Adds a file to the session of a device, or begins one if the device is not open. Called for
    /// GROUP_GET_DEVICE_FD.
    ///
    /// Takes the group's lock and that of the device's set. Sleeps.
    ///
    /// # Errors
    ///
    /// If the driver fails with a number that is no errno, `EINVAL` stands for it.
    ///
    /// - `EINVAL` if the group is neither in a container nor in an iommufd.
    ///
    /// If the device is open through the group:
    ///
    /// - `EINVAL` if the group was in another container or iommufd when the device was opened.
    /// - `EMFILE` if there are too many files to count.
    ///
    /// Otherwise:
    ///
    /// - `ENOMEM`.
    /// - `EINVAL` if the device is open through its cdev.
    /// - `ENODEV` if the bus driver's module is being unloaded.
    /// - In a container: `EINVAL` if user space has not chosen a backend with SET_IOMMU.
    /// - In a container: `EPERM` if the group is without IOMMU and the calling task lacks
    ///   `CAP_SYS_RAWIO`.
    /// - In an iommufd, if nothing translates the DMA of the device: `EPERM` if the calling task
    ///   lacks `CAP_SYS_RAWIO`, or if the iommufd has an address space for users of containers.
    /// - In an iommufd otherwise: any errno of the driver's `bind_iommufd`.
    /// - Any errno of the driver's `open_device`.
    /// - In an iommufd, if something translates: `ENODEV` if the address space for users of
    ///   containers was destroyed; any errno of the driver's `attach_ioas`.
    #[doc(alias = "vfio_df_group_open")]
    pub(super) fn open_session(&self, device: &Device) -> Result {
        let mut state = self.state.lock();
        let state = &mut *state;
        let attachment = state.attachment.as_ref().ok_or_else(|| {
            let group = state.number();
            Refusal::NotAttached { group }.report(EINVAL)
        })?;
        if let Some(session) = state.sessions.of(device) {
            if !session.backing().is_from(attachment) {
                return Err(EINVAL);
            }
            return session::join(&mut device.lock_set());
        }
        // This may fail, so it comes before the session begins, which would have to be ended.
        state.sessions.reserve_one()?;
        let offer = Offer::of(attachment);
        let mut open = device.lock_set();
        let session = self
            .begin(state, attachment, offer, &mut open)
            .inspect_err(|_| self.deactivate_unless_used(state))
            // The caller returns a file descriptor, so only an errno is seen as a failure.
            .map_err(Failure::to_error)?;
        state.sessions.add(device, session)
    }

    /// Begins a session of a device that is not open. Both locks are held.
    fn begin(
        &self,
        state: &GroupState,
        attachment: &Attachment,
        offer: Offer,
        open: &mut OpenState<'_>,
    ) -> Result<Session<GroupBacking>, Failure> {
        let session = Session::begin(open, &self.kvm, |device| {
            self.backing(state, attachment, offer, device)
        })?;
        match session.backing().finish(open.device()) {
            Ok(()) => Ok(session),
            Err(e) => {
                session.end(open);
                Err(e)
            }
        }
    }

    /// Removes a file from a device's session, which ends with the last file; undoes
    /// [`Group::open_session`].
    ///
    /// Takes the group's lock and that of the device's set. Sleeps.
    #[doc(alias = "vfio_df_group_close")]
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

    /// Gives a device that is being opened access to memory through `attachment`, which the group
    /// is in and which has made this offer. Both locks are held. Sleeps.
    ///
    /// # Errors
    ///
    /// Those that [`Group::open_session`] lists between the bus driver's module and `open_device`.
    #[doc(alias = "vfio_device_group_use_iommu")]
    #[cfg_attr(
        not(CONFIG_VFIO_CONTAINER),
        expect(unused_variables, reason = "only a container wants to know")
    )]
    fn backing(
        &self,
        state: &GroupState,
        attachment: &Attachment,
        offer: Offer,
        device: &Device,
    ) -> Result<GroupBacking, Failure> {
        match attachment {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Attachment::Container(_) => {
                let backend = offer
                    .backend
                    .ok_or_else(|| Refusal::NoType.report(EINVAL))?;
                noiommu::check_rawio(self.kind)?;
                let Users::GroupFile(file, _) = &state.users else {
                    return Err(EINVAL.into());
                };
                // SAFETY: This runs in GROUP_GET_DEVICE_FD, an ioctl of the group's file, which the
                // calling task keeps open meanwhile. `file` is that file, because a group has one
                // open file at a time. Its release sets `users` under the group's lock, which is
                // held.
                let file = unsafe { file.get() };
                self.active.publish(backend.clone());
                Ok(GroupBacking::Container(ContainerUse::new(
                    device, backend, file,
                )))
            }
            #[cfg(CONFIG_IOMMUFD)]
            Attachment::Iommufd(ctx) if is_noiommu(device) => {
                if !task::capable_rawio() || ctx.compat_ioas().is_ok() {
                    return Err(EPERM.into());
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

    /// Takes back what lets drivers of the group's devices reach the user's memory through the
    /// container, unless one of them is open there.
    fn deactivate_unless_used(&self, state: &GroupState) {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        if !state.sessions.need_container() {
            // SAFETY: The only reader is `active_backend`, for a call of a driver whose device
            // stays open during the call; the exported functions require that. The group has no
            // device any more that is open through a container, and gets none while its lock is
            // held.
            drop(unsafe { self.active.withdraw() });
        }
        #[cfg(not(CONFIG_VFIO_CONTAINER))]
        let _ = state;
    }
}

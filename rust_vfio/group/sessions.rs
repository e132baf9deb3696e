// SPDX-License-Identifier: GPL-2.0

//! Devices that are open through their group.
//!
//! A device may have several files from its group; they share a session, which the group keeps in
//! a table ([`Sessions`]) under its lock. The table says how each device reaches memory, whatever
//! the group is in by now: a group that was put into an iommufd can leave it while its devices are
//! open, and then be put into something else. A further file is refused if the two differ
//! (contract 3.4, R-38).
//!
//! Contract sections 3.2 (GET_DEVICE_FD), 3.4 and 7.2.

use kernel::{
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

use super::{
    attachment::Attachment,
    device_file::{
        self,
        DeviceFile, //
    },
    Group,
    State, //
};
#[cfg(CONFIG_VFIO_CONTAINER)]
use super::{
    container_use::ContainerUse,
    Users, //
};
use crate::{
    core::session::{
        self,
        Backing,
        Left,
        Session, //
    },
    ffi::{
        device::{
            Device,
            OpenState,
            Registered, //
        },
        group_kind::GroupKind,
        task::{
            self,
            Comm, //
        },
    },
};
#[cfg(CONFIG_IOMMUFD)]
use crate::{
    ffi::iommufd::OwnedContext,
    iommufd::Bound,
    noiommu, //
};

/// How a device that was opened through its group reaches memory.
pub(super) enum GroupBacking {
    /// By the container that the group is in.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    Container(ContainerUse),
    /// By an iommufd.
    #[cfg(CONFIG_IOMMUFD)]
    Iommufd(Bound),
    /// All of it: nothing translates, and iommufd is there for the user's convenience.
    #[cfg(CONFIG_IOMMUFD)]
    Untranslated(OwnedContext),
}

impl Backing for GroupBacking {
    fn release(self, device: &Device) {
        match self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Self::Container(container) => container.release(device),
            #[cfg(CONFIG_IOMMUFD)]
            Self::Iommufd(bound) => bound.release(device),
            #[cfg(CONFIG_IOMMUFD)]
            Self::Untranslated(context) => drop(context),
        }
    }
}

impl GroupBacking {
    /// Readies the IOMMU for a device of `group`, which is in `attachment` and is being opened.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the user has not chosen a backend; `EPERM` if nothing translates and the caller
    /// may not use such devices, or expects that something does; what the driver returned.
    #[cfg_attr(
        not(CONFIG_VFIO_CONTAINER),
        expect(unused_variables, reason = "only a container wants to know")
    )]
    fn new(group: &Group, state: &State, attachment: &Attachment, device: &Device) -> Result<Self> {
        match attachment {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Attachment::Container(membership) => {
                let backend = membership.backend()?;
                group.check_rawio()?;
                let Users::GroupFile(file) = &state.users else {
                    return Err(EINVAL);
                };
                // SAFETY: The group is in a container, so its file is open, and the lock is held
                // that the file's release takes before it is done.
                let file = unsafe { file.get() };
                let container = ContainerUse::new(group, device, backend, file);
                Ok(Self::Container(container))
            }
            #[cfg(CONFIG_IOMMUFD)]
            Attachment::Iommufd(context) if noiommu::is_device(device) => {
                if !task::capable_rawio() || context.get().compat_ioas().is_ok() {
                    return Err(EPERM);
                }
                Ok(Self::Untranslated(context.clone()))
            }
            #[cfg(CONFIG_IOMMUFD)]
            Attachment::Iommufd(context) => Bound::new(device, context.clone()).map(Self::Iommufd),
        }
    }

    /// What has to be done once the driver opened the device.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the iommufd no longer has the address space that users of containers mean; what
    /// the driver returned.
    #[cfg_attr(
        not(CONFIG_IOMMUFD),
        expect(unused_variables, reason = "a container needs nothing more")
    )]
    fn finish(&self, device: &Device) -> Result {
        match self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Self::Container(_) => Ok(()),
            #[cfg(CONFIG_IOMMUFD)]
            Self::Iommufd(bound) => {
                let mut id = bound.context().get().compat_ioas()?;
                device.driver_attach(&mut id)
            }
            #[cfg(CONFIG_IOMMUFD)]
            Self::Untranslated(_) => Ok(()),
        }
    }

    /// Whether a device that is opened now would get the same.
    fn is_from(&self, attachment: &Attachment) -> bool {
        match (self, attachment) {
            // The group cannot leave a container while a device is open through it.
            #[cfg(CONFIG_VFIO_CONTAINER)]
            (Self::Container(_), Attachment::Container(_)) => true,
            #[cfg(CONFIG_IOMMUFD)]
            (Self::Iommufd(bound), Attachment::Iommufd(context)) => bound.context() == context,
            #[cfg(CONFIG_IOMMUFD)]
            (Self::Untranslated(own), Attachment::Iommufd(context)) => own == context,
            #[cfg(all(CONFIG_VFIO_CONTAINER, CONFIG_IOMMUFD))]
            _ => false,
        }
    }

    /// Whether it is a container's.
    fn is_container(&self) -> bool {
        match self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Self::Container(_) => true,
            #[cfg(CONFIG_IOMMUFD)]
            _ => false,
        }
    }
}

/// The devices of a group that are open through it.
pub(super) struct Sessions(KVec<(*const Device, Session<GroupBacking>)>);

// SAFETY: The pointers are only compared.
unsafe impl Send for Sessions {}

impl Sessions {
    /// None are.
    pub(super) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Whether one of them needs the container that the group is in.
    pub(super) fn need_container(&self) -> bool {
        self.0
            .iter()
            .any(|(_, session)| session.backing().is_container())
    }

    fn position(&self, device: &Device) -> Option<usize> {
        self.0
            .iter()
            .position(|(open, _)| core::ptr::eq(*open, device))
    }

    fn take(&mut self, device: &Device) -> Option<Session<GroupBacking>> {
        let (_, session) = self.0.remove(self.position(device)?).ok()?;
        Some(session)
    }
}

impl Group {
    /// Opens a device and makes a file of it.
    pub(super) fn open_device(&self, device: Registered) -> Result<ARef<File>> {
        let file = DeviceFile::new(device, self.into())?;
        self.open_session(file.device())?;
        // From here on releasing the file ends the session, also if the file cannot be made.
        let file = DeviceFile::into_file(file)?;
        if self.kind == GroupKind::NoIommu {
            if let Some(opened) = device_file::from_file(&file) {
                dev_warn!(
                    opened.device().bus_device(),
                    "vfio-noiommu: device opened by {}:{}\n",
                    Comm::current(),
                    task::current_pid(),
                );
            }
        }
        Ok(file)
    }

    fn open_session(&self, device: &Device) -> Result {
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
        let session = self.begin(state, attachment, &mut open)?;
        match state.sessions.0.push_within_capacity((device, session)) {
            Ok(()) => Ok(()),
            Err(_) => Err(ENOMEM),
        }
    }

    fn begin(
        &self,
        state: &State,
        attachment: &Attachment,
        open: &mut OpenState<'_>,
    ) -> Result<Session<GroupBacking>> {
        let session = Session::begin(open, &self.kvm, |device| {
            GroupBacking::new(self, state, attachment, device)
        })?;
        match session.backing().finish(open.device()) {
            Ok(()) => Ok(session),
            Err(e) => {
                session.end(open);
                Err(e)
            }
        }
    }

    /// Ends a file's part of a device's session.
    pub(super) fn close_device(&self, device: &Device) {
        let mut state = self.state.lock();
        let mut open = device.lock_set();
        if let Left::Nobody = session::leave(&mut open) {
            if let Some(session) = state.sessions.take(device) {
                session.end(&mut open);
            }
        }
    }
}

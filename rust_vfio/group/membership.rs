// SPDX-License-Identifier: GPL-2.0

//! A group in a container, and its devices that are open through it.
//!
//! [`Membership`] is the group's, [`ContainerUse`] that of one open device. The group stays in the
//! container while one of its devices is open: the user cannot take it out, and the device keeps
//! the group's file.

use kernel::{
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    container::{
        backend::Backend,
        Container, //
    },
    core::session::Backing,
    kernel::iommu_group::IommuGroup,
    views::{
        device::Device,
        group_type::GroupType, //
    }, //
};

/// A group's place in a container. Dropping it takes the group out.
pub(super) struct Membership {
    container: Arc<Container>,
    identity: IommuGroup,
}

impl Membership {
    /// Lets a group join. The group's lock is held.
    ///
    /// # Errors
    ///
    /// What [`Container::attach`] returned.
    pub(super) fn join(
        container: Arc<Container>,
        identity: &IommuGroup,
        kind: GroupType,
    ) -> Result<Self> {
        container.attach(identity, kind)?;
        Ok(Self {
            container,
            identity: identity.clone(),
        })
    }

    /// What translates for the group.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the user has not chosen yet.
    pub(super) fn active(&self) -> Result<ActiveContainer> {
        Ok(ActiveContainer {
            backend: self.container.backend()?,
            identity: self.identity.clone(),
        })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.container.detach(&self.identity);
    }
}

/// What translates for a group, and the group as it knows it.
#[derive(Clone)]
pub(crate) struct ActiveContainer {
    backend: Arc<Backend>,
    identity: IommuGroup,
}

impl ActiveContainer {
    /// Returns the backend.
    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Returns the group, as the backend knows it.
    pub(crate) fn identity(&self) -> &IommuGroup {
        &self.identity
    }
}

/// What an open device uses.
pub(super) struct ContainerUse {
    backend: Arc<Backend>,
    _file: ARef<File>,
}

impl ContainerUse {
    /// Tells the backend of a device that is about to be opened. The group's file stays open until
    /// the device is closed.
    pub(super) fn new(device: &Device, backend: Arc<Backend>, file: ARef<File>) -> Self {
        backend.register_device(device);
        Self {
            backend,
            _file: file,
        }
    }
}

impl Backing for ContainerUse {
    fn release(self, device: &Device) {
        // The release of the group's file, which may follow, takes the group's lock, but not before
        // the task returns to user space.
        self.backend.unregister_device(device);
    }
}

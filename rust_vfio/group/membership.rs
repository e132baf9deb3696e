// SPDX-License-Identifier: GPL-2.0

//! A group in a container, and its devices that are open through it.
//!
//! A [`Membership`] belongs to a group, a [`ContainerUse`] to an open device. The group stays in
//! the container while one of its devices is open: UNSET_CONTAINER fails, and the use holds the
//! group's file, whose release would detach the group.
//!
//! Locks: a membership is part of the group's state; a use is part of a session, under the lock of
//! the device's set.
//!
//! Corresponds to `vfio_group.container`, `vfio_group_use_container()` and
//! `vfio_group_unuse_container()` in `drivers/vfio/container.c`.

use kernel::{
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    container::{
        backend::Backend,
        Container, //
    },
    core::session::Backing,
    kernel::{
        iommu_group::{
            GroupKey,
            IommuGroup, //
        },
        returned::Failure,
        slab::Shared, //
    },
    views::{
        device::Device,
        group_type::GroupType, //
    }, //
};

/// A group's place in a container, which has a reference to the IOMMU group. Dropping it detaches
/// the group, under the group's lock; it takes the container's lock and sleeps.
pub(super) struct Membership {
    container: Shared<Container>,
    group: GroupKey,
}

impl Membership {
    /// Puts a group into a container. The group's lock is held; takes the container's. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`Container::attach`].
    pub(super) fn join(
        container: Shared<Container>,
        identity: &IommuGroup,
        kind: GroupType,
    ) -> Result<Self, Failure> {
        container.attach(identity, kind)?;
        Ok(Self {
            container,
            group: identity.key(),
        })
    }

    /// Returns the container.
    pub(super) fn container(&self) -> &Container {
        &self.container
    }

    /// Returns a reference to the backend, or none if user space has not chosen one with SET_IOMMU.
    /// Does not wait for another group that is being attached.
    pub(super) fn backend(&self) -> Option<Shared<Backend>> {
        self.container.backend().ok()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.container.detach(self.group);
    }
}

/// What an open device holds of a container: the backend, and the file of its group.
pub(super) struct ContainerUse {
    backend: Shared<Backend>,
    _file: ARef<File>,
}

impl ContainerUse {
    /// Tells the backend of a device that is about to be opened. The group's file stays open until
    /// the device is closed. The lock of the device's set is held. Sleeps.
    #[doc(alias = "vfio_group_use_container")]
    pub(super) fn new(device: &Device, backend: Shared<Backend>, file: ARef<File>) -> Self {
        backend.register_device(device);
        Self {
            backend,
            _file: file,
        }
    }
}

impl Backing for ContainerUse {
    /// Tells the backend that the device has been closed; undoes [`ContainerUse::new`].
    #[doc(alias = "vfio_group_unuse_container")]
    fn release(self, device: &Device) {
        // Dropping the file may release it. That takes the group's lock, which is held here, but
        // `fput()` puts the release off until the task returns to user space.
        self.backend.unregister_device(device);
    }
}

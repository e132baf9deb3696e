// SPDX-License-Identifier: GPL-2.0

//! A group in a container, and its devices that are open through it.
//!
//! [`Membership`] is the group's, [`ContainerUse`] that of one open device. The group stays in the
//! container while one of its devices is open: the user cannot take it out, and the device keeps
//! the group's file.
//!
//! Drivers pin pages while locks are held that the group's lock is outside of. For them there is
//! [`Active`], under a spinlock: the backend of all devices of the group that are open.

use kernel::{
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

use super::{
    registry,
    Group, //
};
use crate::{
    container::{
        backend::Backend,
        Container, //
    },
    core::session::Backing,
    ffi::{
        device::Device,
        group_kind::GroupKind,
        iommu_group::IommuGroup, //
    },
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
        kind: GroupKind,
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
    pub(super) fn backend(&self) -> Result<ActiveBackend> {
        Ok(ActiveBackend {
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
pub(super) struct ActiveBackend {
    backend: Arc<Backend>,
    identity: IommuGroup,
}

/// The backend that the open devices of a group share, if there are any, and how many.
pub(super) type Active = Option<(ActiveBackend, usize)>;

/// What an open device uses.
pub(super) struct ContainerUse {
    backend: Arc<Backend>,
    _file: ARef<File>,
}

impl ContainerUse {
    /// Tells the backend of a device that is about to be opened.
    pub(super) fn new(
        group: &Group,
        device: &Device,
        active: ActiveBackend,
        file: ARef<File>,
    ) -> Self {
        let backend = active.backend.clone();
        let spare = {
            let mut slot = group.active.lock();
            match &mut *slot {
                Some((_, devices)) => {
                    *devices += 1;
                    Some(active)
                }
                None => slot.replace((active, 1)).map(|(active, _)| active),
            }
        };
        // Not under the spinlock.
        drop(spare);
        backend.register_device(device);
        Self {
            backend,
            _file: file,
        }
    }
}

impl Backing for ContainerUse {
    fn release(self, device: &Device) {
        self.backend.unregister_device(device);
        let Some(group) = registry::of(device) else {
            return;
        };
        let last = {
            let mut slot = group.active.lock();
            match &mut *slot {
                Some((_, devices)) if *devices > 1 => {
                    *devices -= 1;
                    None
                }
                slot => slot.take(),
            }
        };
        // Not under the spinlock. The release of the group's file, which follows, takes the group's
        // lock, but not before the task returns to user space.
        drop(last);
    }
}

/// What finds the user's memory for a device that is open through a container. Takes no lock but a
/// spinlock.
pub(crate) fn active_backend(device: &Device) -> Option<Arc<Backend>> {
    let slot = registry::of(device)?.active.lock();
    slot.as_ref().map(|(active, _)| active.backend.clone())
}

/// The group of such a device, as the backend knows it.
pub(crate) fn active_group(device: &Device) -> Option<IommuGroup> {
    let slot = registry::of(device)?.active.lock();
    slot.as_ref().map(|(active, _)| active.identity.clone())
}

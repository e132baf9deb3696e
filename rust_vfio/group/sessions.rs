// SPDX-License-Identifier: GPL-2.0

//! The devices of a group that are open through it, and how each reaches memory.
//!
//! A device may have several files from its group; they share a session, which the group keeps in
//! a table ([`Sessions`]) under its lock. The table says how each device reaches memory, whatever
//! the group is in by now: a group that was put into an iommufd can leave it while its devices are
//! open, and then be put into something else. A further file is refused if the two differ
//! (contract 3.4, R-38).

use kernel::prelude::*;

#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::group::membership::ContainerUse;
use crate::{
    core::{
        provider::{
            Provider,
            Stage, //
        },
        session::{
            Backing,
            Session, //
        }, //
    },
    group::attachment::Attachment,
    views::device::Device, //
};
#[cfg(CONFIG_IOMMUFD)]
use {
    crate::{
        iommufd::IommufdBacking,
        kernel::iommufd::IommufdCtx, //
    },
    kernel::sync::aref::ARef,
};

/// What an open device holds.
pub(super) struct Opened;

impl Stage for Opened {
    #[cfg(CONFIG_VFIO_CONTAINER)]
    type Container = ContainerUse;
    #[cfg(CONFIG_IOMMUFD)]
    type Iommufd = IommufdUse;
}

/// How a device that was opened through its group reaches memory.
pub(super) type GroupBacking = Provider<Opened>;

/// What a device that was opened through its group has of an iommufd.
#[cfg(CONFIG_IOMMUFD)]
pub(super) enum IommufdUse {
    /// The driver bound the device.
    Bound(IommufdBacking),
    /// The device reaches all memory: nothing translates, and iommufd is there for the user's
    /// convenience.
    Untranslated(ARef<IommufdCtx>),
}

#[cfg(CONFIG_IOMMUFD)]
impl IommufdUse {
    fn ctx(&self) -> &IommufdCtx {
        match self {
            Self::Bound(bound) => bound.ctx(),
            Self::Untranslated(ctx) => ctx,
        }
    }
}

impl Backing for GroupBacking {
    fn release(self, device: &Device) {
        match self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Self::Container(container) => container.release(device),
            #[cfg(CONFIG_IOMMUFD)]
            Self::Iommufd(IommufdUse::Bound(bound)) => bound.release(device),
            #[cfg(CONFIG_IOMMUFD)]
            Self::Iommufd(IommufdUse::Untranslated(ctx)) => drop(ctx),
        }
    }
}

impl GroupBacking {
    /// Does what has to be done once the driver has opened the device.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the iommufd no longer has the address space that users of containers mean.
    /// - What the driver's `attach_ioas` returned.
    #[cfg_attr(
        not(CONFIG_IOMMUFD),
        expect(unused_variables, reason = "a container needs nothing more")
    )]
    pub(super) fn finish(&self, device: &Device) -> Result {
        match self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Self::Container(_) => Ok(()),
            #[cfg(CONFIG_IOMMUFD)]
            Self::Iommufd(IommufdUse::Bound(bound)) => {
                let mut id = bound.ctx().compat_ioas()?;
                device.driver_attach(&mut id)
            }
            #[cfg(CONFIG_IOMMUFD)]
            Self::Iommufd(IommufdUse::Untranslated(_)) => Ok(()),
        }
    }

    /// Returns whether a device that is opened now would get the same.
    pub(super) fn is_from(&self, attachment: &Attachment) -> bool {
        match (self, attachment) {
            // The group cannot leave a container while a device is open through it.
            #[cfg(CONFIG_VFIO_CONTAINER)]
            (Self::Container(_), Attachment::Container(_)) => true,
            #[cfg(CONFIG_IOMMUFD)]
            (Self::Iommufd(used), Attachment::Iommufd(ctx)) => *used.ctx() == **ctx,
            #[cfg(all(CONFIG_VFIO_CONTAINER, CONFIG_IOMMUFD))]
            _ => false,
        }
    }
}

/// The devices of a group that are open through it: the address of each, which is only compared,
/// and its session.
pub(super) struct Sessions(pub(super) KVec<(usize, Session<GroupBacking>)>);

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

    pub(super) fn position(&self, device: &Device) -> Option<usize> {
        let address = core::ptr::from_ref(device).addr();
        self.0.iter().position(|(open, _)| *open == address)
    }

    pub(super) fn take(&mut self, device: &Device) -> Option<Session<GroupBacking>> {
        let (_, session) = self.0.remove(self.position(device)?).ok()?;
        Some(session)
    }
}

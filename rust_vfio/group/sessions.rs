// SPDX-License-Identifier: GPL-2.0

//! The devices of a group that are open through it, and what gives each access to memory.
//!
//! A device may have several files from its group; they share a session, which the group stores in
//! a table ([`Sessions`]) under its lock. The session is also under the lock of the device's set.
//!
//! Corresponds to `vfio_device.open_count` and `vfio_device_file.iommufd`; contract 3.4.
//!
//! Deviation: opening a device again fails with `EINVAL` if the group is by now in another
//! container or iommufd than when the session began. A group that was put into an iommufd can leave
//! it while its devices are open, and C adds the new file to the old session.

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
    kernel::{
        returned::Failure,
        short_vec::ShortVec, //
    },
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

/// The stage in which a device that is open through its group holds a provider.
pub(super) struct Opened;

impl Stage for Opened {
    #[cfg(CONFIG_VFIO_CONTAINER)]
    type Container = ContainerUse;
    #[cfg(CONFIG_IOMMUFD)]
    type Iommufd = IommufdUse;
}

/// What gives a device that was opened through its group access to memory.
pub(super) type GroupBacking = Provider<Opened>;

/// What a device that was opened through its group holds of an iommufd.
#[cfg(CONFIG_IOMMUFD)]
pub(super) enum IommufdUse {
    /// The binding that the driver made.
    Bound(IommufdBacking),
    /// Only the context: nothing translates the DMA of the device, so it is not bound.
    Untranslated(ARef<IommufdCtx>),
}

#[cfg(CONFIG_IOMMUFD)]
impl IommufdUse {
    /// Returns the context.
    fn ctx(&self) -> &IommufdCtx {
        match self {
            Self::Bound(bound) => bound.ctx(),
            Self::Untranslated(ctx) => ctx,
        }
    }
}

impl Backing for GroupBacking {
    /// Undoes what `Group::backing` did.
    #[doc(alias = "vfio_device_group_unuse_iommu")]
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
    /// Attaches the device to the iommufd's address space for users of containers, after its driver
    /// has opened it. Does nothing for a container, or if nothing translates. The lock of the
    /// device's set is held. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the iommufd no longer has this address space.
    /// - Any failure of the driver's `attach_ioas`.
    #[doc(alias = "vfio_iommufd_compat_attach_ioas")]
    #[cfg_attr(
        not(CONFIG_IOMMUFD),
        expect(unused_variables, reason = "a container needs nothing more")
    )]
    pub(super) fn finish(&self, device: &Device) -> Result<(), Failure> {
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

    /// Returns whether `attachment`, which the group is in now, is what the device was opened with.
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

/// The sessions of the devices that are open through a group, in no order. Each comes with the
/// address of its device, which is only compared.
pub(super) struct Sessions(ShortVec<(usize, Session<GroupBacking>)>);

impl Sessions {
    /// Creates an empty table.
    pub(super) const fn new() -> Self {
        Self(ShortVec::new())
    }

    /// Returns whether a device is open through a container, which the group cannot leave then.
    pub(super) fn need_container(&self) -> bool {
        self.0
            .iter()
            .any(|(_, session)| session.backing().is_container())
    }

    /// Returns the session of `device`, if it is open through the group.
    pub(super) fn of(&self, device: &Device) -> Option<&Session<GroupBacking>> {
        let address = core::ptr::from_ref(device).addr();
        let mut sessions = self.0.iter();
        sessions.find_map(|(open, session)| (*open == address).then_some(session))
    }

    /// Makes room for one more session. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn reserve_one(&mut self) -> Result {
        self.0.reserve_one(GFP_KERNEL)
    }

    /// Adds the session of `device`.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no room, which [`Sessions::reserve_one`] makes.
    pub(super) fn add(&mut self, device: &Device, session: Session<GroupBacking>) -> Result {
        let address = core::ptr::from_ref(device).addr();
        self.0.push_within_capacity((address, session))
    }

    /// Removes and returns the session of `device`, if it is open through the group.
    pub(super) fn take(&mut self, device: &Device) -> Option<Session<GroupBacking>> {
        let address = core::ptr::from_ref(device).addr();
        let (_, session) = self.0.take(|(open, _)| *open == address)?;
        Some(session)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! What SET_CONTAINER put a group into: a container, or an iommufd that acts as one.
//!
//! With an iommufd the group holds only a reference to its context. The ownership of the DMA is
//! claimed when a device is opened, and open devices do not need the group any more (contract 7.2).
//!
//! Lock: an attachment is part of the group's state, whose lock is held in all functions here.
//!
//! Corresponds to `vfio_group.container` and `vfio_group.iommufd`.

use kernel::{
    fs::File,
    prelude::*, //
};

#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::{
    container::Container,
    group::membership::Membership,
    noiommu, //
};
use crate::{
    core::provider::{
        Provider,
        Stage, //
    },
    kernel::{
        iommu_group::IommuGroup,
        returned::Failure, //
    },
    refusal::Refusal,
    views::group_type::GroupType, //
};
#[cfg(CONFIG_IOMMUFD)]
use {
    crate::kernel::iommufd::IommufdCtx,
    kernel::sync::aref::ARef, //
};

/// The stage in which a group holds a provider.
pub(super) struct Attached;

impl Stage for Attached {
    #[cfg(CONFIG_VFIO_CONTAINER)]
    type Container = Membership;
    #[cfg(CONFIG_IOMMUFD)]
    type Iommufd = ARef<IommufdCtx>;
}

/// The container or iommufd that a group is in.
pub(super) type Attachment = Provider<Attached>;

impl Attachment {
    /// Puts a group into the container or iommufd that `file` stands for. The group's lock is held.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// If the file is a container:
    ///
    /// - `EPERM` if the group is without IOMMU and the calling task lacks `CAP_SYS_RAWIO`.
    /// - Those of [`Membership::join`].
    ///
    /// If it is an iommufd:
    ///
    /// - `EINVAL` if the group is without IOMMU, and the iommufd has an address space for users of
    ///   containers.
    /// - `ENOMEM`.
    /// - `EINVAL` if the group has an IOMMU, real or emulated, and a group without IOMMU was put
    ///   into the iommufd before.
    ///
    /// Otherwise `EBADFD`.
    pub(super) fn new(
        file: &File,
        kind: GroupType,
        identity: &IommuGroup,
    ) -> Result<Self, Failure> {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        if let Some(container) = Container::from_file(file) {
            noiommu::check_rawio(kind)?;
            let membership = Membership::join(container, identity, kind)?;
            return Ok(Self::Container(membership));
        }
        let neither = |error: Error| {
            let group = identity.id();
            Refusal::NoContainer { group }.report(error)
        };
        #[cfg(CONFIG_IOMMUFD)]
        {
            let ctx = IommufdCtx::from_file(file).map_err(neither)?;
            match kind {
                GroupType::NoIommu => ctx.set_no_iommu()?,
                GroupType::Iommu | GroupType::Emulated => ctx.ensure_compat_ioas()?,
            }
            Ok(Self::Iommufd(ctx))
        }
        #[cfg(not(CONFIG_IOMMUFD))]
        Err(neither(EBADFD).into())
    }
}

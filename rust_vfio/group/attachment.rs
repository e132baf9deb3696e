// SPDX-License-Identifier: GPL-2.0

//! What a group was put into by SET_CONTAINER: a container, or an iommufd that acts as one.
//!
//! With an iommufd the group owns nothing but a reference to it. Whether its devices may be used
//! shows when they are opened, and open devices go on without the group (contract 7.2).

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
    kernel::iommu_group::IommuGroup,
    views::group_type::GroupType, //
};
#[cfg(CONFIG_IOMMUFD)]
use {
    crate::kernel::iommufd::IommufdCtx,
    kernel::sync::aref::ARef, //
};

/// What a group holds.
pub(super) struct Attached;

impl Stage for Attached {
    #[cfg(CONFIG_VFIO_CONTAINER)]
    type Container = Membership;
    #[cfg(CONFIG_IOMMUFD)]
    type Iommufd = ARef<IommufdCtx>;
}

/// What a group is in.
pub(super) type Attachment = Provider<Attached>;

impl Attachment {
    /// Puts a group into what `file` is. The group's lock is held.
    ///
    /// # Errors
    ///
    /// - `EPERM` if nothing translates for the group and the caller lacks `CAP_SYS_RAWIO`.
    /// - Those of [`Membership::join`] for a container.
    /// - `EBADFD` if the file is nothing that groups can be put into.
    /// - `EINVAL` if the iommufd has groups with IOMMU and this is one without, or the other way
    ///   round; `ENOMEM`.
    pub(super) fn new(file: &File, kind: GroupType, identity: &IommuGroup) -> Result<Self> {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        if let Some(container) = Container::from_file(file) {
            noiommu::check_rawio(kind)?;
            let membership = Membership::join(container, identity, kind)?;
            return Ok(Self::Container(membership));
        }
        #[cfg(not(CONFIG_VFIO_CONTAINER))]
        let _ = identity;
        #[cfg(CONFIG_IOMMUFD)]
        {
            let ctx = IommufdCtx::from_file(file)?;
            match kind {
                GroupType::NoIommu => ctx.set_no_iommu()?,
                GroupType::Iommu | GroupType::Emulated => ctx.ensure_compat_ioas()?,
            }
            Ok(Self::Iommufd(ctx))
        }
        #[cfg(not(CONFIG_IOMMUFD))]
        Err(EBADFD)
    }
}

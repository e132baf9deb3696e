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
use super::container_use::Membership;
use super::GroupData;
#[cfg(CONFIG_VFIO_CONTAINER)]
use crate::container::Container;
use crate::ffi::iommu_group::IommuGroup;
#[cfg(CONFIG_IOMMUFD)]
use crate::ffi::{
    group_kind::GroupKind,
    iommufd::OwnedContext, //
};

/// What a group is in.
pub(super) enum Attachment {
    /// A container.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    Container(Membership),
    /// An iommufd.
    #[cfg(CONFIG_IOMMUFD)]
    Iommufd(OwnedContext),
}

impl Attachment {
    /// Puts a group into what `file` is. The group's lock is held.
    ///
    /// # Errors
    ///
    /// `EBADFD` if the file is nothing that groups can be put into. Of a container: `EPERM`,
    /// `EBUSY`, `ENOMEM`, what the backend returned. Of an iommufd: `EINVAL` if it has groups with
    /// IOMMU and this is one without, or the other way round; `ENOMEM`.
    pub(super) fn new(file: &File, group: &GroupData, identity: &IommuGroup) -> Result<Self> {
        #[cfg(CONFIG_VFIO_CONTAINER)]
        if let Some(container) = Container::from_file(file) {
            group.check_rawio()?;
            let membership = Membership::join(container, identity, group.kind)?;
            return Ok(Self::Container(membership));
        }
        #[cfg(not(CONFIG_VFIO_CONTAINER))]
        let _ = identity;
        #[cfg(CONFIG_IOMMUFD)]
        {
            let context = OwnedContext::from_file(file)?;
            match group.kind {
                GroupKind::NoIommu => context.get().set_no_iommu()?,
                GroupKind::Iommu | GroupKind::Emulated => context.get().ensure_compat_ioas()?,
            }
            Ok(Self::Iommufd(context))
        }
        #[cfg(not(CONFIG_IOMMUFD))]
        Err(EBADFD)
    }

    /// Whether it is a container, which holds on to the IOMMU group.
    pub(super) fn is_container(&self) -> bool {
        match self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Self::Container(_) => true,
            #[cfg(CONFIG_IOMMUFD)]
            Self::Iommufd(_) => false,
        }
    }
}

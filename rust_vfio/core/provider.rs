// SPDX-License-Identifier: GPL-2.0

//! The two providers of I/O address translation: a container, or an iommufd.
//!
//! A group is put into one of them, an open device uses one of them, and a driver that asks for
//! memory of the user reaches it through one of them. In each of these stages something else is
//! held of the provider; [`Provider`] says which of the two it is. The lock is that of the value
//! in which it is stored.
//!
//! Corresponds to the pairs of pointers `vfio_group.container` and `vfio_group.iommufd`, and
//! `vfio_device.group->container` and `vfio_device.iommufd_access`.

/// A stage in which a provider is held: by a group, by an open device, or for one call of a driver.
pub(crate) trait Stage {
    /// What is held of a container in this stage.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    type Container;
    /// What is held of an iommufd in this stage.
    #[cfg(CONFIG_IOMMUFD)]
    type Iommufd;
}

/// What is held in stage `S` of a container or of an iommufd.
///
/// With neither of them in the kernel's configuration the type has no values.
pub(crate) enum Provider<S: Stage> {
    /// A container, `/dev/vfio/vfio`.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    Container(S::Container),
    /// An iommufd, `/dev/iommu`.
    #[cfg(CONFIG_IOMMUFD)]
    Iommufd(S::Iommufd),
}

impl<S: Stage> Provider<S> {
    /// Returns whether the provider is a container.
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) fn is_container(&self) -> bool {
        match self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            Self::Container(_) => true,
            #[cfg(CONFIG_IOMMUFD)]
            Self::Iommufd(_) => false,
        }
    }
}

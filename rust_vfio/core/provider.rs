// SPDX-License-Identifier: GPL-2.0

//! The two providers of I/O address translation: a container, or an iommufd.
//!
//! A group is put into one of them, an open device uses one of them, and each call of a driver that
//! wants memory goes to one of them. What is held differs; which of the two it is has one type.

/// What is held of a provider: by a group, by an open device, or for one call of a driver.
pub(crate) trait Stage {
    /// What is held of a container.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    type Container;
    /// What is held of an iommufd.
    #[cfg(CONFIG_IOMMUFD)]
    type Iommufd;
}

/// A container or an iommufd, as far as it is held in stage `S`.
///
/// The kernel's configuration has at least one of them.
pub(crate) enum Provider<S: Stage> {
    /// A container, `/dev/vfio/vfio`.
    #[cfg(CONFIG_VFIO_CONTAINER)]
    Container(S::Container),
    /// An iommufd, `/dev/iommu`.
    #[cfg(CONFIG_IOMMUFD)]
    Iommufd(S::Iommufd),
}

impl<S: Stage> Provider<S> {
    /// Returns whether it is a container.
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

// SPDX-License-Identifier: GPL-2.0

//! Groups, `/dev/vfio/<n>`: the devices of one IOMMU group, of which user space gets all or none.
//!
//! A group exists while it has devices. Its device node can be opened by one file at a time, which
//! puts the group into a container or an iommufd and opens its devices. After the last device is
//! gone, a file that is still open is a zombie: the group has no IOMMU group any more, and its
//! ioctls fail with `ENODEV`. The group is freed with the last reference (`registry.rs`).
//!
//! | File | Contents |
//! |---|---|
//! | [`membership`] | The place of a group in a container, and what its open devices use there |
//! | [`attachment`] | What a group is in: a container or an iommufd |
//! | [`sessions`] | The devices that are open through a group |
//! | [`state`] | The group itself, and its locks |
//! | [`open`] | Opening and closing of devices |
//! | [`device_file`] | Files of devices that were opened through their group |
//! | [`file`](mod@file) | The file of a group, and its ioctls |
//! | [`block`](mod@block) | Keeping the file of a group from being opened |
//! | [`show`] | What one can see of groups and containers |
//! | [`registry`] | Finding, creating and removing groups |
//!
//! Corresponds to `drivers/vfio/group.c`; contract 1.6 to 1.8 and 3.2.

mod attachment;
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
mod block;
pub(crate) mod device_file;
mod file;
#[cfg(CONFIG_VFIO_CONTAINER)]
mod membership;
mod open;
mod registry;
mod sessions;
mod show;
mod state;

#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
pub(crate) use block::{
    block,
    Blocked, //
};
pub(crate) use file::{
    from_file,
    has_device, //
};
pub(crate) use registry::{
    join,
    leave,
    link,
    unlink,
    Groups, //
};
#[cfg(all(CONFIG_VFIO_DEBUGFS, CONFIG_VFIO_CONTAINER))]
pub(crate) use show::ContainerList;
#[cfg(CONFIG_VFIO_DEBUGFS)]
pub(crate) use show::GroupList;
#[cfg(CONFIG_VFIO_CONTAINER)]
pub(crate) use state::active_backend;
pub(crate) use state::{
    is_noiommu,
    user_of,
    Group, //
};

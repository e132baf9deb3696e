// SPDX-License-Identifier: GPL-2.0

//! Groups, `/dev/vfio/<n>`: the devices of one IOMMU group, which user space gets all or none of.
//!
//! A group exists while it has devices. Its node can be opened by one file at a time, which puts
//! the group into a container or an iommufd and takes device files out of it. A file that stays
//! open after the last device is gone is a zombie: the group has lost its IOMMU group and answers
//! `ENODEV`.
//!
//! | File | What it has |
//! |---|---|
//! | [`membership`] | A group in a container, and what its open devices use there |
//! | [`attachment`] | What a group is in: a container or an iommufd |
//! | [`sessions`] | The devices that are open through a group |
//! | [`state`] | The group itself |
//! | [`open`] | Devices are opened and closed |
//! | [`device_file`] | Files of devices that were opened through their group |
//! | [`file`] | The file of a group, and its ioctls |
//! | [`block`] | The file of a group is kept from being opened |
//! | [`registry`] | Groups are found, made and forgotten |
//!
//! Corresponds to `drivers/vfio/group.c`; contract sections 1.6 to 1.8, 3.2.

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
pub(crate) use state::{
    is_noiommu,
    Group, //
};
#[cfg(CONFIG_VFIO_CONTAINER)]
pub(crate) use {
    membership::ActiveContainer,
    state::active_container, //
};

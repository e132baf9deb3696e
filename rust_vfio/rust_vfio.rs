// SPDX-License-Identifier: GPL-2.0

//! Crate root of `vfio.ko`: what the module consists of, and the order in which it comes and goes.
//!
//! Layers, lower ones first; a layer uses those below it:
//!
//! * `ffi`: safe wrappers of C objects and functions, the only place with raw bindings but for the
//!   C ABI border; `logic`: pure computation that is tested on the host.
//! * `core`: devices, their sets, sessions and files; `container`: address spaces and what
//!   translates for them.
//! * `iommufd`: what drivers need to bind devices to iommufd.
//! * `group`: what user space opens, puts into containers and takes devices from; `device_cdev`:
//!   devices that it opens directly.
//! * `abi`: the functions that C modules call.
//!
//! Lock order, outer first (contract 2.2):
//!
//! ```text
//! group::registry::REGISTRY
//!   group.state
//!     device set lock        (drivers' open_device and close_device run under it)
//!       group.kvm, group.active, node_file.kvm        (spinlocks)
//!       iommufd's own locks
//!     container.state
//!       container::backend::DRIVERS
//!         the backend's own locks
//!   group.devices            (drivers' match runs under it; KVM's lock may be held outside)
//! node_file.binding          (outside group.state; only BIND waits for it)
//! core::device_set::SETS     (inside everything, holds nothing)
//!
//! lock of an eventfd's wait queue
//!   virqfd::SLOTS            (spinlock, interrupts off)
//!     locks of work queues
//! ```
//!
//! No lock is held while a driver handles read, write, ioctl, mmap or a feature, nor while a
//! backend handles an ioctl.

use kernel::prelude::*;

mod abi;
#[cfg(CONFIG_VFIO_CONTAINER)]
mod container;
// The name hides the library of the same name in this file only.
mod core;
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
mod device_cdev;
#[cfg(CONFIG_VFIO_GROUP)]
mod group;
#[cfg(not(CONFIG_VFIO_GROUP))]
#[path = "no_group.rs"]
mod group;
#[cfg(CONFIG_IOMMUFD)]
mod iommufd;
mod migration;
mod noiommu;
#[cfg_attr(
    not(all(CONFIG_VFIO_GROUP, CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV)),
    allow(dead_code, unused_imports)
)]
mod uapi;
#[cfg(CONFIG_VFIO_VIRQFD)]
mod virqfd;

// A smaller configuration does not need everything. What the full one does not need is dead.
#[cfg_attr(
    not(all(CONFIG_VFIO_GROUP, CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV)),
    allow(dead_code, unused_imports)
)]
mod ffi {
    pub(crate) mod bindings;
    pub(crate) mod chardev;
    #[cfg(CONFIG_VFIO_DEBUGFS)]
    pub(crate) mod debugfs;
    pub(crate) mod device;
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) mod device_node;
    pub(crate) mod device_set;
    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) mod driver_iommufd;
    pub(crate) mod driver_ops;
    #[cfg(CONFIG_VFIO_VIRQFD)]
    pub(crate) mod eventfd;
    pub(crate) mod feature_structs;
    pub(crate) mod file;
    pub(crate) mod fops;
    pub(crate) mod group_kind;
    pub(crate) mod ida;
    pub(crate) mod info_cap;
    pub(crate) mod interval_tree;
    #[cfg(CONFIG_VFIO_CONTAINER)]
    pub(crate) mod iommu_driver;
    #[cfg(CONFIG_VFIO_GROUP)]
    pub(crate) mod iommu_group;
    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) mod iommufd;
    pub(crate) mod iova_bitmap;
    pub(crate) mod kvm;
    pub(crate) mod migration_ops;
    #[cfg(CONFIG_VFIO_CONTAINER)]
    pub(crate) mod misc;
    pub(crate) mod pseudo_fs;
    #[cfg(CONFIG_VFIO_CONTAINER)]
    pub(crate) mod rwsem;
    #[cfg(CONFIG_KVM)]
    pub(crate) mod symbol;
    pub(crate) mod task;
    pub(crate) mod uapi;
    pub(crate) mod uapi_structs;
    pub(crate) mod user_dma;
    #[cfg(CONFIG_VFIO_VIRQFD)]
    pub(crate) mod work;
}

#[expect(
    unreachable_pub,
    reason = "the host tests use the same files as a library"
)]
mod logic {
    pub(crate) mod argsz;
    pub(crate) mod caps;
    pub(crate) mod combine;
    pub(crate) mod features;
    pub(crate) mod fsm;
    pub(crate) mod irqs;
    pub(crate) mod logging;
}

module! {
    type: VfioModule,
    name: "vfio",
    authors: ["The rust_vfio developers"],
    description: "VFIO - User Level meta-driver",
    license: "GPL v2",
}

/// What the module owns while it is loaded. Fields are dropped in this order: first what user
/// space can reach, last what everything else is built on.
struct VfioModule {
    #[cfg(CONFIG_VFIO_CONTAINER)]
    _container_node: Pin<KBox<ffi::misc::MiscDev>>,
    _devices: core::Devices,
    #[cfg(CONFIG_VFIO_VIRQFD)]
    _virqfds: virqfd::Virqfds,
    _groups: group::Groups,
    #[cfg(CONFIG_VFIO_CONTAINER)]
    _backends: container::backend::Registry,
}

impl kernel::Module for VfioModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: This is the module's init function, which runs once, and no other module can
        // call this one before it returns; fields are dropped when no other module uses this one.
        #[cfg(CONFIG_VFIO_CONTAINER)]
        let backends = unsafe { container::backend::Registry::init() };
        // SAFETY: As above.
        let groups = unsafe { group::Groups::init()? };
        // SAFETY: As above.
        #[cfg(CONFIG_VFIO_VIRQFD)]
        let virqfds = unsafe { virqfd::init()? };
        // SAFETY: As above.
        let devices = unsafe { core::Devices::init()? };
        // User space can open the node as soon as it is there, so it comes last.
        #[cfg(CONFIG_VFIO_CONTAINER)]
        let container_node = container::register()?;
        pr_info!("VFIO - User Level meta-driver version: 0.3\n");
        Ok(Self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            _container_node: container_node,
            _devices: devices,
            #[cfg(CONFIG_VFIO_VIRQFD)]
            _virqfds: virqfds,
            _groups: groups,
            #[cfg(CONFIG_VFIO_CONTAINER)]
            _backends: backends,
        })
    }
}

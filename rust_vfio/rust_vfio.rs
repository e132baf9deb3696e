// SPDX-License-Identifier: GPL-2.0

//! Crate root of `vfio.ko`: the parts of the module, and the order in which they are set up and
//! taken down.
//!
//! The layers are in `docs/architecture.md`, section 2, and `make layers` checks them.
//!
//! # Lock order
//!
//! Outer locks first: what is indented is taken while the line above it is held. Locks of others
//! are in parentheses. `make docs` draws this from the tables in `docs/architecture.md`, section 4,
//! which say where, and what the locks protect. (Contract 2.2 has the locks of the C module.)
//!
//! ```text
//! REGISTRY                           mutex
//!   group.devices                    mutex
//!     (locks of drivers)
//!   group.state                      mutex
//!     device_set.lock                mutex
//!       group.kvm                    spinlock
//!       cdev_file.kvm                spinlock
//!       type1.state                  mutex
//!         (mmap_lock)
//!         (locks of the IOMMU core)
//!       listener.registered          mutex
//!         (locks of drivers)
//!         type1.state                as above
//!       SLOTS                        spinlock, interrupts off
//!         (locks of work queues)
//!       (locks of drivers)
//!       (locks of KVM)
//!         group.devices              as above
//!         group.kvm                  spinlock
//!         cdev_file.kvm              spinlock
//!       (locks of iommufd)
//!       (mmap_lock)
//!     container.groups               rwsem
//!       container.backend            spinlock
//!       DRIVERS                      mutex
//!         type1.state                as above
//!       type1.state                  as above
//!       (locks of the IOMMU core)
//!     container.backend              spinlock
//!     (locks of the IOMMU core)
//!     (locks of iommufd)
//! cdev_file.binding                  mutex
//!   group.state                      as above
//!   device_set.lock                  as above
//! SETS                               spinlock
//! (lock of an eventfd's wait queue)
//!   SLOTS                            as above
//! ```
//!
//! A device is freed under the lock of its set and then `SETS`, so the last reference to it must
//! not be dropped while the lock of a set is held.
//!
//! No lock is held while a driver handles read, write, ioctl, mmap or a feature, nor while a
//! backend handles an ioctl, except CHECK_EXTENSION where no backend is chosen (`container.groups`
//! for reading, and `DRIVERS`).

use ::kernel::prelude::*;

mod bindings;
#[cfg(CONFIG_VFIO_CONTAINER)]
mod container;
// The names of this module and of `kernel` hide the crates of the same names in this file only.
mod core;
mod debugfs;
#[cfg(CONFIG_VFIO_DEVICE_CDEV)]
mod device_cdev;
mod device_ioctl;
mod exports;
#[cfg(CONFIG_VFIO_GROUP)]
mod group;
#[cfg(not(CONFIG_VFIO_GROUP))]
#[path = "group/absent.rs"]
mod group;
#[cfg(CONFIG_IOMMUFD)]
mod iommufd;
mod migration;
mod noiommu;
mod refusal;
mod registration;
// A smaller configuration has less to tell.
#[cfg_attr(
    not(all(CONFIG_VFIO_GROUP, CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV)),
    allow(dead_code)
)]
mod trace;
mod user_memory;
#[cfg(CONFIG_VFIO_VIRQFD)]
mod virqfd;

// A smaller configuration does not need everything. What the full one does not need is dead.
#[cfg_attr(
    not(all(CONFIG_VFIO_GROUP, CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV)),
    allow(dead_code, unused_imports)
)]
mod kernel {
    //! Safe wrappers of the kernel's C API that the kernel crate does not have.

    pub(crate) mod chardev;
    #[cfg(CONFIG_VFIO_DEBUGFS)]
    pub(crate) mod debugfs;
    pub(crate) mod device;
    pub(crate) mod file;
    pub(crate) mod fops;
    pub(crate) mod ida;
    pub(crate) mod interval_tree;
    #[cfg(any(CONFIG_VFIO_GROUP, CONFIG_IOMMUFD))]
    pub(crate) mod iommu_group;
    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) mod iommufd;
    pub(crate) mod iova_bitmap;
    pub(crate) mod kvm;
    #[cfg(CONFIG_VFIO_CONTAINER)]
    pub(crate) mod misc;
    pub(crate) mod module;
    pub(crate) mod pm_runtime;
    #[cfg(CONFIG_VFIO_CONTAINER)]
    pub(crate) mod published;
    pub(crate) mod returned;
    #[cfg(CONFIG_VFIO_CONTAINER)]
    pub(crate) mod rwsem;
    #[cfg(CONFIG_VFIO_GROUP)]
    #[allow(dead_code, reason = "`vfio_iommu_type1.ko` needs the rest of it")]
    pub(crate) mod short_vec;
    #[cfg(any(CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV))]
    pub(crate) mod slab;
    #[cfg(any(CONFIG_KVM, CONFIG_VFIO_CONTAINER))]
    pub(crate) mod symbol;
    pub(crate) mod task;
    pub(crate) mod text;
    pub(crate) mod tracepoint;
    pub(crate) mod uaccess;
    pub(crate) mod warn;
    #[cfg(CONFIG_VFIO_VIRQFD)]
    pub(crate) mod work;
}

#[cfg_attr(
    not(all(CONFIG_VFIO_GROUP, CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV)),
    allow(dead_code, unused_imports)
)]
mod uapi {
    //! The user ABI: ioctl numbers and structures.

    pub(crate) mod feature;
    #[allow(dead_code, reason = "`vfio_iommu_type1.ko` needs the rest of it")]
    pub(crate) mod ioctls;
    pub(crate) mod structs;
}

#[expect(
    unreachable_pub,
    reason = "the host tests use the same files as a library"
)]
mod logic {
    //! Rules that need nothing of the kernel, tested on the host.
    //!
    //! The macro for KUnit tests makes unsafe code; the rules themselves are always compiled for
    //! the host as well, where it is forbidden too.
    #![cfg_attr(not(CONFIG_VFIO_RUST_KUNIT_TEST), forbid(unsafe_code))]

    pub(crate) mod argsz;
    pub(crate) mod caps;
    pub(crate) mod combine;
    pub(crate) mod features;
    pub(crate) mod fsm;
    pub(crate) mod irqs;
    pub(crate) mod logging;
}

#[cfg_attr(
    not(all(CONFIG_VFIO_GROUP, CONFIG_VFIO_CONTAINER, CONFIG_VFIO_DEVICE_CDEV)),
    allow(dead_code, unused_imports)
)]
mod views {
    //! Views of the C structures that VFIO shares with C drivers and IOMMU backends.

    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    pub(crate) mod cdev;
    #[cfg(CONFIG_VFIO_DEBUGFS)]
    pub(crate) mod debugfs;
    pub(crate) mod device;
    pub(crate) mod device_set;
    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) mod driver_iommufd;
    pub(crate) mod driver_ops;
    pub(crate) mod file;
    pub(crate) mod group_type;
    pub(crate) mod info_cap;
    pub(crate) mod inode;
    #[cfg(CONFIG_VFIO_CONTAINER)]
    pub(crate) mod iommu_driver;
    #[cfg(CONFIG_IOMMUFD)]
    pub(crate) mod iommufd;
    #[cfg(CONFIG_KVM)]
    pub(crate) mod kvm;
    pub(crate) mod migration_ops;
    pub(crate) mod set_table;
    pub(crate) mod user_dma;
    #[cfg(CONFIG_VFIO_VIRQFD)]
    pub(crate) mod virqfd;
}

module! {
    type: VfioModule,
    name: "vfio",
    authors: ["The rust_vfio developers"],
    description: "VFIO - User Level meta-driver",
    license: "GPL v2",
}

/// What the module owns while it is loaded. Fields are dropped in this order: those that user
/// space can reach first, those that the others use last.
struct VfioModule {
    #[cfg(CONFIG_VFIO_CONTAINER)]
    _container_node: Pin<KBox<kernel::misc::MiscDev>>,
    _debugfs: debugfs::Root,
    #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
    _cdevs: device_cdev::CdevRegion,
    _devices: core::CoreState,
    #[cfg(CONFIG_VFIO_VIRQFD)]
    _virqfds: virqfd::Virqfds,
    _groups: group::Groups,
    #[cfg(CONFIG_VFIO_CONTAINER)]
    _backends: container::backend::BackendRegistry,
}

impl ::kernel::Module for VfioModule {
    /// Sets the module up, in the reverse order of the fields of [`VfioModule`].
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - `EEXIST` if another module has a class of the name `vfio` or `vfio-dev`.
    /// - `EBUSY` if no major number is left, or the minor number of `/dev/vfio/vfio` is in use.
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: This is the module's init function, which runs once. No other module can call
        // this one before it returns. The module loader drops `Self` once no other module uses
        // this one.
        let loading = unsafe { kernel::module::ModuleInit::new() };
        #[cfg(CONFIG_VFIO_CONTAINER)]
        let backends = container::backend::BackendRegistry::init(&loading);
        let groups = group::Groups::init(&loading)?;
        #[cfg(CONFIG_VFIO_VIRQFD)]
        let virqfds = virqfd::init(&loading)?;
        let devices = core::CoreState::init(&loading)?;
        #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
        let cdevs = device_cdev::CdevRegion::init()?;
        let debugfs = debugfs::create_root();
        #[cfg(all(CONFIG_VFIO_DEBUGFS, CONFIG_VFIO_GROUP))]
        debugfs::add_list::<group::GroupList>(c"groups");
        #[cfg(all(CONFIG_VFIO_DEBUGFS, CONFIG_VFIO_CONTAINER))]
        debugfs::add_list::<group::ContainerList>(c"containers");
        // User space can open the device node as soon as it exists, so this is the last step.
        #[cfg(CONFIG_VFIO_CONTAINER)]
        let container_node = container::register()?;
        pr_info!("VFIO - User Level meta-driver version: 0.3\n");
        Ok(Self {
            #[cfg(CONFIG_VFIO_CONTAINER)]
            _container_node: container_node,
            _debugfs: debugfs,
            #[cfg(CONFIG_VFIO_DEVICE_CDEV)]
            _cdevs: cdevs,
            _devices: devices,
            #[cfg(CONFIG_VFIO_VIRQFD)]
            _virqfds: virqfds,
            _groups: groups,
            #[cfg(CONFIG_VFIO_CONTAINER)]
            _backends: backends,
        })
    }
}

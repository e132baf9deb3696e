// SPDX-License-Identifier: GPL-2.0

//! The functions that `vfio.ko` exports to C.
//!
//! Each turns raw pointers into references, calls one method and turns its result into an errno.
//! The export records are in `exports.c`, where the prototypes are the kernel's own; `export!`
//! compares each function here with the binding of that prototype.
//!
//! Contract section 4.

#[macro_use]
mod signature;

mod devices;
mod files;
mod info_caps;
#[cfg(CONFIG_VFIO_CONTAINER)]
mod iommu_drivers;
#[cfg(CONFIG_IOMMUFD)]
mod iommufd;
mod irqs;
mod migration;
mod user_memory;
#[cfg(CONFIG_VFIO_VIRQFD)]
mod virqfd;

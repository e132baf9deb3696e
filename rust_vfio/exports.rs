// SPDX-License-Identifier: GPL-2.0

//! The functions that `vfio.ko` exports to C drivers and KVM.
//!
//! Each turns raw pointers into references, calls one method and turns its result into an errno.
//! Which errnos there are, and which locks are taken, is documented at the method. The names are
//! those of the C functions. The export records are in `exports.c`, which takes the prototypes from
//! the headers of the kernel; `export!` compares each function here with the binding of that
//! prototype.
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

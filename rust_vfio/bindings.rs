// SPDX-License-Identifier: GPL-2.0

//! The raw bindings of the kernel's headers.
//!
//! Out of tree they are the crate `vfio_bindings` of this project. In the kernel tree they are part
//! of the crate `kernel::bindings`. Only the rooms that docs/architecture.md marks with `[raw]` may
//! name this module; `make layers` checks it.

#[cfg(vfio_oot)]
pub(crate) use vfio_bindings::*;

#[cfg(not(vfio_oot))]
pub(crate) use kernel::bindings::*;

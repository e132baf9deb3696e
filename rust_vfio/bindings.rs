// SPDX-License-Identifier: GPL-2.0

//! The raw bindings, from wherever this build has them.
//!
//! Out of tree they are a crate of this project (`vfio_bindings`), in the kernel tree they are
//! part of the kernel's own. Only `ffi/` and the C ABI border may name this module.

#[cfg(vfio_oot)]
pub(crate) use vfio_bindings::*;

#[cfg(not(vfio_oot))]
pub(crate) use kernel::bindings::*;

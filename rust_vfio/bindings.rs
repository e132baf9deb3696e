// SPDX-License-Identifier: GPL-2.0

//! The raw bindings of the kernel's headers.
//!
//! They are the crate `vfio_bindings`, which `objects.mk` makes. Only the rooms that
//! docs/architecture.md marks with `[raw]` may name this module; `make layers` checks it.

pub(crate) use vfio_bindings::*;

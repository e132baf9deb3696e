// SPDX-License-Identifier: GPL-2.0

//! The root of the crate `vfio`, for VFIO drivers in other modules: see [`driver`].
//!
//! Driver modules contain this crate (`driver/driver.mk`). `vfio.ko` does not.

#![crate_name = "vfio"]

mod bindings;

mod driver;
// What vfio.ko uses as well.
#[path = "kernel/rwsem.rs"]
mod rwsem;

pub use driver::*;

// SPDX-License-Identifier: GPL-2.0

//! Raw bindings: all of the crate `kernel::bindings`, and what bindgen makes of the headers of
//! VFIO, iommufd, anonymous inodes and pseudo file systems, and of the C helpers of this project.
//!
//! Only items that are defined in those headers are generated, so a `struct device` here is the
//! `struct device` of the kernel crate. Other code names this crate as `crate::bindings`.

#![no_std]
#![allow(
    clippy::all,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
#![feature(cfi_encoding)]

#[allow(dead_code)]
#[allow(clippy::undocumented_unsafe_blocks)]
#[allow(unknown_lints)]
#[allow(unnecessary_transmutes)]
mod raw {
    use kernel::ffi;
    use pin_init::{
        MaybeZeroable,
        Zeroable, //
    };

    // The types that the kernel's bindgen parameters leave out.
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;

    // SAFETY: `__BindgenBitfieldUnit<Storage>` has one field, of type `Storage`, for which zero is
    // valid.
    unsafe impl<Storage> Zeroable for __BindgenBitfieldUnit<Storage> where Storage: Zeroable {}

    // An item that is generated here takes precedence over the glob import.
    pub use kernel::bindings::*;
    include!(concat!(env!("VFIO_RS_GEN"), "/bindings_generated.rs"));
}

pub use raw::*;

// SPDX-License-Identifier: GPL-2.0

//! Raw bindings: everything of the kernel's own `bindings` crate, and on top of it what bindgen
//! finds in the VFIO, iommufd, anonymous-inode and pseudo-file-system headers and in this
//! project's C helpers.
//!
//! Only items that are defined in those headers are generated, so a `struct device` here is the
//! kernel crate's `struct device`. Nothing above `ffi/` and the C ABI border names this crate.

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

    // The size types that the kernel's bindgen parameters leave out.
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;

    // SAFETY: `__BindgenBitfieldUnit<Storage>` is a newtype around `Storage`.
    unsafe impl<Storage> Zeroable for __BindgenBitfieldUnit<Storage> where Storage: Zeroable {}

    // An item that is generated here takes precedence over the glob import.
    pub use kernel::bindings::*;
    include!(concat!(env!("VFIO_RS_GEN"), "/bindings_generated.rs"));
}

pub use raw::*;

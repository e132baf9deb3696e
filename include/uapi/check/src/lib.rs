// SPDX-License-Identifier: GPL-2.0
//! The kernel's `linux/vfio.h` as bindgen sees it, for the comparison with
//! `vfio-uapi` that is in `tests/`.

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]
pub mod header {
    include!(concat!(env!("OUT_DIR"), "/header.rs"));
}

/// What there is in [`header`], by name.
pub mod inventory {
    use super::header;

    include!(concat!(env!("OUT_DIR"), "/inventory.rs"));
}

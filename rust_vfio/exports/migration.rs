// SPDX-License-Identifier: GPL-2.0

//! Exported functions for drivers of devices that can be migrated or log DMA.
//!
//! The policy is in `migration.rs` and `migration/logging.rs`. Corresponds to
//! `vfio_mig_get_next_state()` and `vfio_combine_iova_ranges()` in `drivers/vfio/vfio_main.c`;
//! contract section 4.4.

use kernel::{
    error::code::EINVAL,
    ffi::c_int, //
};

use crate::{
    bindings::{
        self,
        vfio_device_mig_state as MigState, //
    },
    kernel::interval_tree::IntervalTree,
    logic::fsm::{
        ArcRefusal, //
        MigrationState,
    },
    migration,
    views::device::Device, //
};

/// Sets `next_fsm` to the next state on the path from `cur_fsm` to `new_fsm`. Does not sleep.
///
/// Returns `-EINVAL` if there is no path, in which case `next_fsm` is the error state, or if one of
/// the states is not valid for the device, in which case `next_fsm` is unchanged.
///
/// # Safety
///
/// `device` must be valid, and `next_fsm` valid for writing.
#[no_mangle]
unsafe extern "C" fn vfio_mig_get_next_state(
    device: *mut bindings::vfio_device,
    cur_fsm: MigState,
    new_fsm: MigState,
    next_fsm: *mut MigState,
) -> c_int {
    // SAFETY: By the safety requirements of this function.
    let device = unsafe { Device::from_raw(device) };
    let (next, result) = match migration::next_state(device, cur_fsm.0, new_fsm.0) {
        Ok(next) => (next, 0),
        // A driver that ignores the result sees the error state.
        Err(ArcRefusal::NoPath) => (MigrationState::Error, EINVAL.to_errno()),
        Err(_) => return EINVAL.to_errno(),
    };
    // SAFETY: By the safety requirements of this function.
    unsafe { next_fsm.write(MigState(next as u32)) };
    result
}

/// Merges ranges of the tree, those with the smallest gaps between them first, until `req_nodes` of
/// `cur_nodes` are left. Does not sleep.
///
/// # Safety
///
/// `root` must point to a valid tree of valid nodes, which nobody else uses during the call.
#[no_mangle]
unsafe extern "C" fn vfio_combine_iova_ranges(
    root: *mut bindings::rb_root_cached,
    cur_nodes: u32,
    req_nodes: u32,
) {
    // SAFETY: By the safety requirements of this function.
    let ranges = unsafe { IntervalTree::from_raw(root) };
    migration::logging::combine_ranges(ranges, cur_nodes, req_nodes);
}

export! {
    vfio_mig_get_next_state,
    vfio_combine_iova_ranges,
}

// SPDX-License-Identifier: GPL-2.0

//! Device sets: devices that are opened and closed under one lock, because a reset of one resets
//! them all.
//!
//! The sets are found by an opaque number that drivers choose; a device that its driver puts into
//! no set gets one of its own. This module owns the table of sets, whose lock also protects the
//! number of devices in each. The set's own lock serialises open and close, and drivers take it
//! themselves.
//!
//! Corresponds to the device-set functions of `drivers/vfio/vfio_main.c`; contract section 4.1.

use kernel::prelude::*;

use crate::{
    kernel::module::ModuleInit,
    views::{
        device::{
            Device,
            RawDevice, //
        },
        device_set::DeviceSet, //
    },
};

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Sets::init`, before the first device is allocated.
    unsafe(uninit) static SETS: Mutex<KVec<DeviceSet>> = KVec::new();
}

/// The table of sets, sorted by number; dropping it frees the table.
pub(crate) struct Sets(());

impl Sets {
    /// Makes the table usable. Called once.
    pub(crate) fn init(_: &ModuleInit) -> Self {
        // SAFETY: Nobody else uses the module yet, so there is no device.
        unsafe { SETS.init() };
        Self(())
    }
}

impl Drop for Sets {
    fn drop(&mut self) {
        let sets = core::mem::take(&mut *SETS.lock());
        kernel::warn_on!(!sets.is_empty());
    }
}

/// Puts the device into the set known by `id`, which is made if there is none.
///
/// # Errors
///
/// `EINVAL` (and a warning) if `id` is 0, `ENOMEM`.
pub(crate) fn join(device: &Device, id: usize) -> Result {
    if kernel::warn_on!(id == 0) {
        return Err(EINVAL);
    }
    let set = {
        let mut sets = SETS.lock();
        let set = match sets.binary_search_by_key(&id, DeviceSet::id) {
            Ok(at) => *sets.get(at).ok_or(EINVAL)?,
            Err(at) => {
                sets.reserve(1, GFP_KERNEL)?;
                let set = DeviceSet::new(id)?;
                // There is room, and `at` is not past the end.
                if sets.insert_within_capacity(at, set).is_err() {
                    // SAFETY: Nobody has seen the set.
                    unsafe { set.free() };
                    return Err(ENOMEM);
                }
                set
            }
        };
        // SAFETY: The table is locked. The count keeps the set from here on.
        unsafe { set.get() };
        set
    };
    set.link(device);
    Ok(())
}

/// Puts a device that is in no set into one of its own.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn join_default(device: &Device) -> Result {
    match DeviceSet::of(device) {
        Some(_) => Ok(()),
        None => join(device, device.as_raw().addr()),
    }
}

/// Takes the device out of its set, if it is in one. Called before the device is freed.
pub(crate) fn leave(device: &Device) {
    let Some(set) = DeviceSet::of(device) else {
        return;
    };
    set.unlink(device);
    let mut sets = SETS.lock();
    // SAFETY: The table is locked.
    if unsafe { set.put() } {
        if let Ok(at) = sets.binary_search_by_key(&set.id(), DeviceSet::id) {
            // The index is one that was just found.
            let _ = sets.remove(at);
        }
        // SAFETY: No device is in the set and it is no longer in the table.
        unsafe { set.free() };
    }
}

/// How many files have a device of the set open.
///
/// # Safety
///
/// The set's lock must be held.
pub(crate) unsafe fn open_count(set: DeviceSet) -> u32 {
    let mut total = 0u32;
    let add = |device: &Device| {
        total = total.wrapping_add(device.peek_open_count());
        None::<()>
    };
    // SAFETY: By the contract of this function.
    unsafe { set.find(add) };
    total
}

/// The device of the set for a device of the bus, as C code wants it.
///
/// # Safety
///
/// The set's lock must be held.
pub(crate) unsafe fn find_by_bus_device(set: DeviceSet, bus_device: usize) -> Option<RawDevice> {
    let matching =
        |device: &Device| (device.bus_device_raw().addr() == bus_device).then_some(device.as_raw());
    // SAFETY: By the contract of this function.
    unsafe { set.find(matching) }
}

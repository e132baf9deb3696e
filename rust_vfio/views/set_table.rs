// SPDX-License-Identifier: GPL-2.0

//! Device sets: devices that are opened and closed under one lock, because a reset of one of them
//! resets all.
//!
//! A set is identified by an opaque number that drivers choose. A device that its driver puts into
//! no set gets one of its own. This module owns the table of sets, whose lock also protects the
//! number of devices in each. It is a spinlock, and memory is allocated before it is taken, so that
//! a registration that waits for memory holds nobody up. The lock of a set serialises open and
//! close; drivers take it as well.
//!
//! Corresponds to the device-set functions of `drivers/vfio/vfio_main.c`; contract section 4.1.

use kernel::{
    prelude::*,
    rbtree::{
        Entry,
        RBTree,
        RBTreeNodeReservation, //
    }, //
};

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
    unsafe(uninit) static SETS: SpinLock<Option<RBTree<usize, DeviceSet>>> = None;
}

/// The table of sets, by identifier. Dropping this frees the table.
pub(crate) struct Sets(());

impl Sets {
    /// Initialises the table. Called once.
    pub(crate) fn init(_: &ModuleInit) -> Self {
        // SAFETY: The argument shows that nobody else uses the module yet, and the only caller
        // calls this once.
        unsafe { SETS.init() };
        Self(())
    }
}

impl Drop for Sets {
    fn drop(&mut self) {
        let sets = SETS.lock().take();
        kernel::warn_on!(sets.is_some_and(|sets| !sets.is_empty()));
    }
}

/// Adds the device, which must be in no set, to the set with the identifier `id`. Allocates the set
/// if there is none. Sleeps.
///
/// # Errors
///
/// - `EINVAL` (and a warning) if `id` is 0.
/// - `ENOMEM`.
#[doc(alias = "vfio_assign_device_set")]
pub(crate) fn join(device: &Device, id: usize) -> Result {
    if kernel::warn_on!(id == 0) {
        return Err(EINVAL);
    }
    let set = match find(id) {
        Some(set) => set,
        None => find_or_add(id)?,
    };
    set.link(device);
    Ok(())
}

/// Finds the set with the identifier `id`, and counts a device in it. Takes the table's lock.
fn find(id: usize) -> Option<DeviceSet> {
    let sets = SETS.lock();
    let set = *sets.as_ref()?.get(&id)?;
    // SAFETY: `sets` is the guard of the table. The count keeps the set from here on.
    unsafe { set.get() };
    Some(set)
}

/// Allocates a set with the identifier `id`, and counts a device in it. If another thread has added
/// one by now, that is counted in and returned instead. Takes the table's lock. Sleeps.
///
/// # Errors
///
/// `ENOMEM`.
fn find_or_add(id: usize) -> Result<DeviceSet> {
    let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
    let new = DeviceSet::new(id)?;
    let (set, spare) = {
        let mut sets = SETS.lock();
        let (set, spare) = match sets.get_or_insert_with(RBTree::new).entry(id) {
            Entry::Occupied(entry) => (*entry.get(), Some(node)),
            Entry::Vacant(entry) => (*entry.insert(new, node), None),
        };
        // SAFETY: `sets` is the guard of the table. The count keeps the set from here on.
        unsafe { set.get() };
        (set, spare)
    };
    if spare.is_some() {
        // SAFETY: The set is not in the table: no device is in it, and nobody has another copy.
        unsafe { new.free() };
    }
    Ok(set)
}

/// Adds a device that is in no set to a set of its own. Sleeps.
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

/// Removes the device from its set, if it is in one, and frees the set with its last device. Called
/// before the device is freed. Sleeps.
#[doc(alias = "vfio_release_device_set")]
pub(crate) fn leave(device: &Device) {
    let Some(set) = DeviceSet::of(device) else {
        return;
    };
    set.unlink(device);
    let mut sets = SETS.lock();
    // SAFETY: `sets` is the guard of the table.
    if unsafe { set.put() } {
        let node = sets.as_mut().and_then(|sets| sets.remove_node(&set.id()));
        drop(sets);
        drop(node);
        // SAFETY: No device is in the set, and it was removed from the table, so nobody can find
        // it.
        unsafe { set.free() };
    }
}

/// Returns how many times devices of the set are open, counting each file.
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
    // SAFETY: By the safety requirements of this function.
    unsafe { set.find(add) };
    total
}

/// Returns the VFIO device of the set whose device on the bus is at the address `bus_device`, or
/// none.
///
/// The result has no reference; it is valid as long as the set's lock is held.
///
/// # Safety
///
/// The set's lock must be held.
pub(crate) unsafe fn find_by_bus_device(set: DeviceSet, bus_device: usize) -> Option<RawDevice> {
    let matching =
        |device: &Device| (device.bus_device_raw().addr() == bus_device).then_some(device.as_raw());
    // SAFETY: By the safety requirements of this function.
    unsafe { set.find(matching) }
}

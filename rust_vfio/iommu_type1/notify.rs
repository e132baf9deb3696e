// SPDX-License-Identifier: GPL-2.0

//! Drivers of emulated devices are told which mappings go away.
//!
//! A driver is called without the lock of the container, which it needs for unpinning. What keeps
//! its device is a lock of the registration ([`Listener`](super::listeners::Listener)): the call
//! runs under it, and whoever removes the device takes it too, so removal waits for the call, and
//! for nothing else.
//!
//! Corresponds to `vfio_notify_dma_unmap()` and the two functions that register devices.
//!
//! Deviation: C has one lock for the list of devices, takes it inside the lock of the container and
//! calls drivers under it: two threads can wait for each other there.

use kernel::prelude::*;

use crate::iommu_type1::{
    logic::units::IovaRange,
    state::Type1,
    views::unmap_listener::UnmapListener, //
};

impl Type1 {
    /// From now on the driver of `device` is told which mappings go away.
    ///
    /// The core cannot be told that there is no memory for it. Then no device of the container can
    /// pin pages until this one is closed.
    pub(super) fn register_device(&self, device: UnmapListener) {
        let mut state = self.state.lock();
        if state.listeners.add(device).is_err() {
            state.listeners.missing += 1;
            pr_warn!("no memory to remember a device: its container can pin no pages\n");
        }
    }

    /// The opposite of [`Type1::register_device`]. Waits for a call of the driver that runs.
    pub(super) fn unregister_device(&self, device: UnmapListener) {
        let removed = {
            let mut state = self.state.lock();
            let removed = state.listeners.remove(device);
            if removed.is_none() {
                state.listeners.missing = state.listeners.missing.saturating_sub(1);
            }
            removed
        };
        if let Some(entry) = removed {
            *entry.registered.lock() = false;
        }
    }

    /// Tells all drivers that the mapping with the addresses `range` goes away. No lock is held.
    pub(super) fn notify(&self, range: IovaRange) {
        let mut serial = 0;
        loop {
            let Some(entry) = self.state.lock().listeners.next_from(serial) else {
                return;
            };
            serial = entry.serial + 1;
            let registered = entry.registered.lock();
            if *registered {
                entry.device.dma_unmap(range);
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Notification of drivers of emulated devices before a mapping is removed (contract 6.15).
//!
//! A driver is called without the lock of the container, which it takes to unpin pages. The mutex
//! of its [`Listener`] is held instead. Unregistering the device takes
//! this mutex too, so it waits for a call of the driver that is running, and for nothing else.
//!
//! Corresponds to `vfio_notify_dma_unmap()`, `vfio_iommu_type1_register_device()` and
//! `vfio_iommu_type1_unregister_device()`.
//!
//! Deviation: C has one lock for the list of devices, takes it inside of the lock of the container,
//! and calls drivers under it, which take the lock of the container again. So two threads can wait
//! for each other. We have a lock per device, which is never taken inside of that of the container.
//!
//! Deviation: C passes the address and size of the mapping by reading it for each device, without a
//! lock, when another thread may have freed it. We copy the range before the lock of the container
//! is released.

use kernel::prelude::*;

use crate::iommu_type1::{
    listeners::Listener,
    logic::units::IovaRange,
    state::Type1,
    views::unmap_listener::UnmapListener, //
};

impl Type1 {
    /// Registers `device`, so that its driver is notified before a mapping with pinned pages is
    /// removed. Takes the lock of the container.
    ///
    /// The operation has no result, so a lack of memory cannot be reported. In that case no device
    /// of the container can pin pages until this one is unregistered.
    #[doc(alias = "vfio_iommu_type1_register_device")]
    pub(super) fn register_device(&self, device: UnmapListener) {
        let listener = Listener::new(device);
        let listeners = &mut self.state.lock().listeners;
        if listener.and_then(|new| listeners.add(new)).is_err() {
            listeners.missing += 1;
            pr_warn!("no memory to remember a device: its container can pin no pages\n");
        }
    }

    /// Unregisters `device`; undoes [`Type1::register_device`]. Takes the lock of the container,
    /// and then waits until the driver is no longer being called.
    #[doc(alias = "vfio_iommu_type1_unregister_device")]
    pub(super) fn unregister_device(&self, device: UnmapListener) {
        let removed = {
            let mut state = self.state.lock();
            let removed = state.listeners.remove(device);
            if removed.is_none() {
                state.listeners.missing = state.listeners.missing.saturating_sub(1);
            }
            removed
        };
        if let Some(listener) = removed {
            *listener.registered.lock() = false;
        }
    }

    /// Calls `dma_unmap` of all registered devices for the mapping with the addresses `range`.
    ///
    /// The caller must not hold the lock of the container. Takes it briefly for each device, and
    /// then the mutex of the device's listener, under which the driver is called.
    #[doc(alias = "vfio_notify_dma_unmap")]
    pub(super) fn notify(&self, range: IovaRange) {
        let mut serial = 0;
        loop {
            let Some((at, entry)) = self.state.lock().listeners.next_from(serial) else {
                return;
            };
            serial = at + 1;
            let registered = entry.registered.lock();
            if *registered {
                entry.device.dma_unmap(range);
            }
        }
    }
}

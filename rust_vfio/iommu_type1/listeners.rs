// SPDX-License-Identifier: GPL-2.0

//! Devices whose drivers pin pages: before a mapping goes, they are told to unpin theirs.
//!
//! A driver is called without the lock of the container, which it needs for unpinning. What keeps
//! its device is a lock of the registration: the call runs under it, and whoever removes the
//! device takes it too, so removal waits for the call, and for nothing else.
//!
//! Deviation from C, which has one lock for the list of devices, takes it inside the lock of the
//! container and calls drivers under it: two threads can wait for each other there.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    ffi::unmap_listener::UnmapListener,
    logic::units::IovaRange, //
};

use super::Type1;

/// A device that the core registered.
#[pin_data]
struct Registered {
    /// Counts the registrations of a container.
    serial: u64,
    device: UnmapListener,
    /// Whether the driver may still be called. Held while it is.
    #[pin]
    registered: Mutex<bool>,
}

/// The devices of a container, in the order of their registration.
pub(super) struct Listeners {
    list: KVec<Arc<Registered>>,
    next_serial: u64,
    /// How many devices are missing in the list because there was no memory.
    missing: usize,
}

impl Listeners {
    /// None.
    pub(super) const fn new() -> Self {
        Self {
            list: KVec::new(),
            next_serial: 0,
            missing: 0,
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether every driver that pins pages would be told, and there is one.
    pub(super) fn are_complete(&self) -> bool {
        self.missing == 0 && !self.is_empty()
    }

    /// The first one with a serial number of at least `serial`.
    fn next_from(&self, serial: u64) -> Option<Arc<Registered>> {
        let next = self.list.iter().find(|entry| entry.serial >= serial)?;
        Some(next.clone())
    }

    fn add(&mut self, device: UnmapListener) -> Result {
        let serial = self.next_serial;
        let entry = Arc::pin_init(
            try_pin_init!(Registered {
                serial,
                device,
                registered <- new_mutex!(true, "vfio_type1_listener"),
            }),
            GFP_KERNEL,
        )?;
        self.list.push(entry, GFP_KERNEL)?;
        self.next_serial += 1;
        Ok(())
    }

    fn remove(&mut self, device: UnmapListener) -> Option<Arc<Registered>> {
        let index = self.list.iter().position(|entry| entry.device == device)?;
        self.list.remove(index).ok()
    }
}

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

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

use crate::iommu_type1::views::unmap_listener::UnmapListener;

/// A device that the core registered.
#[pin_data]
pub(super) struct Listener {
    /// Counts the registrations of a container.
    pub(super) serial: u64,
    pub(super) device: UnmapListener,
    /// Whether the driver may still be called. Held while it is.
    #[pin]
    pub(super) registered: Mutex<bool>,
}

/// The devices of a container, in the order of their registration.
pub(super) struct Listeners {
    list: KVec<Arc<Listener>>,
    next_serial: u64,
    /// How many devices are missing in the list because there was no memory.
    pub(super) missing: usize,
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
    pub(super) fn next_from(&self, serial: u64) -> Option<Arc<Listener>> {
        let next = self.list.iter().find(|entry| entry.serial >= serial)?;
        Some(next.clone())
    }

    pub(super) fn add(&mut self, device: UnmapListener) -> Result {
        let serial = self.next_serial;
        let entry = Arc::pin_init(
            try_pin_init!(Listener {
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

    pub(super) fn remove(&mut self, device: UnmapListener) -> Option<Arc<Listener>> {
        let index = self.list.iter().position(|entry| entry.device == device)?;
        self.list.remove(index).ok()
    }
}

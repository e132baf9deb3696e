// SPDX-License-Identifier: GPL-2.0

//! The devices of a container whose drivers are notified before a mapping is removed.
//!
//! The list is part of the state of the container and protected by its lock. Each listener has a
//! mutex of its own, which is held while its driver is called; see
//! [`notify`](crate::iommu_type1::notify).
//!
//! Corresponds to `device_list` and `device_list_lock` of `struct vfio_iommu`.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    iommu_type1::views::unmap_listener::UnmapListener,
    kernel::{
        short_vec::ShortVec,
        slab::{
            Counted,
            Shared, //
        }, //
    }, //
};

/// A device that the core has registered with the container.
#[pin_data]
pub(super) struct Listener {
    pub(super) device: UnmapListener,
    /// Whether the device is still registered. The mutex is held while the driver is called.
    #[pin]
    pub(super) registered: Mutex<bool>,
}

impl Listener {
    /// Allocates a listener for `device`. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(super) fn new(device: UnmapListener) -> Result<Shared<Self>> {
        Counted::new(
            pin_init!(Self {
                device,
                registered <- new_mutex!(true, "vfio_type1_listener"),
            }),
            GFP_KERNEL,
        )
    }
}

/// A listener in the list, and its serial number: how many were registered before.
struct Listed {
    serial: u64,
    listener: Shared<Listener>,
}

/// The devices of a container, in the order of their registration.
pub(super) struct Listeners {
    list: ShortVec<Listed>,
    next_serial: u64,
    /// The number of registered devices that are not in the list because there was no memory.
    pub(super) missing: usize,
}

impl Listeners {
    /// Creates an empty list.
    pub(super) fn new() -> Self {
        Self {
            list: ShortVec::new(),
            next_serial: 0,
            missing: 0,
        }
    }

    /// Returns whether the list is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns whether there is a listener and no registered device is missing in the list.
    pub(super) fn are_complete(&self) -> bool {
        self.missing == 0 && !self.is_empty()
    }

    /// Returns the first listener with a serial number of at least `serial`, and that number.
    pub(super) fn next_from(&self, serial: u64) -> Option<(u64, Shared<Listener>)> {
        let next = self.list.first_after(|entry| entry.serial < serial)?;
        Some((next.serial, next.listener.clone()))
    }

    /// Appends a listener. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(super) fn add(&mut self, listener: Shared<Listener>) -> Result {
        self.list.reserve_one(GFP_KERNEL)?;
        self.list.push_within_capacity(Listed {
            serial: self.next_serial,
            listener,
        })?;
        self.next_serial += 1;
        Ok(())
    }

    /// Removes `device` and returns its listener, or `None` if it is not in the list.
    pub(super) fn remove(&mut self, device: UnmapListener) -> Option<Shared<Listener>> {
        let entry = self.list.take(|entry| entry.listener.device == device)?;
        Some(entry.listener)
    }
}

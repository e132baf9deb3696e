// SPDX-License-Identifier: GPL-2.0

//! The devices of a container whose drivers are notified before a mapping is removed.
//!
//! The list is part of the state of the container and protected by its lock. Each listener has a
//! mutex of its own, which is held while its driver is called; see
//! [`notify`](crate::iommu_type1::notify). Memory for a listener is allocated before the lock of
//! the container is taken: the core registers devices under the lock of their set, where others
//! wait.
//!
//! Corresponds to `device_list` and `device_list_lock` of `struct vfio_iommu`.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::iommu_type1::views::unmap_listener::UnmapListener;

/// A device that the core has registered with the container.
#[pin_data]
pub(super) struct Listener {
    pub(super) device: UnmapListener,
    /// Whether the device is still registered. The mutex is held while the driver is called.
    #[pin]
    pub(super) registered: Mutex<bool>,
}

/// A listener with the memory for its place in the list.
pub(super) struct NewListener {
    entry: Arc<Listener>,
    node: RBTreeNodeReservation<u64, Arc<Listener>>,
}

impl NewListener {
    /// Allocates a listener for `device`. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(super) fn new(device: UnmapListener) -> Result<Self> {
        let entry = Arc::pin_init(
            try_pin_init!(Listener {
                device,
                registered <- new_mutex!(true, "vfio_type1_listener"),
            }),
            GFP_KERNEL,
        )?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        Ok(Self { entry, node })
    }
}

/// A listener that was removed from the list.
pub(super) type OldListener = RBTreeNode<u64, Arc<Listener>>;

/// The devices of a container, in the order of their registration.
pub(super) struct Listeners {
    /// The listeners by their serial numbers: how many were registered before.
    list: RBTree<u64, Arc<Listener>>,
    next_serial: u64,
    /// The number of registered devices that are not in the list because there was no memory.
    pub(super) missing: usize,
}

impl Listeners {
    /// Creates an empty list.
    pub(super) fn new() -> Self {
        Self {
            list: RBTree::new(),
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
    pub(super) fn next_from(&self, serial: u64) -> Option<(u64, Arc<Listener>)> {
        let next = self.list.cursor_lower_bound(&serial)?;
        let (serial, entry) = next.current();
        Some((*serial, entry.clone()))
    }

    /// Appends a listener.
    pub(super) fn add(&mut self, new: NewListener) {
        let node = new.node.into_node(self.next_serial, new.entry);
        // No listener has this number yet, so nothing is replaced.
        self.list.insert(node);
        self.next_serial += 1;
    }

    /// Removes `device` and returns its listener, or `None` if it is not in the list.
    pub(super) fn remove(&mut self, device: UnmapListener) -> Option<OldListener> {
        let (serial, _) = self.list.iter().find(|(_, entry)| entry.device == device)?;
        let serial = *serial;
        self.list.remove_node(&serial)
    }
}

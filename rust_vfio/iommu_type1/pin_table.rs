// SPDX-License-Identifier: GPL-2.0

//! The pages of a mapping that drivers of emulated devices have pinned.
//!
//! The key of a pin is the exact I/O address that the driver passed, which need not be a multiple
//! of the page size. Pinning the same address again increments the number of its users. The table
//! is protected by the lock of the container.
//!
//! Corresponds to `struct vfio_pfn`, to `pfn_list` of `struct vfio_dma`, and to the functions
//! `vfio_iova_get_vfio_pfn()` and `vfio_iova_put_vfio_pfn()`.

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    warn_on, //
};

use crate::{
    iommu_type1::{
        logic::units::{
            Iova,
            PageCount, //
        },
        memory::pin::PinnedRun, //
    },
    kernel::pages::PageRef, //
};

/// The pins of a mapping, sorted by I/O address.
pub(crate) struct Pins(RBTree<Iova, Pin>);

/// A page that drivers have pinned. Corresponds to `struct vfio_pfn`.
pub(crate) struct Pin {
    page: PinnedRun,
    users: u64,
}

/// The memory for a pin in a table.
pub(super) struct PinSlot(RBTreeNodeReservation<Iova, Pin>);

impl PinSlot {
    /// Allocates it.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(super) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?))
    }
}

impl Pins {
    /// Creates an empty table.
    pub(super) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Returns whether there is no pin.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the I/O addresses of the pins, in ascending order.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Iova> + '_ {
        self.0.keys().copied()
    }

    /// Returns the number of pages that have to be accounted while the container has no domain.
    pub(super) fn accounted(&self) -> PageCount {
        let runs = self.0.values().filter_map(|pin| pin.page.run());
        runs.fold(PageCount::ZERO, |sum, run| sum.plus(run.accounted()))
    }

    /// Adds a user to the pin at `iova` and returns its page, or `None` if there is no such pin.
    #[doc(alias = "vfio_iova_get_vfio_pfn")]
    pub(super) fn share(&mut self, iova: Iova) -> Option<PageRef> {
        let pin = self.0.get_mut(&iova)?;
        pin.users = pin.users.saturating_add(1);
        pin.page.first_page()
    }

    /// Adds a pin at `iova`, where there must be none.
    pub(super) fn insert(&mut self, slot: PinSlot, iova: Iova, page: PinnedRun) {
        let pin = Pin { page, users: 1 };
        self.0.insert(slot.0.into_node(iova, pin));
    }

    /// Removes a user from the pin at `iova`. With the last one removes the pin and returns its
    /// page and its memory.
    #[doc(alias = "vfio_iova_put_vfio_pfn")]
    pub(super) fn release(&mut self, iova: Iova) -> Option<(PinnedRun, PinSlot)> {
        let mut place = self.0.find_mut(&iova)?;
        let pin = place.get_mut();
        pin.users = pin.users.saturating_sub(1);
        if pin.users > 0 {
            return None;
        }
        let page = pin.page.take();
        Some((page, PinSlot(place.remove_node().into_reservation())))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // A driver has not unpinned these pages, so its device may still use them. They stay pinned
        // for ever.
        while let Some(cursor) = self.0.cursor_front_mut() {
            warn_on!(true);
            let (_, node) = cursor.remove_current();
            core::mem::forget(node.to_key_value());
        }
    }
}

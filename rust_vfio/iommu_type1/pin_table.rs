// SPDX-License-Identifier: GPL-2.0

//! The pages of a mapping that drivers of emulated devices have pinned.
//!
//! A pin is known by the exact address that the driver named, which need not be that of a page:
//! some drivers pin what an address of theirs is in. Pinning an address again counts.
//!
//! Corresponds to `struct vfio_pfn` and `vfio_dma.pfn_list`.

use kernel::{
    rbtree::RBTree,
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

/// The pins of a mapping, by address.
pub(crate) struct Pins(pub(super) RBTree<Iova, Pin>);

/// A page that drivers use.
pub(crate) struct Pin {
    pub(super) page: PinnedRun,
    pub(super) users: u64,
}

impl Pins {
    /// None.
    pub(super) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Iova> + '_ {
        self.0.keys().copied()
    }

    /// How many pages have to be paid for if nothing else pays for them.
    pub(super) fn price(&self) -> PageCount {
        let prices = self.0.values().filter_map(|pin| pin.page.run());
        prices.fold(PageCount::ZERO, |sum, run| sum.plus(run.accounted()))
    }

    /// One more user of what is pinned at `iova`, if anything is.
    pub(super) fn share(&mut self, iova: Iova) -> Option<PageRef> {
        let pin = self.0.get_mut(&iova)?;
        pin.users = pin.users.saturating_add(1);
        pin.page.first_page()
    }

    /// One user less of what is pinned at `iova`. Returns it if that was the last one.
    pub(super) fn release(&mut self, iova: Iova) -> Option<PinnedRun> {
        let mut place = self.0.find_mut(&iova)?;
        let pin = place.get_mut();
        pin.users = pin.users.saturating_sub(1);
        if pin.users > 0 {
            return None;
        }
        Some(place.remove().page)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // A driver that is gone without unpinning may have left an address with its device:
        // keeping the pages is the safe mistake.
        while let Some(cursor) = self.0.cursor_front_mut() {
            warn_on!(true);
            let (_, node) = cursor.remove_current();
            core::mem::forget(node.to_key_value());
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! What is remembered of each mapping, and how one is found.
//!
//! The mappings of a container do not overlap. They are in a tree, sorted by their *last*
//! address: then the first one at or behind an address is the one that has it, if any has, and
//! one search answers both "what is there" and "what comes next". The search takes time
//! proportional to the logarithm of their number.

use kernel::{
    prelude::*,
    rbtree::{
        CursorMut,
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::Arc, //
};

use crate::{
    ffi::{
        iommu::Access,
        mm::Owner,
        pin::PinnedRuns, //
    },
    logic::{
        account::Charged,
        units::{
            Iova,
            IovaRange, //
        }, //
    }, //
};

/// Memory of the user that devices can use. Its last address is its key in [`Mappings`].
///
/// Kept small: with its place in the tree it is not larger than what C allocates.
pub(crate) struct Mapping {
    /// The lowest I/O address.
    first: Iova,
    /// The user address that is mapped there.
    vaddr: usize,
    /// Whose memory it is, and who pays for it.
    owner: Arc<Owner>,
    /// What the owner has paid.
    pub(crate) charged: Charged,
    /// The physical memory, if the container has a domain; otherwise nothing is pinned.
    pub(crate) memory: PinnedRuns,
    /// What devices may do.
    access: Access,
}

const _: () = {
    // The tree adds three pointers and the key, to less than the 96 bytes of a slab.
    assert!(core::mem::size_of::<Mapping>() <= 56 || !cfg!(CONFIG_64BIT));
};

impl Mapping {
    /// A mapping that has no memory yet.
    pub(crate) fn new(first: Iova, vaddr: usize, access: Access, owner: Arc<Owner>) -> Self {
        Self {
            first,
            vaddr,
            owner,
            charged: Charged::NOTHING,
            memory: PinnedRuns::NOTHING,
            access,
        }
    }

    /// The lowest I/O address.
    pub(crate) fn first(&self) -> Iova {
        self.first
    }

    /// The user address of the memory.
    pub(crate) fn vaddr(&self) -> usize {
        self.vaddr
    }

    /// What devices may do.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Whose memory it is.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// All addresses, for a mapping with key `last`.
    fn range(&self, last: Iova) -> Option<IovaRange> {
        IovaRange::new(self.first, last)
    }
}

/// All mappings of a container.
///
/// # Invariants
///
/// Each mapping is at its last address. They do not overlap.
pub(crate) struct Mappings(RBTree<Iova, Mapping>);

/// Room for one more mapping.
pub(crate) struct Slot(RBTreeNodeReservation<Iova, Mapping>);

impl Slot {
    /// Makes room.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL)?))
    }
}

impl Mappings {
    /// No mapping.
    pub(crate) fn new() -> Self {
        Self(RBTree::new())
    }

    /// The addresses of the first mapping that has `from` or lies behind it.
    pub(crate) fn next_from(&self, from: Iova) -> Option<IovaRange> {
        let cursor = self.0.cursor_lower_bound(&from)?;
        let (last, mapping) = cursor.current();
        mapping.range(*last)
    }

    /// Whether anything is mapped in `range`.
    pub(crate) fn any_in(&self, range: IovaRange) -> bool {
        self.next_from(range.first())
            .is_some_and(|mapping| mapping.overlaps(range))
    }

    /// Adds a mapping that ends at `last`. The caller has checked that nothing is mapped there.
    pub(crate) fn insert(&mut self, slot: Slot, last: Iova, mapping: Mapping) {
        // INVARIANT: By the contract of this function.
        self.0.insert(slot.0.into_node(last, mapping));
    }

    /// Calls `f` with each mapping and its addresses, in order.
    ///
    /// # Errors
    ///
    /// Those of `f`, which end the walk.
    pub(crate) fn try_for_each(
        &mut self,
        mut f: impl FnMut(IovaRange, &mut Mapping) -> Result,
    ) -> Result {
        for (last, mapping) in self.0.iter_mut() {
            if let Some(range) = mapping.range(*last) {
                f(range, mapping)?;
            }
        }
        Ok(())
    }

    /// The first mapping that has `from` or lies behind it, as a place to work at.
    pub(crate) fn place_from(&mut self, from: Iova) -> Option<Place<'_>> {
        self.0.cursor_lower_bound_mut(&from).map(Place)
    }
}

/// A mapping in its place among the others.
pub(crate) struct Place<'a>(CursorMut<'a, Iova, Mapping>);

impl Place<'_> {
    /// The addresses of the mapping.
    pub(crate) fn range(&self) -> Option<IovaRange> {
        let (last, mapping) = self.0.current();
        mapping.range(*last)
    }

    /// The mapping.
    pub(crate) fn mapping(&mut self) -> &mut Mapping {
        self.0.current_mut().1
    }

    /// Removes the mapping, whose memory must have been released, and goes to the next one.
    pub(crate) fn remove(self) -> Option<Self> {
        let last = *self.0.current().0;
        let (neighbour, _removed) = self.0.remove_current();
        // Without a mapping behind the removed one, the tree hands out the one before.
        neighbour
            .filter(|neighbour| *neighbour.current().0 > last)
            .map(Self)
    }
}

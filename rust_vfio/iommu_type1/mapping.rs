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
    iommu_type1::{
        logic::{
            account::Accounted,
            units::{
                Iova,
                IovaRange, //
            }, //
        },
        memory::{
            account::Owner,
            pin::PinnedRuns, //
        },
        pin_table::Pins, //
    },
    kernel::iommu::IommuProt, //
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
    pub(crate) accounted: Accounted,
    /// The physical memory, if the container has a domain; otherwise the mapping has none.
    pub(crate) memory: PinnedRuns,
    /// What only few mappings have.
    extras: Option<KBox<Extras>>,
    /// What devices may do.
    access: IommuProt,
    /// Whether the memory is still at the user address.
    pub(crate) vaddr_valid: bool,
    /// Whether all pages are dirty. Only used while dirty pages are tracked.
    pub(crate) all_dirty: bool,
}

const _: () = {
    // The tree adds three pointers and the key, which fills the 96 bytes of a slab.
    assert!(core::mem::size_of::<Mapping>() <= 64 || !cfg!(CONFIG_64BIT));
};

/// What only few mappings have.
pub(crate) struct Extras {
    /// Pages that drivers of emulated devices use.
    pub(crate) pins: Pins,
    /// The dirty pages, a bit each, or nothing as long as none is.
    pub(crate) dirty: KVVec<u64>,
}

impl Mapping {
    /// A mapping that has no memory yet.
    pub(crate) fn new(first: Iova, vaddr: usize, access: IommuProt, owner: Arc<Owner>) -> Self {
        Self {
            first,
            vaddr,
            owner,
            accounted: Accounted::NOTHING,
            memory: PinnedRuns::NOTHING,
            extras: None,
            access,
            vaddr_valid: true,
            all_dirty: false,
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
    pub(crate) fn access(&self) -> IommuProt {
        self.access
    }

    /// Says that the memory is now at `vaddr`.
    pub(crate) fn set_vaddr(&mut self, vaddr: usize) {
        self.vaddr = vaddr;
        self.vaddr_valid = true;
    }

    /// Whose memory it is.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Gives the memory to `owner`. Returns the one before.
    pub(crate) fn replace_owner(&mut self, owner: Arc<Owner>) -> Arc<Owner> {
        core::mem::replace(&mut self.owner, owner)
    }

    /// What only few mappings have, if this one does.
    pub(crate) fn extras(&self) -> Option<&Extras> {
        self.extras.as_deref()
    }

    /// See [`Mapping::extras`].
    pub(crate) fn extras_mut(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    /// What only few mappings have, made if this one does not yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn need_extras(&mut self) -> Result<&mut Extras> {
        if self.extras.is_none() {
            let extras = Extras {
                pins: Pins::new(),
                dirty: KVVec::new(),
            };
            self.extras = Some(KBox::new(extras, GFP_KERNEL_ACCOUNT)?);
        }
        self.extras_mut().ok_or(ENOMEM)
    }

    /// Whether a driver uses a page of it.
    pub(crate) fn has_pins(&self) -> bool {
        self.extras().is_some_and(|extras| !extras.pins.is_empty())
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
pub(crate) struct MappingReservation(RBTreeNodeReservation<Iova, Mapping>);

impl MappingReservation {
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
    pub(crate) fn insert(&mut self, slot: MappingReservation, last: Iova, mapping: Mapping) {
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
    pub(crate) fn place_from(&mut self, from: Iova) -> Option<MappingCursor<'_>> {
        self.0.cursor_lower_bound_mut(&from).map(MappingCursor)
    }

    /// The place of the mapping that has `iova`, and its addresses.
    pub(crate) fn at(&mut self, iova: Iova) -> Option<(IovaRange, MappingCursor<'_>)> {
        let place = self.place_from(iova)?;
        let range = place.range()?;
        (range.first() <= iova).then_some((range, place))
    }
}

/// A mapping in its place among the others.
pub(crate) struct MappingCursor<'a>(CursorMut<'a, Iova, Mapping>);

impl MappingCursor<'_> {
    /// The addresses of the mapping.
    pub(crate) fn range(&self) -> Option<IovaRange> {
        let (last, mapping) = self.0.current();
        mapping.range(*last)
    }

    /// The mapping.
    pub(crate) fn mapping(&mut self) -> &mut Mapping {
        self.0.current_mut().1
    }

    /// The place of the next mapping.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.move_next().map(Self)
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

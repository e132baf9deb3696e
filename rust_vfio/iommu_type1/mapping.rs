// SPDX-License-Identifier: GPL-2.0

//! Mappings, and the tree that contains all mappings of a container.
//!
//! The mappings of a container do not overlap. They are in a red-black tree, sorted by their *last*
//! I/O address. So the first entry whose key is at or above an address is the mapping that contains
//! the address, or else the next mapping above it: one search finds both. All of this is protected
//! by the lock of the container.
//!
//! Corresponds to `struct vfio_dma`, `dma_list` of `struct vfio_iommu`, and the functions
//! `vfio_find_dma()`, `vfio_find_dma_first_node()`, `vfio_link_dma()` and `vfio_unlink_dma()`.

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
            pinned_memory::PinnedMemory, //
        },
        pin_table::Pins, //
    },
    kernel::iommu::IommuProt, //
};

/// A range of user memory that is mapped for devices. Corresponds to `struct vfio_dma`.
///
/// The last I/O address is not stored here: it is the key in [`Mappings`]. With its node in the
/// tree a mapping is not larger than in C.
pub(crate) struct Mapping {
    /// The lowest I/O address.
    first: Iova,
    /// The user address that is mapped there.
    vaddr: usize,
    /// The process whose memory it is, and to which locked pages are accounted.
    owner: Arc<Owner>,
    /// The number of pages that are accounted to the owner.
    pub(crate) accounted: Accounted,
    /// The physical memory. Empty as long as the container has no domain.
    pub(crate) memory: PinnedMemory,
    /// Data that only few mappings need.
    extras: Option<KBox<Extras>>,
    /// The accesses that devices are allowed.
    access: IommuProt,
    /// Whether the user address is valid. It is not after UNMAP_DMA with
    /// `VFIO_DMA_UNMAP_FLAG_VADDR`.
    pub(crate) vaddr_valid: bool,
    /// Whether all pages are dirty. Only used while dirty pages are tracked.
    pub(crate) all_dirty: bool,
}

const _: () = {
    // With three pointers and the key of the tree this is 96 bytes, the size of a slab object.
    assert!(core::mem::size_of::<Mapping>() <= 64 || !cfg!(CONFIG_64BIT));
};

/// Data that only few mappings need.
pub(crate) struct Extras {
    /// Pages that drivers of emulated devices have pinned.
    pub(crate) pins: Pins,
    /// The bitmap of dirty pages, whose bit 0 stands for the first page. Empty until a page is
    /// dirty.
    pub(crate) dirty: KVVec<u64>,
}

impl Mapping {
    /// Creates a mapping without physical memory.
    pub(crate) fn new(first: Iova, vaddr: usize, access: IommuProt, owner: Arc<Owner>) -> Self {
        Self {
            first,
            vaddr,
            owner,
            accounted: Accounted::NOTHING,
            memory: PinnedMemory::NOTHING,
            extras: None,
            access,
            vaddr_valid: true,
            all_dirty: false,
        }
    }

    /// Returns the lowest I/O address.
    pub(crate) fn first(&self) -> Iova {
        self.first
    }

    /// Returns the user address of the first byte.
    pub(crate) fn vaddr(&self) -> usize {
        self.vaddr
    }

    /// Returns the accesses that devices are allowed.
    pub(crate) fn access(&self) -> IommuProt {
        self.access
    }

    /// Sets the user address to `vaddr` and makes it valid.
    pub(crate) fn set_vaddr(&mut self, vaddr: usize) {
        self.vaddr = vaddr;
        self.vaddr_valid = true;
    }

    /// Returns the process whose memory is mapped.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Sets the owner to `owner`. Returns the previous one.
    pub(crate) fn replace_owner(&mut self, owner: Arc<Owner>) -> Arc<Owner> {
        core::mem::replace(&mut self.owner, owner)
    }

    /// Returns the data that only few mappings need, if this one has it.
    pub(crate) fn extras(&self) -> Option<&Extras> {
        self.extras.as_deref()
    }

    /// Returns what [`Mapping::extras`] returns, for changing it.
    pub(crate) fn extras_mut(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    /// Returns the data that only few mappings need. Allocates it if this one has none yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
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

    /// Returns whether drivers have pinned pages of the mapping.
    pub(crate) fn has_pins(&self) -> bool {
        self.extras().is_some_and(|extras| !extras.pins.is_empty())
    }

    /// Returns the I/O addresses of the mapping, whose key is `last`.
    fn range(&self, last: Iova) -> Option<IovaRange> {
        IovaRange::new(self.first, last)
    }
}

/// All mappings of a container.
///
/// # Invariants
///
/// The key of each mapping is its last I/O address. The mappings do not overlap.
pub(crate) struct Mappings {
    tree: RBTree<Iova, Mapping>,
    totals: Totals,
}

/// How many mappings there are, and how many bytes they have together.
#[derive(Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) mappings: u64,
    /// Wraps if there are 2^64.
    pub(crate) bytes: u64,
}

/// The memory for one more mapping in the tree.
pub(crate) struct MappingReservation(RBTreeNodeReservation<Iova, Mapping>);

impl MappingReservation {
    /// Allocates the memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no memory.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL)?))
    }
}

impl Mappings {
    /// Creates an empty tree.
    pub(crate) fn new() -> Self {
        Self {
            tree: RBTree::new(),
            totals: Totals {
                mappings: 0,
                bytes: 0,
            },
        }
    }

    /// Returns how many mappings there are, and how many bytes they have together.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns the addresses of the mapping that contains `from`, or else of the next mapping
    /// above.
    pub(crate) fn next_from(&self, from: Iova) -> Option<IovaRange> {
        let cursor = self.tree.cursor_lower_bound(&from)?;
        let (last, mapping) = cursor.current();
        mapping.range(*last)
    }

    /// Returns the addresses of the first mapping that overlaps `range`.
    #[doc(alias = "vfio_find_dma")]
    pub(crate) fn overlapping(&self, range: IovaRange) -> Option<IovaRange> {
        self.next_from(range.first())
            .filter(|mapping| mapping.overlaps(range))
    }

    /// Returns whether a mapping overlaps `range`.
    pub(crate) fn any_in(&self, range: IovaRange) -> bool {
        self.overlapping(range).is_some()
    }

    /// Inserts `mapping`, which ends at `last` (inclusive). No other mapping may overlap it.
    #[doc(alias = "vfio_link_dma")]
    pub(crate) fn insert(&mut self, slot: MappingReservation, last: Iova, mapping: Mapping) {
        // INVARIANT: The key is the last address. The caller has checked that no mapping overlaps.
        self.totals.mappings = self.totals.mappings.saturating_add(1);
        self.totals.bytes = self.totals.bytes.wrapping_add(bytes(mapping.first, last));
        self.tree.insert(slot.0.into_node(last, mapping));
    }

    /// Calls `f` with each mapping and its addresses, in the order of addresses.
    ///
    /// # Errors
    ///
    /// Any errno of `f`, which ends the iteration.
    pub(crate) fn try_for_each(
        &mut self,
        mut f: impl FnMut(IovaRange, &mut Mapping) -> Result,
    ) -> Result {
        for (last, mapping) in self.tree.iter_mut() {
            if let Some(range) = mapping.range(*last) {
                f(range, mapping)?;
            }
        }
        Ok(())
    }

    /// Returns a cursor at the mapping that contains `from`, or else at the next mapping above.
    #[doc(alias = "vfio_find_dma_first_node")]
    pub(crate) fn place_from(&mut self, from: Iova) -> Option<MappingCursor<'_>> {
        let place = self.tree.cursor_lower_bound_mut(&from)?;
        Some(MappingCursor {
            place,
            totals: &mut self.totals,
        })
    }

    /// Returns a cursor at the mapping that contains `iova`, and the addresses of this mapping.
    #[doc(alias = "vfio_find_dma")]
    pub(crate) fn at(&mut self, iova: Iova) -> Option<(IovaRange, MappingCursor<'_>)> {
        let place = self.place_from(iova)?;
        let range = place.range()?;
        if range.first() > iova {
            return None;
        }
        Some((range, place))
    }
}

/// A cursor at a mapping in the tree.
pub(crate) struct MappingCursor<'a> {
    place: CursorMut<'a, Iova, Mapping>,
    totals: &'a mut Totals,
}

/// Returns the number of bytes from `first` to `last` (inclusive), 0 if it is 2^64.
fn bytes(first: Iova, last: Iova) -> u64 {
    last.get().wrapping_sub(first.get()).wrapping_add(1)
}

impl MappingCursor<'_> {
    /// Returns the addresses of the mapping.
    pub(crate) fn range(&self) -> Option<IovaRange> {
        let (last, mapping) = self.place.current();
        mapping.range(*last)
    }

    /// Returns the mapping.
    pub(crate) fn mapping(&mut self) -> &mut Mapping {
        self.place.current_mut().1
    }

    /// Moves to the next mapping, or returns `None` after the last one.
    pub(crate) fn next(self) -> Option<Self> {
        Some(Self {
            place: self.place.move_next()?,
            totals: self.totals,
        })
    }

    /// Removes the mapping, whose memory must have been released, and moves to the next one, or
    /// returns `None` after the last one.
    #[doc(alias = "vfio_unlink_dma")]
    pub(crate) fn remove(self) -> Option<Self> {
        let (last, mapping) = self.place.current();
        let last = *last;
        self.totals.mappings = self.totals.mappings.saturating_sub(1);
        let size = bytes(mapping.first, last);
        self.totals.bytes = self.totals.bytes.wrapping_sub(size);
        let (neighbour, _removed) = self.place.remove_current();
        // If there is no next mapping, the tree returns a cursor at the previous one.
        let place = neighbour.filter(|neighbour| *neighbour.current().0 > last)?;
        Some(Self {
            place,
            totals: self.totals,
        })
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Trees of address ranges (`struct rb_root_cached` of `struct interval_tree_node`).
//!
//! Drivers in C get such a tree when they are to log DMA, and may reshape it. A range is named by
//! its first address and looked up when it is used, so a name that has become stale does no harm.
//!
//! C header: `include/linux/interval_tree.h`.

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    types::Opaque, //
};

use crate::bindings;

/// A tree of disjoint ranges. Its nodes belong to somebody else.
///
/// # Invariants
///
/// Every node is valid and nobody else's during a borrow of the tree.
#[repr(transparent)]
pub(crate) struct IntervalTree(bindings::rb_root_cached);

impl IntervalTree {
    /// A view of a tree that C code owns.
    ///
    /// # Safety
    ///
    /// `root` must point to a valid tree that nobody else uses during `'a`.
    pub(crate) unsafe fn from_raw<'a>(root: *mut bindings::rb_root_cached) -> &'a mut Self {
        // CAST: The type is transparent.
        // SAFETY: By the contract of this function.
        unsafe { &mut *root.cast() }
    }

    /// The leftmost node that has an address of `first..=last`.
    fn find(&self, first: usize, last: usize) -> Option<NonNull<bindings::interval_tree_node>> {
        let root = (&raw const self.0).cast_mut();
        // SAFETY: The tree is valid by the invariants, and the function only reads it.
        NonNull::new(unsafe { bindings::interval_tree_iter_first(root, first, last) })
    }

    /// The first address of the lowest range.
    pub(crate) fn first(&self) -> Option<usize> {
        let node = self.find(0, usize::MAX)?;
        // SAFETY: The node is valid by the invariants.
        Some(unsafe { node.as_ref() }.start)
    }

    /// The first address of the range after the one that has `address`.
    pub(crate) fn next(&self, address: usize) -> Option<usize> {
        let node = self.find(address, address)?;
        // SAFETY: The node is valid and in the tree.
        let next = unsafe { bindings::interval_tree_iter_next(node.as_ptr(), 0, usize::MAX) };
        // SAFETY: The node is null or valid by the invariants.
        unsafe { next.as_ref() }.map(|next| next.start)
    }

    /// The last address of the range that has `address`.
    pub(crate) fn last_of(&self, address: usize) -> Option<usize> {
        let node = self.find(address, address)?;
        // SAFETY: The node is valid by the invariants.
        Some(unsafe { node.as_ref() }.last)
    }

    /// Makes the range that has `left` reach to the end of the one that has `right`, which is the
    /// range after it and is removed. Its node is not freed.
    pub(crate) fn merge(&mut self, left: usize, right: usize) {
        let (Some(left), Some(right)) = (self.find(left, left), self.find(right, right)) else {
            return;
        };
        let (left, right) = (left.as_ptr(), right.as_ptr());
        // SAFETY: Both nodes are valid and in the tree. A range must be out of it while it
        // changes, since the nodes above know where it ends.
        unsafe {
            bindings::interval_tree_remove(right, &raw mut self.0);
            bindings::interval_tree_remove(left, &raw mut self.0);
            (*left).last = (*right).last;
            bindings::interval_tree_insert(left, &raw mut self.0);
        }
    }
}

/// A tree with its nodes.
pub(crate) struct OwnedTree {
    tree: IntervalTree,
    // The vector never grows, so that nodes stay where the tree knows them.
    nodes: KVec<Opaque<bindings::interval_tree_node>>,
}

impl OwnedTree {
    /// An empty tree with memory for `capacity` ranges.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn with_capacity(capacity: usize) -> Result<Self> {
        Ok(Self {
            tree: IntervalTree(bindings::rb_root_cached::default()),
            nodes: KVec::with_capacity(capacity, GFP_KERNEL)?,
        })
    }

    /// Adds the range `first..=last`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it overlaps another one, `ENOMEM` if there is no memory set aside for it.
    pub(crate) fn insert(&mut self, first: usize, last: usize) -> Result {
        if self.tree.find(first, last).is_some() {
            return Err(EINVAL);
        }
        let node = bindings::interval_tree_node {
            start: first,
            last,
            ..Default::default()
        };
        self.nodes
            .push_within_capacity(Opaque::new(node))
            .map_err(|_| ENOMEM)?;
        let node = self.nodes.last().ok_or(ENOMEM)?.get();
        // SAFETY: The node is new and stays where it is, and the tree is valid.
        unsafe { bindings::interval_tree_insert(node, &raw mut self.tree.0) };
        Ok(())
    }

    /// The tree, for C code that may reshape it but not keep it.
    pub(crate) fn as_raw(&mut self) -> *mut bindings::rb_root_cached {
        &raw mut self.tree.0
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Trees of address ranges (`struct rb_root_cached` of `struct interval_tree_node`).
//!
//! A tree can be passed to C code, which may change it. Ranges are inclusive, `first..=last`. A
//! range is identified by an address in it and is looked up each time it is used, so that an
//! identifier that has become stale does no harm. There is no lock: a tree is borrowed.
//!
//! In the kernel crate: a module `kernel::interval_tree` with these types. `kernel::rbtree` cannot
//! be handed to C code that changes it.
//!
//! C header: `include/linux/interval_tree.h`.

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    types::Opaque, //
};

use crate::bindings;

/// A tree of disjoint ranges, whose nodes are allocated elsewhere.
///
/// # Invariants
///
/// While the tree is borrowed, every node in it is valid and nobody else uses it.
#[repr(transparent)]
pub(crate) struct IntervalTree(bindings::rb_root_cached);

impl IntervalTree {
    /// Borrows a tree that C code owns.
    ///
    /// # Safety
    ///
    /// `root` must point to a valid tree with valid nodes, which nobody else uses during `'a`.
    pub(crate) unsafe fn from_raw<'a>(root: *mut bindings::rb_root_cached) -> &'a mut Self {
        // CAST: The type is transparent.
        // SAFETY: By the safety requirements of this function.
        // INVARIANT: By the same.
        unsafe { &mut *root.cast() }
    }

    /// Returns the lowest node that has an address of `first..=last`.
    fn find(&self, first: usize, last: usize) -> Option<NonNull<bindings::interval_tree_node>> {
        let root = (&raw const self.0).cast_mut();
        // SAFETY: The nodes are valid by the type invariants, and the function only reads the tree.
        NonNull::new(unsafe { bindings::interval_tree_iter_first(root, first, last) })
    }

    /// Returns the first address of the lowest range, or none if the tree is empty.
    pub(crate) fn first(&self) -> Option<usize> {
        let node = self.find(0, usize::MAX)?;
        // SAFETY: The node is valid by the type invariants.
        Some(unsafe { node.as_ref() }.start)
    }

    /// Returns the first address of the range after the one that contains `address`. Returns none
    /// if no range contains it or it is the last range.
    pub(crate) fn next(&self, address: usize) -> Option<usize> {
        let node = self.find(address, address)?;
        // SAFETY: `find` returned the node, so it is in the tree, and valid by the type invariants.
        let next = unsafe { bindings::interval_tree_iter_next(node.as_ptr(), 0, usize::MAX) };
        // SAFETY: The pointer is null or a node of the tree, which is valid by the type invariants.
        unsafe { next.as_ref() }.map(|next| next.start)
    }

    /// Returns the last address of the range that contains `address`, or none if no range does.
    pub(crate) fn last_of(&self, address: usize) -> Option<usize> {
        let node = self.find(address, address)?;
        // SAFETY: The node is valid by the type invariants.
        Some(unsafe { node.as_ref() }.last)
    }

    /// Extends the range that contains `left` to the end of the range that contains `right`, which
    /// must be the next one, and removes the latter. Its node is not freed. Does nothing if no
    /// range contains one of the addresses.
    pub(crate) fn merge(&mut self, left: usize, right: usize) {
        let (Some(left), Some(right)) = (self.find(left, left), self.find(right, right)) else {
            return;
        };
        let (left, right) = (left.as_ptr(), right.as_ptr());
        // SAFETY: `find` returned both nodes, so they are in the tree, and valid by the type
        // invariants. A node must be out of the tree while it changes, since the nodes above it
        // store the last address below them.
        unsafe {
            bindings::interval_tree_remove(right, &raw mut self.0);
            bindings::interval_tree_remove(left, &raw mut self.0);
            (*left).last = (*right).last;
            bindings::interval_tree_insert(left, &raw mut self.0);
        }
    }
}

/// A tree together with the memory of its nodes.
pub(crate) struct OwnedTree {
    tree: IntervalTree,
    // The vector never grows beyond its capacity, so that the nodes in the tree do not move.
    nodes: KVec<Opaque<bindings::interval_tree_node>>,
}

impl OwnedTree {
    /// Creates an empty tree with memory for `capacity` ranges.
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

    /// Inserts the range `first..=last`.
    ///
    /// If `first` is more than `last`, the range is empty. It then overlaps those that begin at
    /// `last` or before and end at `first` or behind.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the range overlaps another one.
    /// - `ENOMEM` if the tree has as many ranges as its capacity.
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
        // SAFETY: The node is new and does not move until it is freed with the tree, since the
        // vector does not grow.
        unsafe { bindings::interval_tree_insert(node, &raw mut self.tree.0) };
        Ok(())
    }

    /// Returns the C object, for a call that may change the tree but not keep a pointer to it.
    pub(crate) fn as_raw(&mut self) -> *mut bindings::rb_root_cached {
        &raw mut self.tree.0
    }
}

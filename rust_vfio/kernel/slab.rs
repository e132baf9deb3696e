// SPDX-License-Identifier: GPL-2.0

//! Memory for what is made with each open file: taken from `kmalloc()` and given back by `kfree()`.
//!
//! The kernel crate's `KBox` and `Arc` do the same by `krealloc()`, which takes some 75
//! instructions more for each object. Opening an emulated device makes four, and would cost more
//! than in C (`docs/performance.md`). [`Slab`] is an allocator for the kernel crate's `Box`;
//! [`Counted`] is what `Arc` is, with such memory.
//!
//! In the kernel crate: `kernel::alloc::allocator::Kmalloc` would do this in its `alloc()` and
//! `free()`, and this file would go.
//!
//! C header: `include/linux/slab.h`.

use core::{
    alloc::Layout,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    alloc::{
        allocator::Kmalloc,
        AllocError,
        Allocator,
        Flags,
        NumaNode, //
    },
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        Refcount, //
    }, //
};

use crate::bindings;

/// The allocator: [`Kmalloc`] without the detour.
pub(crate) struct Slab;

/// A box whose memory [`Slab`] has allocated.
pub(crate) type SlabBox<T> = Box<T, Slab>;

impl Slab {
    /// Returns the number of `flags`. The kernel crate keeps those of most flags to itself.
    #[inline(always)]
    fn number(flags: Flags) -> Option<bindings::gfp_t> {
        if flags == GFP_KERNEL {
            Some(bindings::GFP_KERNEL)
        } else if flags == GFP_KERNEL_ACCOUNT {
            Some(bindings::GFP_KERNEL_ACCOUNT)
        } else {
            None
        }
    }
}

// SAFETY: Memory that `alloc` or `realloc` returns comes from `kmalloc()` or from `Kmalloc`, which
// takes it from there as well. So `free` and `Kmalloc::realloc` take either, and the guarantees of
// `Kmalloc` hold for both: the size of what is asked for is padded to its alignment, as there.
unsafe impl Allocator for Slab {
    const MIN_ALIGN: usize = Kmalloc::MIN_ALIGN;

    #[inline(always)]
    fn alloc(layout: Layout, flags: Flags, nid: NumaNode) -> Result<NonNull<[u8]>, AllocError> {
        match Self::number(flags) {
            Some(flags) if nid == NumaNode::NO_NODE && layout.size() != 0 => {
                let size = Kmalloc::aligned_layout(layout).size();
                // SAFETY: The size is not 0; there are no other requirements.
                let memory = unsafe { bindings::vfio_rs_kmalloc(size, flags) };
                let memory = NonNull::new(memory.cast()).ok_or(AllocError)?;
                Ok(NonNull::slice_from_raw_parts(memory, size))
            }
            _ => Kmalloc::alloc(layout, flags, nid),
        }
    }

    #[inline]
    unsafe fn realloc(
        ptr: Option<NonNull<u8>>,
        layout: Layout,
        old_layout: Layout,
        flags: Flags,
        nid: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: The requirements are the same, and `Kmalloc` takes memory of this allocator.
        unsafe { Kmalloc::realloc(ptr, layout, old_layout, flags, nid) }
    }

    #[inline(always)]
    unsafe fn free(ptr: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: The caller says that the memory came from this allocator and is not used
            // any more; it is not that of an object without a size, for which there is none.
            unsafe { bindings::kfree(ptr.as_ptr().cast()) };
        }
    }
}

/// A reference to an object of which there are several.
pub(crate) type Shared<T> = ARef<Counted<T>>;

/// An object with a count of the references to it.
///
/// # Invariants
///
/// It is pinned in a [`SlabBox`], which the references own together: `refs` is their number.
#[pin_data]
pub(crate) struct Counted<T> {
    refs: Refcount,
    #[pin]
    object: T,
}

impl<T> Counted<T> {
    /// Allocates memory, makes an object there and returns the first reference to it. Sleeps if
    /// `flags` allow that.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`.
    /// - Those of `init`.
    #[inline]
    pub(crate) fn new<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Shared<T>>
    where
        Error: From<E>,
    {
        let memory = SlabBox::<Self>::try_pin_init(
            // INVARIANT: There is one reference, the one that is returned below.
            try_pin_init!(Self {
                refs: Refcount::new(1),
                object <- init,
            }? Error),
            flags,
        )?;
        // SAFETY: Nothing moves the object: there are only shared references to it from here on,
        // until `dec_ref` drops it where it is.
        let memory = Box::into_raw(unsafe { Pin::into_inner_unchecked(memory) });
        // SAFETY: A box is not null. The count contains this reference.
        Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(memory)) })
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.object
    }
}

// SAFETY: By the type invariants the object lives as long as the count is not 0.
unsafe impl<T> AlwaysRefCounted for Counted<T> {
    #[inline]
    fn inc_ref(&self) {
        self.refs.inc();
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller owns a reference, so the object is valid.
        if unsafe { obj.as_ref() }.refs.dec_and_test() {
            // SAFETY: That was the last reference, and by the type invariants the object is in a
            // box, where it has been pinned; so it is dropped in place.
            drop(unsafe { Pin::new_unchecked(SlabBox::from_raw(obj.as_ptr())) });
        }
    }
}

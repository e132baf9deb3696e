// SPDX-License-Identifier: GPL-2.0

//! An object that its owner shows to others for a time, who use it without a lock and without
//! counting.
//!
//! This is for callers that are known to be gone before the object is taken back, so that a lock
//! or a reference for each call would only cost time.
//!
//! In the kernel crate: `kernel::sync::SetOnce` never takes back what was set, and
//! `kernel::revocable` waits for all callers in a grace period of RCU, during which they must not
//! sleep. Neither would replace this type.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::sync::{
    aref::{
        ARef,
        AlwaysRefCounted, //
    },
    atomic::{
        Acquire,
        Atomic,
        Full, //
    }, //
};

/// The place of an object that is shown or is not.
///
/// # Invariants
///
/// `object` is null, or came from [`ARef::into_raw`] and owns that reference.
pub(crate) struct Published<T: AlwaysRefCounted> {
    object: Atomic<*mut T>,
    _owns: PhantomData<ARef<T>>,
}

impl<T: AlwaysRefCounted> Published<T> {
    /// Creates a place where nothing is shown.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            object: Atomic::new(core::ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    /// Shows `object`, unless one is shown already; then `object` is dropped. Does not sleep,
    /// except for what dropping may do.
    pub(crate) fn publish(&self, object: ARef<T>) {
        let raw = ARef::into_raw(object);
        // INVARIANT: If the exchange succeeds, the place owns the reference of `object`.
        if self
            .object
            .cmpxchg(core::ptr::null_mut(), raw.as_ptr(), Full)
            .is_err()
        {
            // SAFETY: The pointer came from `into_raw` above, and was not stored.
            drop(unsafe { ARef::from_raw(raw) });
        }
    }

    /// Returns the object that is shown, if there is one. Takes no lock; does not sleep.
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: By the type invariants the pointer is null or valid. By the safety requirements
        // of `withdraw` an object is not taken back while the result is used.
        unsafe { self.object.load(Acquire).as_ref() }
    }

    /// Takes the object back, so that none is shown, and returns it. Does not sleep.
    ///
    /// # Safety
    ///
    /// No result of [`Published::get`] may be used any more.
    pub(crate) unsafe fn withdraw(&self) -> Option<ARef<T>> {
        // INVARIANT: The pointer becomes null.
        let raw = NonNull::new(self.object.xchg(core::ptr::null_mut(), Full))?;
        // SAFETY: By the type invariants the pointer came from `into_raw` and the place owned the
        // reference, which it has no more.
        Some(unsafe { ARef::from_raw(raw) })
    }
}

impl<T: AlwaysRefCounted> Drop for Published<T> {
    fn drop(&mut self) {
        // SAFETY: Nobody else has a reference to `self`, so no result of `get` is left.
        drop(unsafe { self.withdraw() });
    }
}

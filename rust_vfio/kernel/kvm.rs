// SPDX-License-Identifier: GPL-2.0

//! References to virtual machines of KVM, which need not be loaded.
//!
//! KVM tells VFIO by a plain pointer which virtual machine a group or a device belongs to, and
//! takes the pointer back before the machine goes ([`KvmPtr`], under a spinlock). While a device is
//! open it holds a counted reference ([`KvmRef`]). The functions that count are found by name, and
//! the one that drops the reference stays pinned as long as the reference is held.
//!
//! In the kernel crate: a module `kernel::kvm` that exports these types.

use core::ptr::NonNull;

use crate::bindings;

/// What KVM said: a virtual machine that is not counted, or none.
///
/// # Invariants
///
/// The pointer is valid while this value is stored, which the lock around it makes sure of: KVM
/// replaces the value before the machine goes.
#[cfg_attr(not(CONFIG_KVM), expect(dead_code, reason = "nobody can be named"))]
pub(crate) struct KvmPtr(Option<NonNull<bindings::kvm>>);

// SAFETY: The C object may be used from any thread.
unsafe impl Send for KvmPtr {}

impl KvmPtr {
    /// No virtual machine.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// The virtual machine at `kvm`, or none if it is null.
    ///
    /// # Safety
    ///
    /// `kvm` must be valid, if only with a count that has dropped to 0, until this value is
    /// dropped.
    pub(crate) unsafe fn new(kvm: *mut bindings::kvm) -> Self {
        // INVARIANT: By the contract of this function.
        Self(NonNull::new(kvm))
    }
}

#[cfg(CONFIG_KVM)]
mod counted {
    use core::{
        mem::transmute,
        ptr::NonNull, //
    };

    use kernel::{
        prelude::*,
        str::CStr, //
    };

    use super::KvmPtr;
    use crate::{
        bindings,
        kernel::symbol::Symbol, //
    };

    /// `kvm_put_kvm()`.
    pub(crate) type PutKvm = unsafe extern "C" fn(*mut bindings::kvm);
    /// `kvm_get_kvm_safe()`.
    type TryGet = unsafe extern "C" fn(*mut bindings::kvm) -> bool;

    const PUT: &CStr = c"kvm_put_kvm";
    const TRY_GET: &CStr = c"kvm_get_kvm_safe";

    /// A counted reference to a virtual machine. Dropping it may destroy the machine, which calls
    /// back into VFIO, so it must be dropped where sleeping is allowed.
    ///
    /// # Invariants
    ///
    /// `put` is the function [`PUT`], of which this value holds one use as a symbol.
    pub(crate) struct KvmRef {
        kvm: NonNull<bindings::kvm>,
        put: PutKvm,
    }

    impl KvmRef {
        /// Counts a reference, unless the machine is on its way out. Does not sleep.
        ///
        /// `None` and a warning if KVM gave a pointer but lacks the functions.
        pub(crate) fn get(ptr: &KvmPtr) -> Option<Self> {
            let kvm = ptr.0?;
            let (Some(put), Some(try_get)) = (Symbol::get(PUT), Symbol::get(TRY_GET)) else {
                kernel::warn_on!(true);
                return None;
            };
            // SAFETY: KVM's function of this name has this type, and stays while `try_get` does.
            let function = unsafe { transmute::<*mut c_void, TryGet>(try_get.address().as_ptr()) };
            // SAFETY: The pointer is valid by the invariant of `KvmPtr`.
            if !unsafe { function(kvm.as_ptr()) } {
                return None;
            }
            // SAFETY: KVM's function of this name has this type.
            let function = unsafe { transmute::<*mut c_void, PutKvm>(put.address().as_ptr()) };
            put.keep();
            // INVARIANT: The use of the symbol was kept.
            Some(Self { kvm, put: function })
        }
    }

    impl Drop for KvmRef {
        fn drop(&mut self) {
            // SAFETY: This value owns one reference.
            unsafe { (self.put)(self.kvm.as_ptr()) };
            // SAFETY: By the invariant; `self` goes.
            unsafe { Symbol::put_kept(PUT) };
        }
    }

    impl KvmRef {
        /// Gives the reference to C: the machine, and the function that drops the reference.
        pub(crate) fn into_raw(self) -> (*mut bindings::kvm, PutKvm) {
            let raw = (self.kvm.as_ptr(), self.put);
            core::mem::forget(self);
            raw
        }

        /// Takes a reference back.
        ///
        /// # Safety
        ///
        /// Both must come from one call of [`KvmRef::into_raw`], and be used once.
        pub(crate) unsafe fn from_raw(kvm: NonNull<bindings::kvm>, put: PutKvm) -> Self {
            // INVARIANT: By the safety requirements.
            Self { kvm, put }
        }
    }
}

#[cfg(CONFIG_KVM)]
pub(crate) use counted::KvmRef;

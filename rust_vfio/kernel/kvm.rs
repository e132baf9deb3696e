// SPDX-License-Identifier: GPL-2.0

//! References to virtual machines of KVM, in a module that works without KVM as well.
//!
//! KVM hands out a plain pointer to a virtual machine and takes it back before the machine is freed
//! ([`KvmPtr`]). From such a pointer a counted reference can be obtained ([`KvmRef`]). The
//! functions of KVM that count are looked up by name, since KVM need not be loaded; the symbol of
//! the one that drops the reference stays referenced as long as the reference is held, so that KVM
//! is not unloaded before. A [`KvmPtr`] is protected by the spinlock of its owner.
//!
//! In the kernel crate: a module `kernel::kvm` with these types, for which KVM would have to be
//! built in or depended on, or to export its functions through a table.
//!
//! C header: `include/linux/kvm_host.h`.

use core::ptr::NonNull;

use crate::bindings;

/// A pointer to a virtual machine without a reference, or none.
///
/// # Invariants
///
/// A virtual machine at the pointer is not freed before this value is dropped, though its count may
/// have dropped to 0.
#[cfg_attr(not(CONFIG_KVM), expect(dead_code, reason = "nobody can be named"))]
pub(crate) struct KvmPtr(Option<NonNull<bindings::kvm>>);

// SAFETY: Any thread may use the C object.
unsafe impl Send for KvmPtr {}

impl KvmPtr {
    /// Returns the value that stands for no virtual machine.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Wraps a pointer to a virtual machine; null stands for none.
    ///
    /// # Safety
    ///
    /// `kvm` must be null or point to a virtual machine that is not freed before the result is
    /// dropped. Its count may have dropped to 0.
    pub(crate) unsafe fn new(kvm: *mut bindings::kvm) -> Self {
        // INVARIANT: By the safety requirements of this function.
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

    /// The type of `kvm_put_kvm()`.
    pub(crate) type PutKvm = unsafe extern "C" fn(*mut bindings::kvm);
    /// The type of `kvm_get_kvm_safe()`.
    type TryGet = unsafe extern "C" fn(*mut bindings::kvm) -> bool;

    const PUT: &CStr = c"kvm_put_kvm";
    const TRY_GET: &CStr = c"kvm_get_kvm_safe";

    /// A counted reference to a virtual machine.
    ///
    /// Dropping it may destroy the machine, which calls back into this module. So it must be
    /// dropped where sleeping is allowed, and with no lock held that such a call takes.
    ///
    /// # Invariants
    ///
    /// This value owns a reference to the machine `kvm`. `put` is the function [`PUT`], and this
    /// value owns one reference to its symbol.
    pub(crate) struct KvmRef {
        kvm: NonNull<bindings::kvm>,
        put: PutKvm,
    }

    impl KvmRef {
        /// Takes a reference to the machine at `ptr`. Returns none if there is none, if its count
        /// has dropped to 0, or (with a warning) if KVM lacks a function for it. Does not sleep.
        #[doc(alias = "kvm_get_kvm_safe")]
        pub(crate) fn get(ptr: &KvmPtr) -> Option<Self> {
            let kvm = ptr.0?;
            let (Some(put), Some(try_get)) = (Symbol::get(PUT), Symbol::get(TRY_GET)) else {
                kernel::warn_on!(true);
                return None;
            };
            // SAFETY: KVM declares its function of this name with this type.
            let function = unsafe { transmute::<*mut c_void, TryGet>(try_get.address().as_ptr()) };
            // SAFETY: `try_get` keeps the function. The machine is not freed, by the type
            // invariants of `KvmPtr`.
            if !unsafe { function(kvm.as_ptr()) } {
                return None;
            }
            // SAFETY: KVM declares its function of this name with this type.
            let function = unsafe { transmute::<*mut c_void, PutKvm>(put.address().as_ptr()) };
            put.keep();
            // INVARIANT: `try_get` took a reference to the machine, and the one to the symbol was
            // kept.
            Some(Self { kvm, put: function })
        }
    }

    impl Drop for KvmRef {
        fn drop(&mut self) {
            // SAFETY: By the type invariants this value owns a reference to the machine, and keeps
            // the function.
            unsafe { (self.put)(self.kvm.as_ptr()) };
            // SAFETY: By the type invariants this value owns a reference to the symbol, which goes
            // here.
            unsafe { Symbol::put_kept(PUT) };
        }
    }

    impl KvmRef {
        /// Returns the machine and the function that drops the reference, for a C structure. The
        /// caller now owns the references to both.
        pub(crate) fn into_raw(self) -> (*mut bindings::kvm, PutKvm) {
            let raw = (self.kvm.as_ptr(), self.put);
            core::mem::forget(self);
            raw
        }

        /// Takes back what [`KvmRef::into_raw`] returned.
        ///
        /// # Safety
        ///
        /// Both arguments must come from one call of [`KvmRef::into_raw`], and they must be taken
        /// back only once.
        pub(crate) unsafe fn from_raw(kvm: NonNull<bindings::kvm>, put: PutKvm) -> Self {
            // INVARIANT: By the safety requirements of this function.
            Self { kvm, put }
        }
    }
}

#[cfg(CONFIG_KVM)]
pub(crate) use counted::KvmRef;

// SPDX-License-Identifier: GPL-2.0

//! References to other modules, and the proof that the init function of this module is running.
//!
//! In the kernel crate: `kernel::ThisModule` stands for the module that is compiled. A counted
//! reference to another module would be added, and a token like [`ModuleInit`] that
//! `kernel::Module::init()` gets as an argument.
//!
//! C header: `include/linux/module.h`.

use crate::bindings;

/// A reference to a module, which cannot be unloaded until this is dropped.
///
/// # Invariants
///
/// The pointer is null, which stands for the kernel itself, or this value owns a reference to the
/// module at it.
pub(crate) struct ModuleRef(*mut bindings::module);

// SAFETY: The reference count of a module is atomic, and any thread may change it.
unsafe impl Send for ModuleRef {}
// SAFETY: As above.
unsafe impl Sync for ModuleRef {}

impl ModuleRef {
    /// Takes a reference, or returns none if the module is being unloaded. Null stands for the
    /// kernel itself, which is never unloaded. Does not sleep.
    ///
    /// # Safety
    ///
    /// `module` must be valid or null.
    #[doc(alias = "try_module_get")]
    pub(crate) unsafe fn get(module: *mut bindings::module) -> Option<Self> {
        // SAFETY: By the safety requirements of this function.
        // INVARIANT: The function took a reference if it returned true.
        unsafe { bindings::try_module_get(module) }.then(|| Self(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a reference, or the pointer is null, which
        // the function accepts.
        unsafe { bindings::module_put(self.0) };
    }
}

/// Proof that the init function of this module is running: nobody else uses the module yet, and
/// what is set up now outlives every use.
pub(crate) struct ModuleInit(());

impl ModuleInit {
    /// Creates the proof.
    ///
    /// # Safety
    ///
    /// Must be called once, by the init function of the module. All that is set up with the result
    /// must stay until nobody uses the module any more.
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

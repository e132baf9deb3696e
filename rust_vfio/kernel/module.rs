// SPDX-License-Identifier: GPL-2.0

//! References to modules.
//!
//! In the kernel crate: `kernel::module` would get a counted reference to a module of another owner.
//!
//! C header: `include/linux/module.h`.

use crate::bindings;

/// A module that cannot go; dropping this lets it.
pub(crate) struct ModuleRef(*mut bindings::module);

// SAFETY: Module reference counts are atomic.
unsafe impl Send for ModuleRef {}
// SAFETY: As above.
unsafe impl Sync for ModuleRef {}

impl ModuleRef {
    /// Takes a reference unless the module is on its way out. Null is the kernel itself.
    ///
    /// # Safety
    ///
    /// `module` must be valid or null.
    pub(crate) unsafe fn get(module: *mut bindings::module) -> Option<Self> {
        // SAFETY: By the contract of this function.
        unsafe { bindings::try_module_get(module) }.then(|| Self(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: This value owns a reference.
        unsafe { bindings::module_put(self.0) };
    }
}

/// Shows that the init function of this module runs: nothing of the module is used yet by anybody
/// else, and what is set up now outlives every use.
pub(crate) struct ModuleInit(());

impl ModuleInit {
    /// Shows it.
    ///
    /// # Safety
    ///
    /// Called once, by the init function of the module, which lets all that is set up go only when
    /// nobody uses the module any more.
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

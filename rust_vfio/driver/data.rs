// SPDX-License-Identifier: GPL-2.0

//! The types that a driver's devices are made of.

/// What must be known of a driver to store its devices. Each
/// [`Driver`](crate::Driver) has this by itself.
pub trait Data: Sized + Send + Sync + 'static {
    /// What exists while a device is open.
    type Session: Send + Sync + 'static;
    /// What the driver notes with pages that it pins.
    type Pin: Send + 'static;
    /// The module of the driver.
    type Owner: kernel::ModuleMetadata;
    /// The state machine of migration.
    type Machine: Default + Send + Unpin + 'static;
}

/// Keeps traits for those types that implement them here.
pub(crate) mod sealed {
    pub trait Sealed {}
}

// SPDX-License-Identifier: GPL-2.0

//! The tracepoints of `vfio.ko`, as functions: who opens, binds and attaches what, what drivers of
//! emulated devices pin, and what is refused. `docs/observability.md` explains each.
//!
//! Nothing is computed unless somebody looks at the tracepoint. No function here sleeps or takes a
//! lock.
//!
//! The C side is `trace/events.h`.
//!
//! Deviation: C has no tracepoints.

use kernel::{
    device::Device,
    prelude::*,
    str::CStr, //
};

use crate::{
    bindings,
    kernel::{
        device::as_raw,
        returned::Failure,
        tracepoint::tracepoints, //
    }, //
};

tracepoints! {
    fn vfio_group_open(group: i32, error: i32);
    fn vfio_group_close(group: i32, error: i32);
    fn vfio_group_attach(group: i32, error: i32);
    fn vfio_group_detach(group: i32, error: i32);
    fn vfio_device_open(dev: *mut bindings::device, error: i32);
    fn vfio_device_close(dev: *mut bindings::device, error: i32);
    fn vfio_cdev_open(dev: *mut bindings::device, error: i32);
    fn vfio_cdev_close(dev: *mut bindings::device, error: i32);
    fn vfio_bind(dev: *mut bindings::device, iommufd: i32, error: i32);
    fn vfio_device_attach(dev: *mut bindings::device, pasid: i64, pt: u32, error: i32);
    fn vfio_device_detach(dev: *mut bindings::device, pasid: i64, pt: u32, error: i32);
    fn vfio_pin(dev: *mut bindings::device, iova: u64, count: i32, ret: isize);
    fn vfio_unpin(dev: *mut bindings::device, iova: u64, count: i32, ret: isize);
    fn vfio_migration_state(dev: *mut bindings::device, state: u32, error: i32);
    fn vfio_feature(dev: *mut bindings::device, flags: u32, ret: isize);
    fn vfio_refused(
        reason: *const kernel::ffi::c_char,
        error: i32,
        text: *const kernel::ffi::c_char,
    );
}

/// The result of what is traced.
pub(crate) trait Outcome {
    /// Returns 0, or the number of the failure.
    fn error(&self) -> i32;
}

impl<T> Outcome for Result<T> {
    fn error(&self) -> i32 {
        self.as_ref().err().map_or(0, |error| error.to_errno())
    }
}

impl<T> Outcome for Result<T, Failure> {
    fn error(&self) -> i32 {
        self.as_ref().err().map_or(0, |failure| failure.get_int())
    }
}

/// Declares functions that trace what was done to a group.
macro_rules! of_group {
    ($($(#[$attr:meta])* $name:ident: $event:ident;)*) => {$(
        $(#[$attr])*
        #[inline(always)]
        pub(crate) fn $name(group: impl FnOnce() -> i32, outcome: &impl Outcome) {
            if $event::is_on() {
                // SAFETY: Both are numbers.
                unsafe { $event::fire(group(), outcome.error()) };
            }
        }
    )*};
}

/// The same of what cannot fail.
macro_rules! of_group_in_any_case {
    ($($(#[$attr:meta])* $name:ident: $event:ident;)*) => {$(
        $(#[$attr])*
        #[inline(always)]
        pub(crate) fn $name(group: impl FnOnce() -> i32) {
            if $event::is_on() {
                // SAFETY: Both are numbers.
                unsafe { $event::fire(group(), 0) };
            }
        }
    )*};
}

/// Declares functions that trace what was done to a device, which is named by its bus device.
macro_rules! of_device {
    ($($(#[$attr:meta])* $name:ident: $event:ident;)*) => {$(
        $(#[$attr])*
        #[inline(always)]
        pub(crate) fn $name(device: &Device, outcome: &impl Outcome) {
            if $event::is_on() {
                // SAFETY: The device is valid, being a reference.
                unsafe { $event::fire(as_raw(device), outcome.error()) };
            }
        }
    )*};
}

/// The same of what cannot fail.
macro_rules! of_device_in_any_case {
    ($($(#[$attr:meta])* $name:ident: $event:ident;)*) => {$(
        $(#[$attr])*
        #[inline(always)]
        pub(crate) fn $name(device: &Device) {
            if $event::is_on() {
                // SAFETY: The device is valid, being a reference.
                unsafe { $event::fire(as_raw(device), 0) };
            }
        }
    )*};
}

of_group! {
    /// The file of a group was opened.
    group_open: vfio_group_open;
    /// A group was put into a container or an iommufd.
    group_attach: vfio_group_attach;
}

of_group_in_any_case! {
    /// The file of a group was closed.
    group_close: vfio_group_close;
    /// A group was taken out of its container or iommufd.
    group_detach: vfio_group_detach;
}

of_device! {
    /// The first file of a device was opened, so that its driver opened it.
    device_open: vfio_device_open;
    /// The node of a device was opened.
    cdev_open: vfio_cdev_open;
}

of_device_in_any_case! {
    /// The last file of a device was closed, so that its driver closed it.
    device_close: vfio_device_close;
    /// A file of the node of a device was closed.
    cdev_close: vfio_cdev_close;
}

/// A device was bound to the iommufd with the descriptor `iommufd`.
#[inline(always)]
pub(crate) fn bind(device: &Device, iommufd: i32, outcome: &impl Outcome) {
    if vfio_bind::is_on() {
        // SAFETY: The device is valid, being a reference.
        unsafe { vfio_bind::fire(as_raw(device), iommufd, outcome.error()) };
    }
}

/// What has the id `pt` was attached to a device, or to one of its PASIDs.
#[inline(always)]
pub(crate) fn device_attach(device: &Device, pasid: Option<u32>, pt: u32, outcome: &impl Outcome) {
    if vfio_device_attach::is_on() {
        let pasid = pasid.map_or(-1, i64::from);
        // SAFETY: The device is valid, being a reference.
        unsafe { vfio_device_attach::fire(as_raw(device), pasid, pt, outcome.error()) };
    }
}

/// What was attached to a device, or to one of its PASIDs, was detached.
#[inline(always)]
pub(crate) fn device_detach(device: &Device, pasid: Option<u32>) {
    if vfio_device_detach::is_on() {
        let pasid = pasid.map_or(-1, i64::from);
        // SAFETY: The device is valid, being a reference.
        unsafe { vfio_device_detach::fire(as_raw(device), pasid, 0, 0) };
    }
}

/// A driver asked for `count` pages from `iova` on to be pinned.
#[inline(always)]
pub(crate) fn pin(device: &Device, iova: u64, count: i32, result: &Result<isize, Failure>) {
    if vfio_pin::is_on() {
        let ret = result.map_or_else(Failure::get, |pages| pages);
        // SAFETY: The device is valid, being a reference.
        unsafe { vfio_pin::fire(as_raw(device), iova, count, ret) };
    }
}

/// A driver asked for `count` pages from `iova` on to be unpinned.
#[inline(always)]
pub(crate) fn unpin(device: &Device, iova: u64, count: i32) {
    if vfio_unpin::is_on() {
        // SAFETY: The device is valid, being a reference.
        unsafe { vfio_unpin::fire(as_raw(device), iova, count, 0) };
    }
}

/// User space asked for the migration state `state`, a number of the ABI.
#[inline(always)]
pub(crate) fn migration_state(device: &Device, state: u32, outcome: &impl Outcome) {
    if vfio_migration_state::is_on() {
        // SAFETY: The device is valid, being a reference.
        unsafe { vfio_migration_state::fire(as_raw(device), state, outcome.error()) };
    }
}

/// A VFIO_DEVICE_FEATURE with these flags, which contain the number of the feature, was handled.
#[inline(always)]
pub(crate) fn feature(device: &Device, flags: u32, result: &Result<isize, Failure>) {
    if vfio_feature::is_on() {
        let ret = result.map_or_else(Failure::get, |value| value);
        // SAFETY: The device is valid, being a reference.
        unsafe { vfio_feature::fire(as_raw(device), flags, ret) };
    }
}

/// Returns whether anybody looks at refusals.
#[inline(always)]
pub(crate) fn refused_is_on() -> bool {
    vfio_refused::is_on()
}

/// A request was refused: a short name of the reason, the errno, and a text for people.
pub(crate) fn refused(reason: &CStr, error: i32, text: &CStr) {
    // SAFETY: Both strings end with a NUL, being `CStr`s. They are copied.
    unsafe { vfio_refused::fire(reason.as_char_ptr(), error, text.as_char_ptr()) };
}

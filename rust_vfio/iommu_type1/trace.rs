// SPDX-License-Identifier: GPL-2.0

//! The tracepoints of `vfio_iommu_type1.ko`, as functions: requests about the memory of a
//! container, and domains of groups. `docs/observability.md` explains each.
//!
//! Nothing is computed unless somebody looks at the tracepoint. No function here sleeps or takes a
//! lock.
//!
//! The C side is `iommu_type1/trace/type1_events.h`.
//!
//! Deviation: C has no tracepoints.

use kernel::{
    prelude::*,
    str::CStr, //
};

use crate::kernel::tracepoint::tracepoints;

tracepoints! {
    fn vfio_map(iova: u64, size: u64, vaddr: u64, flags: u32, error: i32);
    fn vfio_unmap(iova: u64, size: u64, flags: u32);
    fn vfio_unmap_done(iova: u64, size: u64, unmapped: u64, error: i32);
    fn vfio_dirty(flags: u32, iova: u64, size: u64, error: i32);
    fn vfio_domain_attach(group: i32, domains: u32, error: i32);
    fn vfio_domain_detach(group: i32, domains: u32, error: i32);
    fn vfio_dma_refused(
        reason: *const kernel::ffi::c_char,
        error: i32,
        text: *const kernel::ffi::c_char,
    );
}

/// Returns 0, or the number of the error.
fn error<T>(result: &Result<T>) -> i32 {
    result.as_ref().err().map_or(0, |error| error.to_errno())
}

/// A MAP_DMA with these numbers and flags was handled.
#[inline(always)]
pub(super) fn map(iova: u64, size: u64, vaddr: u64, flags: u32, result: &Result) {
    if vfio_map::is_on() {
        // SAFETY: All are numbers.
        unsafe { vfio_map::fire(iova, size, vaddr, flags, error(result)) };
    }
}

/// An UNMAP_DMA with these numbers and flags has begun.
#[inline(always)]
pub(super) fn unmap(iova: u64, size: u64, flags: u32) {
    if vfio_unmap::is_on() {
        // SAFETY: All are numbers.
        unsafe { vfio_unmap::fire(iova, size, flags) };
    }
}

/// The UNMAP_DMA has ended, and unmapped so many bytes.
#[inline(always)]
pub(super) fn unmap_done(iova: u64, size: u64, bytes: u64, result: &Result) {
    if vfio_unmap_done::is_on() {
        // SAFETY: All are numbers.
        unsafe { vfio_unmap_done::fire(iova, size, bytes, error(result)) };
    }
}

/// A DIRTY_PAGES with these flags was handled. It was about the range if it was a GET_BITMAP.
#[inline(always)]
pub(super) fn dirty(flags: u32, iova: u64, size: u64, result: &Result) {
    if vfio_dirty::is_on() {
        // SAFETY: All are numbers.
        unsafe { vfio_dirty::fire(flags, iova, size, error(result)) };
    }
}

/// A group was attached to a domain; the container has so many now.
#[inline(always)]
pub(super) fn domain_attach(group: impl FnOnce() -> i32, domains: usize, result: &Result) {
    if vfio_domain_attach::is_on() {
        let domains = u32::try_from(domains).unwrap_or(u32::MAX);
        // SAFETY: All are numbers.
        unsafe { vfio_domain_attach::fire(group(), domains, error(result)) };
    }
}

/// A group was detached from its domain; the container has so many now.
#[inline(always)]
pub(super) fn domain_detach(group: impl FnOnce() -> i32, domains: usize) {
    if vfio_domain_detach::is_on() {
        let domains = u32::try_from(domains).unwrap_or(u32::MAX);
        // SAFETY: All are numbers.
        unsafe { vfio_domain_detach::fire(group(), domains, 0) };
    }
}

/// Returns whether anybody looks at refusals.
#[inline(always)]
pub(super) fn refused_is_on() -> bool {
    vfio_dma_refused::is_on()
}

/// A request was refused: a short name of the reason, the errno, and a text for people.
pub(super) fn refused(reason: &CStr, error: i32, text: &CStr) {
    // SAFETY: Both strings end with a NUL, being `CStr`s. They are copied.
    unsafe { vfio_dma_refused::fire(reason.as_char_ptr(), error, text.as_char_ptr()) };
}

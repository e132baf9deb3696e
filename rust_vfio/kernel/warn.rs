// SPDX-License-Identifier: GPL-2.0

//! Warnings that come once for each place in the code, and messages that do not come too often.
//!
//! In the kernel crate: `kernel::bug` has `warn_on!`, and would get this macro beside it.
//!
//! C header: `include/asm-generic/bug.h`.

/// Evaluates the condition and returns it. Warns if it is true, but only the first time that it is
/// true in this place.
///
/// A function of several callers shares its place among them, so the macro belongs into the callers
/// if each of them is to warn.
macro_rules! warn_on_once {
    ($cond:expr) => {{
        static WARNED: ::kernel::sync::atomic::AtomicFlag =
            ::kernel::sync::atomic::AtomicFlag::new(false);
        let cond: bool = $cond;
        ::kernel::warn_on!(cond && !WARNED.xchg(true, ::kernel::sync::atomic::Relaxed));
        cond
    }};
}

pub(crate) use warn_on_once;

/// Returns whether a message of this kind, a number below 32, may be logged now. Up to 10 of a kind
/// may in five seconds.
#[doc(alias = "__ratelimit")]
pub(crate) fn may_report(kind: u32) -> bool {
    // SAFETY: There are no safety requirements.
    unsafe { crate::bindings::vfio_rs_may_report(kind) }
}

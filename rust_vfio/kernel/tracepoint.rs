// SPDX-License-Identifier: GPL-2.0

//! Tracepoints of this module, which a C header declares.
//!
//! A tracepoint that nobody looks at is one instruction that does nothing, where the architecture
//! has jump labels: the kernel rewrites it to a jump when the tracepoint is switched on.
//!
//! In the kernel crate: `kernel::tracepoint::declare_trace!` declares such functions for the
//! tracepoints that `kernel::bindings` contains. It would take the bindings as an argument.
//!
//! C header: `include/linux/tracepoint.h`.

/// Declares a module for each tracepoint, with two functions: `is_on()`, and `fire()` with the
/// arguments of `TP_PROTO`. Without `CONFIG_TRACEPOINTS` the first one returns `false` and the
/// other one does nothing.
///
/// # Safety
///
/// `fire()` is unsafe: pointers must be what the C code of the tracepoint takes them for.
macro_rules! tracepoints {
    ($($(#[$attr:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?);)*) => {$(
        $(#[$attr])*
        mod $name {
            #[allow(unused_imports, reason = "the types of numbers need none")]
            use super::*;

            /// Returns whether anybody looks at the tracepoint.
            #[inline(always)]
            pub(super) fn is_on() -> bool {
                #[cfg(CONFIG_TRACEPOINTS)]
                ::kernel::macros::paste! {
                    // SAFETY: C defines the static key, as a part of the tracepoint, and it is in
                    // this module.
                    unsafe {
                        ::kernel::jump_label::static_branch_unlikely!(
                            crate::bindings::[<__tracepoint_ $name>],
                            crate::bindings::tracepoint,
                            key
                        )
                    }
                }
                #[cfg(not(CONFIG_TRACEPOINTS))]
                false
            }

            /// Fires the tracepoint.
            ///
            /// # Safety
            ///
            /// Pointers must be what the C code of the tracepoint takes them for.
            #[cold]
            pub(super) unsafe fn fire($($arg: $type),*) {
                #[cfg(CONFIG_TRACEPOINTS)]
                ::kernel::macros::paste! {
                    // SAFETY: By the safety requirements of this function.
                    unsafe { crate::bindings::[<rust_do_trace_ $name>]($($arg),*) };
                }
                #[cfg(not(CONFIG_TRACEPOINTS))]
                {
                    $(let _ = $arg;)*
                }
            }
        }
    )*};
}

pub(crate) use tracepoints;

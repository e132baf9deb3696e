// SPDX-License-Identifier: GPL-2.0

//! The check that exported functions have the prototypes against which C code was compiled.

/// Compares functions of this crate with the bindings of the same names.
///
/// bindgen makes the binding from the declaration in the C header, so a difference in an argument
/// fails the build, instead of crashing at run time. C code also calls some of the functions
/// through pointers, where CFI checks the types once more.
macro_rules! export {
    ($($name:ident),+ $(,)?) => {$(
        // Both arms of an `if` must have one type. Two functions are coerced to one pointer type if
        // their signatures are equal.
        const _: () = {
            if true {
                $crate::bindings::$name
            } else {
                $name
            };
        };
    )+};
}

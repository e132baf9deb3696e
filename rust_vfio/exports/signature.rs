// SPDX-License-Identifier: GPL-2.0

//! Exported functions have the prototypes that C code was compiled against.

/// Compares functions of this crate with the bindings of the same names.
///
/// The binding is what bindgen made of the declaration in the C header, so a difference in any
/// argument is an error here and not a crash at run time. (Under CFI, C code also calls some of
/// these through pointers, which checks the types once more.)
macro_rules! export {
    ($($name:ident),+ $(,)?) => {$(
        // Both arms of an `if` have one type: two functions do if their signatures are equal.
        const _: () = {
            if true {
                $crate::bindings::$name
            } else {
                $name
            };
        };
    )+};
}

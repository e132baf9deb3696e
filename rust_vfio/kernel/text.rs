// SPDX-License-Identifier: GPL-2.0

//! Short texts that are formatted on the stack, for C.
//!
//! In the kernel crate: `kernel::str::NullTerminatedFormatter` writes to such a buffer, but refuses
//! a piece that does not fit as a whole. It would get a way to cut a text off.

#![forbid(unsafe_code)]

use kernel::{
    fmt::{
        self,
        Write, //
    },
    prelude::*,
    str::CStr, //
};

/// The number of bytes of a text, the NUL at the end included.
const LEN: usize = 200;

/// A text of at most 199 bytes that ends with a NUL. What is longer is cut off.
pub(crate) struct Text {
    bytes: [u8; LEN],
    used: usize,
}

impl Text {
    /// Formats `what`. A NUL in it ends the text.
    pub(crate) fn of(what: &dyn fmt::Display) -> Self {
        let mut text = Self {
            bytes: [0; LEN],
            used: 0,
        };
        // What does not fit is left out, which is no failure.
        let _ = text.write_fmt(fmt!("{}", what));
        text
    }

    /// Returns the text.
    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        // The last byte stays 0.
        let room = self.bytes.get_mut(self.used..LEN - 1).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(more.bytes()) {
            *to = from;
            self.used += 1;
        }
        Ok(())
    }
}

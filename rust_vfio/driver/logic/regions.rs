// SPDX-License-Identifier: GPL-2.0

//! Where regions are in the file of a device, and which accesses there are.

/// The bits of a file offset that are an offset into a region. The rest is the region's number.
const OFFSET_BITS: u32 = 40;

/// The largest size of a region in bytes.
pub const LARGEST: u64 = 1 << OFFSET_BITS;

/// Returns the offset of the file at which a region begins.
pub fn begin(number: u32) -> u64 {
    u64::from(number) << OFFSET_BITS
}

/// Returns the number of the region at an offset of the file, and the offset into it.
pub fn place(pos: u64) -> (u64, u64) {
    (pos >> OFFSET_BITS, pos % LARGEST)
}

/// A part of a region, in bytes from its beginning. Both are multiples of the page size.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub size: u64,
}

impl Area {
    /// Returns whether it has all of `len` bytes from `offset` on.
    pub const fn contains(&self, offset: u64, len: u64) -> bool {
        match offset.checked_sub(self.offset) {
            Some(skipped) => match self.size.checked_sub(skipped) {
                Some(rest) => len <= rest,
                None => false,
            },
            None => false,
        }
    }
}

/// The number of bytes that an access to a register has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Width {
    /// One byte.
    Byte = 1,
    /// Two bytes.
    Word = 2,
    /// Four bytes.
    Long = 4,
    /// Eight bytes.
    Quad = 8,
}

impl Width {
    /// Returns the largest that an access can have which begins at `offset`, a multiple of it, and
    /// has `left` bytes left, more than zero.
    fn largest(offset: u64, left: usize) -> Self {
        for width in [Self::Quad, Self::Long, Self::Word] {
            if offset % width as u64 == 0 && left >= width as usize {
                return width;
            }
        }
        Self::Byte
    }
}

/// Returns the accesses to registers that `len` bytes from `offset` on are: few, aligned and in
/// ascending order. They end at the last offset that is a number.
pub fn accesses(mut offset: u64, len: usize) -> impl Iterator<Item = (u64, Width)> {
    let mut left = len;
    core::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let (at, width) = (offset, Width::largest(offset, left));
        left = left.checked_sub(width as usize)?;
        match at.checked_add(width as u64) {
            Some(next) => offset = next,
            None => left = 0,
        }
        Some((at, width))
    })
}

// SPDX-License-Identifier: GPL-2.0

//! Ranges of I/O addresses.

/// I/O addresses, from the first to the last one. There is at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub first: u64,
    /// The last address, not less than the first.
    pub last: u64,
}

impl Range {
    /// All addresses.
    pub const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// Returns the range of `len` bytes from `first` on, if there are any and all have addresses.
    pub fn new(first: u64, len: u64) -> Option<Self> {
        let last = first.checked_add(len.checked_sub(1)?)?;
        Some(Self { first, last })
    }

    /// Returns the range of those of `len` bytes from `first` on that have addresses, if there are
    /// any.
    pub fn saturating(first: u64, len: u64) -> Option<Self> {
        let last = first.saturating_add(len.checked_sub(1)?);
        Some(Self { first, last })
    }

    /// Returns the bytes that both ranges have, if there are any.
    pub fn common(self, other: Self) -> Option<Self> {
        let both = Self {
            first: self.first.max(other.first),
            last: self.last.min(other.last),
        };
        (both.first <= both.last).then_some(both)
    }

    /// Returns both halves. The size of a half is a number, that of all addresses is not.
    pub fn halves(self) -> [Option<Self>; 2] {
        let middle = self.first.midpoint(self.last);
        let lower = Self {
            last: middle,
            ..self
        };
        let upper = middle.checked_add(1).map(|first| Self { first, ..self });
        [Some(lower), upper.filter(|upper| upper.first <= upper.last)]
    }

    /// Returns the size in bytes, which all addresses do not have.
    pub fn size(self) -> Option<u64> {
        self.last.checked_sub(self.first)?.checked_add(1)
    }
}

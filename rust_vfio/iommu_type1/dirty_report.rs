// SPDX-License-Identifier: GPL-2.0

//! How dirty pages get into a bitmap of the user.

use kernel::prelude::*;

use crate::{
    iommu_type1::{
        logic::{
            dirty::{
                is_big_enough,
                pages_of,
                Bits,
                Place, //
            },
            units::{
                Iova,
                IovaRange, //
            }, //
        },
        uapi, //
    },
    kernel::{
        mm::{
            self,
            cond_resched, //
        },
        uaccess::UserAddr, //
    }, //
};

/// A bitmap of the user.
#[derive(Clone, Copy)]
pub(super) struct UserBitmap {
    /// The size of a page that has a bit, in bytes.
    pub(super) page: u64,
    words: UserAddr,
}

impl UserBitmap {
    /// The bitmap that the user describes, for `bytes` bytes of addresses.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it cannot be in user memory or does not have the right size.
    pub(super) fn new(bitmap: uapi::DirtyBitmap, bytes: u64) -> Result<Self> {
        if !mm::is_user_range(bitmap.data as u64, bitmap.size) {
            return Err(EINVAL);
        }
        let pages = pages_of(bytes, bitmap.page).ok_or(EINVAL)?;
        if !is_big_enough(bitmap.size, pages) {
            return Err(EINVAL);
        }
        Ok(Self {
            page: bitmap.page,
            words: UserAddr::new(bitmap.data),
        })
    }
}

/// How many words are collected.
const BUFFER: usize = 64;

/// Bits of mappings on their way to a user's bitmap.
///
/// Mappings come in the order of their addresses. Those that are close to each other share words
/// of the bitmap, so words are collected and written together.
pub(super) struct Report<'a> {
    pub(super) bitmap: &'a UserBitmap,
    /// The address of the first bit.
    base: Iova,
    /// The words that are not written yet: the first `len` of these. Most often every page is
    /// dirty, so those behind them are kept all ones, or else `used` is set.
    buffer: [u64; BUFFER],
    len: usize,
    used: bool,
    /// The number of the first of them in the bitmap.
    start: u64,
}

impl<'a> Report<'a> {
    /// A report to `bitmap`, whose first bit is for the page at `base`.
    pub(super) fn new(bitmap: &'a UserBitmap, base: Iova) -> Self {
        Self {
            bitmap,
            base,
            buffer: [u64::MAX; BUFFER],
            len: 0,
            used: false,
            start: 0,
        }
    }

    fn user_word(&self, index: u64) -> Result<UserAddr> {
        let bytes = index.checked_mul(8).and_then(|at| usize::try_from(at).ok());
        Ok(self.bitmap.words.offset(bytes.ok_or(EFAULT)?))
    }

    /// Writes what was collected. The last word stays known, for the next mapping may share it.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(super) fn flush(&mut self) -> Result {
        let Some(words) = self.buffer.get(..self.len) else {
            return Err(EFAULT);
        };
        self.user_word(self.start)?.write_words(words)?;
        if let Some(last) = words.last().copied() {
            self.start += self.len as u64 - 1;
            if core::mem::take(&mut self.used) {
                self.buffer.fill(u64::MAX);
            }
            let [first, ..] = &mut self.buffer;
            *first = last;
            self.len = 1;
        }
        cond_resched();
        Ok(())
    }

    /// Writes what was collected if there is no room for another word.
    fn make_room(&mut self) -> Result {
        if self.len == BUFFER {
            self.flush()?;
            self.start += 1;
            self.len = 0;
        }
        Ok(())
    }

    /// Adds the bits of a mapping with the addresses `range`.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(super) fn add(&mut self, range: IovaRange, bits: Bits<'_>) -> Result {
        let place = Place::new(self.base, range, self.bitmap.page).ok_or(EINVAL)?;
        let behind = self.start + self.len as u64;
        let shares_word = self.len > 0 && place.word + 1 == behind;
        if !shares_word && place.word != behind {
            self.flush()?;
            self.start = place.word;
            self.len = 0;
        }
        // What is before the mapping in its first word.
        let below = match place.below_first() {
            0 => 0,
            _ if shares_word => {
                self.len -= 1;
                self.buffer.get(self.len).copied().unwrap_or(0)
            }
            mask => self.user_word(place.word)?.read::<u64>()? & mask,
        };
        if let Some(word) = place.only_word(bits) {
            self.make_room()?;
            if let Some(slot) = self.buffer.get_mut(self.len) {
                *slot = word | below;
            }
            self.len += 1;
            self.used = true;
            return Ok(());
        }
        let mut index = 0;
        while index < place.words() {
            self.make_room()?;
            let rest = usize::try_from(place.words() - index).unwrap_or(usize::MAX);
            let len = rest.min(BUFFER - self.len);
            let Some(words) = self.buffer.get_mut(self.len..self.len + len) else {
                return Err(EFAULT);
            };
            if self.used || !matches!(bits, Bits::All) {
                place.copy(bits, index, words);
                self.used = true;
            } else if let [first, ..] = words {
                // It may be one that was written before.
                *first = u64::MAX;
            }
            self.used |= place.trim(index, words);
            if let (0, [first, ..]) = (index, words) {
                *first |= below;
            }
            self.len += len;
            index += len as u64;
        }
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Writing dirty pages to a bitmap in user space (contract 6.16).
//!
//! Corresponds to `update_user_bitmap()`.
//!
//! Deviation: C shifts the bitmap of a mapping in place if it does not begin with a word of the
//! bitmap in user space. The bits stay shifted if they cannot be written, and those beyond the end
//! of the mapping are never cleared, so that later reports are wrong. We build the words in a
//! buffer and leave the bitmap of the mapping as it is.
//!
//! Deviation: C takes over all bits of the word in user space that a mapping shares with what is
//! before it. We take over only the bits before the mapping, so that a bitmap that is not zero
//! causes no false bits.

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

/// A bitmap in user space.
#[derive(Clone, Copy)]
pub(super) struct UserBitmap {
    /// The number of bytes for which a bit stands.
    pub(super) page: u64,
    /// The user address of the first word.
    words: UserAddr,
}

impl UserBitmap {
    /// Checks the description `bitmap` of a bitmap for `bytes` bytes of I/O addresses.
    ///
    /// Deviation: C computes the binary logarithm of the page size before it checks it, which is
    /// undefined for zero. We fail with `EINVAL` then.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the bitmap is not in user space.
    /// - `EINVAL` if the page size is zero.
    /// - `EINVAL` if the bitmap is too small for the pages, larger than
    ///   [`MAX_BITMAP_BYTES`](crate::iommu_type1::logic::dirty::MAX_BITMAP_BYTES), or there is no
    ///   page.
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

/// The number of words in the buffer of a [`Report`].
const BUFFER: usize = 64;
/// The number of words of a mapping that are written without a pause: a page of them.
const AT_ONCE: usize = 512;

/// A report of the dirty pages of several mappings.
///
/// The mappings are added in the order of their addresses. Neighbours can share a word of the
/// bitmap, so words are collected in a buffer and written together.
pub(super) struct Report<'a> {
    pub(super) bitmap: &'a UserBitmap,
    /// The I/O address of the page for which the first bit of the bitmap stands.
    base: Iova,
    /// The buffer, whose first `len` words are not written yet. In most reports every page is
    /// dirty, so the other words are all ones unless `used` is set, and need not be filled.
    buffer: [u64; BUFFER],
    len: usize,
    /// Whether words after the first `len` may differ from all ones.
    used: bool,
    /// The index of the first word of the buffer in the bitmap.
    start: u64,
}

impl<'a> Report<'a> {
    /// Creates a report to `bitmap`, whose first bit stands for the page at `base`.
    #[inline(always)] // The buffer is large, so it must be created where it stays.
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

    /// Returns the user address of the word with number `index`.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the offset does not fit a native word.
    fn user_word(&self, index: u64) -> Result<UserAddr> {
        let bytes = index.checked_mul(8).and_then(|at| usize::try_from(at).ok());
        Ok(self.bitmap.words.offset(bytes.ok_or(EFAULT)?))
    }

    /// Writes the collected words to user space. The last one stays in the buffer, since the next
    /// mapping may share it.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the bitmap cannot be written.
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

    /// Writes the collected words to user space if the buffer is full.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the bitmap cannot be written.
    fn make_room(&mut self) -> Result {
        if self.len == BUFFER {
            self.flush()?;
            self.start += 1;
            self.len = 0;
        }
        Ok(())
    }

    /// Writes `words` to user space as they are, after those that were collected. The first of them
    /// has the number `index`, and does not share a word with the mapping before.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the bitmap cannot be written.
    fn write_through(&mut self, index: u64, words: &[u64]) -> Result {
        self.flush()?;
        self.start = index;
        self.len = 0;
        for words in words.chunks(AT_ONCE) {
            self.user_word(self.start)?.write_words(words)?;
            self.start += words.len() as u64;
            cond_resched();
        }
        Ok(())
    }

    /// Adds the bits of a mapping with the I/O addresses `range`.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the mapping begins below the address of the first bit.
    /// - `EFAULT` if the bitmap cannot be read or written.
    pub(super) fn add(&mut self, range: IovaRange, bits: Bits<'_>) -> Result {
        let place = Place::new(self.base, range, self.bitmap.page).ok_or(EINVAL)?;
        let behind = self.start + self.len as u64;
        let shares_word = self.len > 0 && place.word + 1 == behind;
        if !shares_word && place.word != behind {
            self.flush()?;
            self.start = place.word;
            self.len = 0;
        }
        // The bits of the first word that are before the mapping.
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
        let whole = place.whole_words(bits);
        if whole.len() >= BUFFER {
            self.write_through(place.word, whole)?;
            index = whole.len() as u64;
        }
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
                // The word may be left from the previous flush.
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

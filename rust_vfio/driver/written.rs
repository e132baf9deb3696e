// SPDX-License-Identifier: GPL-2.0

//! Which pages of user memory a driver has written: the dirty log of a device that writes only by
//! its driver.

use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::RBTree,
    sync::Mutex, //
};

use crate::driver::logic::{
    range::Range,
    words, //
};

/// The pages that were written, while somebody wants to know.
///
/// The lock is taken where others are held, and nobody waits for user space with it.
#[pin_data]
pub(crate) struct WriteLog {
    #[pin]
    written: Mutex<Option<Written>>,
}

/// Pages that were written since they were reported last.
struct Written {
    /// By the numbers of words, see [`words`].
    words: RBTree<u64, u64>,
    /// How many words there are.
    count: usize,
    /// Some were too many, or there was no memory for them: so all pages count as written.
    and_more: bool,
}

/// The most words that are remembered. They take 16 MiB, and have the pages of 64 GiB if these are
/// 4 KiB large.
const MOST_WORDS: usize = 1 << 18;

impl WriteLog {
    /// Creates a log that is not wanted yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            written <- new_mutex!(None, "vfio::written"),
        })
    }

    /// Begins to remember pages, or ends that and forgets them.
    pub(crate) fn turn(&self, is_on: bool) {
        let new = is_on.then(|| Written {
            words: RBTree::new(),
            count: 0,
            and_more: false,
        });
        let old = core::mem::replace(&mut *self.written.lock(), new);
        // Without the lock.
        drop(old);
    }

    /// Remembers the pages of `len` bytes from `first` on, after they were written.
    pub(crate) fn add(&self, first: u64, len: usize) {
        let range = Range::saturating(first, len as u64);
        if let (Some(range), Some(written)) = (range, &mut *self.written.lock()) {
            written.add(page(range.first), page(range.last));
        }
    }

    /// Returns whether all pages count as written.
    pub(crate) fn is_full(&self) -> bool {
        matches!(&*self.written.lock(), Some(written) if written.and_more)
    }

    /// Returns the first word, of number `from` or more, that has pages in a range: its number and
    /// these pages. Forgets those that are in the range as a whole.
    pub(crate) fn take(&self, range: Range, from: u64) -> Option<(u64, u64)> {
        (*self.written.lock()).as_mut()?.take(range, from)
    }
}

impl Written {
    /// Adds the pages from `first` to `last`.
    fn add(&mut self, first: u64, last: u64) {
        for word in words::word(first)..=words::word(last) {
            let bits = words::bits(word, first, last);
            if let Some(known) = self.words.get_mut(&word) {
                *known |= bits;
            } else if self.and_more || self.insert(word, bits).is_err() {
                self.and_more = true;
                return;
            }
        }
    }

    /// Adds a word.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` if there are too many.
    /// - `ENOMEM` if there is no memory.
    fn insert(&mut self, word: u64, bits: u64) -> Result {
        if self.count == MOST_WORDS {
            return Err(ENOSPC);
        }
        let words = &mut self.words;
        words.try_create_and_insert(word, bits, GFP_KERNEL_ACCOUNT)?;
        self.count += 1;
        Ok(())
    }

    /// As [`WriteLog::take`].
    fn take(&mut self, range: Range, from: u64) -> Option<(u64, u64)> {
        let (first, last) = (page(range.first), page(range.last));
        let from = from.max(words::word(first));
        let mut cursor = self.words.cursor_lower_bound_mut(&from)?;
        let (word, bits) = cursor.current_mut();
        let word = *word;
        if word > words::word(last) {
            return None;
        }
        let found = *bits & words::bits(word, first, last);
        if let Some((first, last)) = words::whole(range, PAGE_SIZE as u64) {
            *bits &= !words::bits(word, first, last);
        }
        if *bits == 0 {
            cursor.remove_current();
            self.count -= 1;
        }
        Some((word, found))
    }
}

/// Returns the number of the page of an address.
fn page(address: u64) -> u64 {
    address / PAGE_SIZE as u64
}

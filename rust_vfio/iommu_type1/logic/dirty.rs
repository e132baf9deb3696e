// SPDX-License-Identifier: GPL-2.0

//! Bitmaps of dirty pages: the user's, and what a mapping remembers.
//!
//! Bit `k` of the user's bitmap stands for the page at the first address of the request plus `k`
//! pages; bits are counted from the least significant of the first word. The mappings of a
//! container are next to each other anywhere, so the bits of one usually begin in the middle of a
//! word, whose lower bits belong to the mapping before.

use super::units::{
    Iova,
    IovaRange, //
};

/// Bits in a word.
const WORD: u64 = u64::BITS as u64;

/// The most pages that a mapping can have while dirty pages are tracked (contract 6.16).
pub const MAX_MAPPING_PAGES: u64 = i32::MAX as u64;

/// The largest bitmap that a request can fill, in bytes: 2^31 bits.
pub const MAX_BITMAP_BYTES: u64 = 1 << 28;

/// How many pages of `page` bytes, a power of two, are in `bytes`.
///
/// `None` if `page` is none.
pub fn pages_of(bytes: u64, page: u64) -> Option<u64> {
    match page {
        0 => None,
        page => bytes.checked_shr(page.trailing_zeros()),
    }
}

/// Whether a bitmap of `bytes` bytes does for `pages` pages.
pub fn is_big_enough(bytes: u64, pages: u64) -> bool {
    pages != 0 && bytes <= MAX_BITMAP_BYTES && pages.div_ceil(WORD) * 8 <= bytes
}

/// The pages of a mapping that are dirty.
#[derive(Clone, Copy, Debug)]
pub enum Bits<'a> {
    /// None of them.
    None,
    /// All of them.
    All,
    /// Those whose bit is set, beginning with the lowest page. Words that are missing are zero.
    Some(&'a [u64]),
}

impl Bits<'_> {
    fn word(self, index: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::All => u64::MAX,
            Self::Some(words) => {
                let word = usize::try_from(index)
                    .ok()
                    .and_then(|index| words.get(index));
                word.copied().unwrap_or(0)
            }
        }
    }

    /// Word `index` of these bits moved up by `shift` bits, fewer than a word has.
    fn shifted(self, index: u64, shift: u32) -> u64 {
        let carried = match (shift, index.checked_sub(1)) {
            (1.., Some(before)) => self.word(before) >> (u64::BITS - shift),
            _ => 0,
        };
        self.word(index) << shift | carried
    }
}

/// Where the bits of a mapping go in the user's bitmap.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The word with the first bit.
    pub word: u64,
    /// Which bit of it that is.
    shift: u32,
    /// How many bits there are.
    count: u64,
}

impl Place {
    /// The place of `mapping` in a bitmap that begins at `base`, with pages of `page` bytes.
    ///
    /// `None` if the mapping begins below `base`.
    pub fn new(base: Iova, mapping: IovaRange, page: u64) -> Option<Self> {
        let bit = pages_of(mapping.first().get().checked_sub(base.get())?, page)?;
        Some(Self {
            word: bit / WORD,
            // CAST: Less than 64.
            shift: (bit % WORD) as u32,
            count: pages_of(mapping.bytes(), page)?,
        })
    }

    /// The bits of the first word that belong to what is before the mapping.
    pub fn below_first(self) -> u64 {
        (1 << self.shift) - 1
    }

    /// How many words the bits are in.
    pub fn words(self) -> u64 {
        (u64::from(self.shift) + self.count).div_ceil(WORD)
    }

    /// The bits, if they are all in one word.
    pub fn only_word(self, bits: Bits<'_>) -> Option<u64> {
        let last = u64::from(self.shift) + self.count.checked_sub(1)?;
        if last >= WORD {
            return None;
        }
        let mask = u64::MAX >> (WORD - self.count) << self.shift;
        Some(bits.word(0) << self.shift & mask)
    }

    /// Writes word `index` of `bits` and those behind it to `out`, not yet trimmed.
    pub fn copy(self, bits: Bits<'_>, index: u64, out: &mut [u64]) {
        for (word, index) in out.iter_mut().zip(index..) {
            *word = bits.shifted(index, self.shift);
        }
    }

    /// Clears the bits of `out`, which are those from word `index` on, that are not this
    /// mapping's. Returns whether there are any.
    pub fn trim(self, index: u64, out: &mut [u64]) -> bool {
        let mut trimmed = false;
        if let (0, 1.., [first, ..]) = (index, self.shift, &mut *out) {
            *first &= !self.below_first();
            trimmed = true;
        }
        // How many bits there are from the first word of `out` on.
        let rest = (u64::from(self.shift) + self.count).saturating_sub(index.saturating_mul(WORD));
        for (ahead, word) in out.iter_mut().enumerate().rev() {
            match rest.saturating_sub(ahead as u64 * WORD) {
                0 => *word = 0,
                in_word @ 1..WORD => *word &= (1 << in_word) - 1,
                _ => break,
            }
            trimmed = true;
        }
        trimmed
    }
}

/// Sets the bits from `first` to `last`, both included, as far as `words` has them.
pub fn set(words: &mut [u64], first: u64, last: u64) {
    let skip = usize::try_from(first / WORD).unwrap_or(usize::MAX);
    let mut base = first / WORD * WORD;
    for word in words.iter_mut().skip(skip) {
        if base > last {
            break;
        }
        let low = u64::MAX << first.saturating_sub(base);
        let high = match last - base {
            in_word @ 0..WORD => u64::MAX >> (WORD - 1 - in_word),
            _ => u64::MAX,
        };
        *word |= low & high;
        base += WORD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(first: u64, pages: u64) -> IovaRange {
        IovaRange::with_len(Iova::new(first << 12), pages << 12).unwrap()
    }

    #[test]
    fn sizes() {
        assert!(is_big_enough(8, 64) && !is_big_enough(8, 65));
        assert!(!is_big_enough(8, 0) && !is_big_enough(0, 1));
        assert!(is_big_enough(MAX_BITMAP_BYTES, 1));
        assert!(!is_big_enough(MAX_BITMAP_BYTES + 8, 1));
        assert!(!is_big_enough(MAX_BITMAP_BYTES, u64::MAX));
        assert_eq!(pages_of(0x3000, 0x1000), Some(3));
        assert_eq!(pages_of(0x3000, 0), None);
    }

    fn filled(place: Place, bits: Bits<'_>) -> Vec<u64> {
        let mut words = vec![0xabcd; place.words() as usize];
        place.copy(bits, 0, &mut words);
        place.trim(0, &mut words);
        words
    }

    #[test]
    fn words_have_the_bits_of_one_mapping() {
        let place = Place::new(Iova::new(0), mapping(60, 8), 0x1000).unwrap();
        assert_eq!((place.word, place.words()), (0, 2));
        assert_eq!(place.below_first(), (1 << 60) - 1);
        assert_eq!(filled(place, Bits::All), [0xf << 60, 0xf]);
        assert_eq!(filled(place, Bits::Some(&[0x81])), [1 << 60, 8]);
        assert_eq!(filled(place, Bits::Some(&[])), [0, 0]);
        assert_eq!(filled(place, Bits::None), [0, 0]);
        assert_eq!(place.only_word(Bits::All), None);

        let part = Place::new(Iova::new(0), mapping(61, 3), 0x1000).unwrap();
        assert_eq!(part.only_word(Bits::All), Some(7 << 61));
        assert_eq!(part.only_word(Bits::Some(&[0xfd])), Some(5 << 61));

        let whole = Place::new(Iova::new(64 << 12), mapping(128, 128), 0x1000).unwrap();
        assert_eq!((whole.word, whole.words()), (1, 2));
        assert_eq!(whole.below_first(), 0);
        assert_eq!(filled(whole, Bits::All), [u64::MAX; 2]);
        let mut behind = [u64::MAX; 3];
        assert!(!whole.trim(1, &mut behind[..1]));
        assert!(whole.trim(1, &mut behind));
        assert_eq!(behind, [u64::MAX, 0, 0]);
        assert!(Place::new(Iova::new(0x1000), mapping(0, 1), 0x1000).is_none());
    }

    #[test]
    fn setting_bits() {
        let mut words = [0; 3];
        set(&mut words, 63, 64);
        assert_eq!(words, [1 << 63, 1, 0]);
        set(&mut words, 64, u64::MAX);
        assert_eq!(words, [1 << 63, u64::MAX, u64::MAX]);
        set(&mut words, 500, 600);
        set(&mut words, 0, 0);
        assert_eq!(words, [1 << 63 | 1, u64::MAX, u64::MAX]);
    }
}

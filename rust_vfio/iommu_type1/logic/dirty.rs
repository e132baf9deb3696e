// SPDX-License-Identifier: GPL-2.0

//! Bitmaps of dirty pages: the one in user space, and that of a mapping (contract 6.16).
//!
//! Bit `k` of the bitmap in user space stands for the page at the first address of the request plus
//! `k` pages. Bits are counted from the least significant bit of the first 64-bit word. A mapping
//! can begin at any page, so its bits can begin in the middle of a word, whose lower bits belong to
//! the mapping before it. In the bitmap of a mapping bit 0 stands for its first page.
//!
//! Corresponds to `update_user_bitmap()` and `verify_bitmap_size()`.

use super::units::{
    Iova,
    IovaRange, //
};

/// The number of bits in a word.
const WORD: u64 = u64::BITS as u64;

/// The largest number of pages of a mapping while dirty pages are tracked. Corresponds to
/// `DIRTY_BITMAP_PAGES_MAX`.
pub const MAX_MAPPING_PAGES: u64 = i32::MAX as u64;

/// The largest size in bytes of a bitmap in user space. Corresponds to `DIRTY_BITMAP_SIZE_MAX`.
pub const MAX_BITMAP_BYTES: u64 = 1 << 28;

/// Returns the number of pages of `page` bytes in `bytes` bytes, rounded down, or `None` if `page`
/// is zero. If `page` is not a power of two, its lowest bit counts.
pub fn pages_of(bytes: u64, page: u64) -> Option<u64> {
    match page {
        0 => None,
        page => bytes.checked_shr(page.trailing_zeros()),
    }
}

/// Returns whether a bitmap of `bytes` bytes is accepted for `pages` pages: it is large enough, not
/// above [`MAX_BITMAP_BYTES`], and there is at least one page.
///
/// Corresponds to `verify_bitmap_size()`.
pub fn is_big_enough(bytes: u64, pages: u64) -> bool {
    pages != 0 && bytes <= MAX_BITMAP_BYTES && pages.div_ceil(WORD) * 8 <= bytes
}

/// The dirty pages of a mapping.
#[derive(Clone, Copy, Debug)]
pub enum Bits<'a> {
    /// No page.
    None,
    /// All pages.
    All,
    /// The pages whose bit is set in a bitmap of the mapping. Words that are missing are zero.
    Some(&'a [u64]),
}

impl Bits<'_> {
    /// Returns word `index` of the bitmap of the mapping.
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

    /// Returns word `index` of the bitmap shifted left by `shift` bits, fewer than a word has.
    fn shifted(self, index: u64, shift: u32) -> u64 {
        let carried = match (shift, index.checked_sub(1)) {
            (1.., Some(before)) => self.word(before) >> (u64::BITS - shift),
            _ => 0,
        };
        self.word(index) << shift | carried
    }
}

/// The position of the bits of a mapping in the bitmap in user space.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The index of the word that contains the first bit.
    pub word: u64,
    /// The number of the first bit in this word.
    shift: u32,
    /// The number of bits.
    count: u64,
}

impl Place {
    /// Returns the position of `mapping` in a bitmap whose first bit stands for the page at `base`,
    /// with pages of `page` bytes.
    ///
    /// Returns `None` if the mapping begins below `base` or `page` is zero.
    pub fn new(base: Iova, mapping: IovaRange, page: u64) -> Option<Self> {
        let bit = pages_of(mapping.first().get().checked_sub(base.get())?, page)?;
        Some(Self {
            word: bit / WORD,
            // CAST: Less than 64.
            shift: (bit % WORD) as u32,
            count: pages_of(mapping.bytes(), page)?,
        })
    }

    /// Returns the mask of the bits of the first word that belong to addresses below the mapping.
    pub fn below_first(self) -> u64 {
        (1 << self.shift) - 1
    }

    /// Returns the number of words that contain bits of the mapping.
    pub fn words(self) -> u64 {
        (u64::from(self.shift) + self.count).div_ceil(WORD)
    }

    /// Returns the word with the bits of the mapping, other bits being zero, or `None` if they are
    /// in several words.
    pub fn only_word(self, bits: Bits<'_>) -> Option<u64> {
        let last = u64::from(self.shift) + self.count.checked_sub(1)?;
        if last >= WORD {
            return None;
        }
        let mask = u64::MAX >> (WORD - self.count) << self.shift;
        Some(bits.word(0) << self.shift & mask)
    }

    /// Returns the words of `bits` that are in the bitmap in user space as they are here, from the
    /// first word on, with no bits of another mapping. There are none if the mapping begins in the
    /// middle of a word.
    pub fn whole_words<'a>(self, bits: Bits<'a>) -> &'a [u64] {
        match (self.shift, bits) {
            (0, Bits::Some(words)) => {
                let whole = usize::try_from(self.count / WORD).unwrap_or(usize::MAX);
                words.get(..whole).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Fills `out` with the words of `bits` from number `index` on, as they are in the bitmap in
    /// user space. Bits outside of the mapping are undefined until [`Place::trim`].
    pub fn copy(self, bits: Bits<'_>, index: u64, out: &mut [u64]) {
        for (word, index) in out.iter_mut().zip(index..) {
            *word = bits.shifted(index, self.shift);
        }
    }

    /// Clears the bits outside of the mapping in `out`, which are the words from number `index` on.
    /// Returns whether there are any.
    pub fn trim(self, index: u64, out: &mut [u64]) -> bool {
        let mut trimmed = false;
        if let (0, 1.., [first, ..]) = (index, self.shift, &mut *out) {
            *first &= !self.below_first();
            trimmed = true;
        }
        // The number of bits from the first word of `out` to the end of the mapping.
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

/// Sets the bits from `first` to `last`, both inclusive, as far as they are in `words`.
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

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_VFIO_RUST_KUNIT_TEST,
    kernel::macros::kunit_tests(vfio_type1_dirty)
)]
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

    /// The words of a bitmap with `bits` at this place; all of these places have two.
    fn filled(place: Place, bits: Bits<'_>) -> [u64; 2] {
        let mut words = [0xabcd; 2];
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
    fn whole_words_need_no_copy() {
        let bits = [1, 2, 3];
        let at = |first, pages| Place::new(Iova::new(0), mapping(first, pages), 0x1000).unwrap();
        assert_eq!(at(64, 192).whole_words(Bits::Some(&bits)), [1, 2, 3]);
        // The third word may have bits of the next mapping.
        assert_eq!(at(64, 191).whole_words(Bits::Some(&bits)), [1, 2]);
        assert!(at(64, 63).whole_words(Bits::Some(&bits)).is_empty());
        assert!(at(65, 128).whole_words(Bits::Some(&bits)).is_empty());
        assert!(at(64, 256).whole_words(Bits::Some(&bits)).is_empty());
        assert!(at(64, 192).whole_words(Bits::All).is_empty());
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

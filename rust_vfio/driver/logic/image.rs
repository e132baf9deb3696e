// SPDX-License-Identifier: GPL-2.0

//! The layout of images, in which devices are saved and restored.
//!
//! An image is a sequence of records, and each is a head of 16 bytes and a body. The numbers in
//! them have 64 bits and are little endian.
//!
//! | Head | Body | How often |
//! |---|---|---|
//! | `BEGIN`, the format of the image | | once, first |
//! | `PAGE`, the number of a page of memory | the page | in any order, as often as it changed |
//! | `END`, how many numbers follow | the numbers | once, last |

use core::ops::Range;

/// The size of the head of a record in bytes.
pub const HEAD: usize = 16;
/// The size of a number in bytes.
pub const NUMBER: usize = size_of::<u64>();

const BEGIN: u64 = 0x4245_4749_4e00_0001;
const PAGE: u64 = 0x5041_4745_0000_0002;
const END: u64 = 0x454e_4400_0000_0003;

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The image begins, and has this format.
    Begin(u64),
    /// A page follows, with this number.
    Page(u64),
    /// The image ends with so many numbers.
    End(u64),
}

impl Head {
    /// Returns the bytes of a head.
    pub fn to_bytes(self) -> [u8; HEAD] {
        let (kind, value) = match self {
            Self::Begin(format) => (BEGIN, format),
            Self::Page(number) => (PAGE, number),
            Self::End(numbers) => (END, numbers),
        };
        (u128::from(value) << 64 | u128::from(kind)).to_le_bytes()
    }

    /// Returns the head that these bytes are, if they are one.
    pub fn from_bytes(bytes: [u8; HEAD]) -> Option<Self> {
        let both = u128::from_le_bytes(bytes);
        // CAST: The halves.
        let (kind, value) = (both as u64, (both >> 64) as u64);
        match kind {
            BEGIN => Some(Self::Begin(value)),
            PAGE => Some(Self::Page(value)),
            END => Some(Self::End(value)),
            _ => None,
        }
    }
}

/// What an image must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its format.
    pub format: u64,
    /// The size of the memory in bytes, a multiple of the page size.
    pub memory: usize,
    /// The size of a page in bytes.
    pub page_size: usize,
    /// How many numbers there are.
    pub numbers: usize,
}

impl Layout {
    /// Returns the size of the bodies, one of each page: of the memory and the numbers behind it.
    pub const fn content_size(&self) -> usize {
        self.memory
            .saturating_add(self.numbers.saturating_mul(NUMBER))
    }

    /// Returns the size of an image that has each page once.
    pub const fn image_size(&self) -> usize {
        let pages = match self.memory.checked_div(self.page_size) {
            Some(pages) => pages,
            None => 0,
        };
        let heads = pages.saturating_add(2).saturating_mul(HEAD);
        heads.saturating_add(self.content_size())
    }
}

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The image has this format, which is another one.
    Format(u64),
    /// There is no such record, or not here.
    Invalid,
}

/// An image of which the records come one after the other.
#[derive(Clone, Debug)]
pub struct Reader {
    layout: Layout,
    stage: Stage,
}

/// Which records have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    None,
    Begin,
    End,
}

impl Reader {
    /// Creates one for an image that must have this layout.
    pub const fn new(layout: Layout) -> Self {
        Self {
            layout,
            stage: Stage::None,
        }
    }

    /// Takes the head of the next record. Returns where its body belongs, in bytes of the memory
    /// with the numbers behind it.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing has changed then.
    pub fn next(&mut self, head: [u8; HEAD]) -> Result<Range<usize>, Refused> {
        let Layout {
            format,
            memory,
            page_size,
            numbers,
        } = self.layout;
        let head = Head::from_bytes(head).ok_or(Refused::Invalid)?;
        match (self.stage, head) {
            (Stage::None, Head::Begin(found)) if found == format => {
                self.stage = Stage::Begin;
                Ok(0..0)
            }
            (Stage::None, Head::Begin(found)) => Err(Refused::Format(found)),
            (Stage::Begin, Head::Page(number)) => {
                let page = usize::try_from(number)
                    .ok()
                    .and_then(|number| number.checked_mul(page_size))
                    .and_then(|first| Some(first..first.checked_add(page_size)?));
                page.filter(|page| page.end <= memory)
                    .ok_or(Refused::Invalid)
            }
            (Stage::Begin, Head::End(found)) if found == numbers as u64 => {
                self.stage = Stage::End;
                Ok(memory..self.layout.content_size())
            }
            _ => Err(Refused::Invalid),
        }
    }

    /// Returns whether the last record has come.
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::End
    }
}

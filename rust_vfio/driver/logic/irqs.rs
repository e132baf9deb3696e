// SPDX-License-Identifier: GPL-2.0

//! What VFIO_DEVICE_SET_IRQS asks for.
//!
//! The core has checked that a request has exactly one layout of data, that the data are there, and
//! that the vectors exist.

const DATA_NONE: u32 = 1 << 0;
const DATA_BOOL: u32 = 1 << 1;
const DATA_EVENTFD: u32 = 1 << 2;
const DATA: u32 = DATA_NONE | DATA_BOOL | DATA_EVENTFD;

const MASK: u32 = 1 << 3;
const UNMASK: u32 = 1 << 4;
const TRIGGER: u32 = 1 << 5;
const ACTION: u32 = MASK | UNMASK | TRIGGER;

/// What shall be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Mask vectors.
    Mask(Which),
    /// Unmask vectors.
    Unmask(Which),
    /// Let eventfds unmask vectors. The data are their file descriptors.
    UnmaskBy,
    /// Take all eventfds of the kind back.
    Disable,
    /// Give vectors eventfds. The data are their file descriptors.
    Assign,
    /// Raise vectors.
    Raise(Which),
}

/// Which of the vectors of a request are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those whose byte of the data is not zero.
    Marked,
}

impl Action {
    /// Returns what a request asks for that has these flags and so many vectors, for a kind whose
    /// vectors can be masked or not. Returns `None` unless it is one action that the kind knows.
    pub fn decode(flags: u32, count: u32, is_maskable: bool) -> Option<Self> {
        let which = match flags & DATA {
            DATA_NONE => Some(Which::All),
            DATA_BOOL => Some(Which::Marked),
            _ => None,
        };
        match (flags & ACTION, which) {
            (MASK, Some(which)) if is_maskable => Some(Self::Mask(which)),
            (UNMASK, Some(which)) if is_maskable => Some(Self::Unmask(which)),
            (UNMASK, None) if is_maskable => Some(Self::UnmaskBy),
            (TRIGGER, Some(Which::All)) if count == 0 => Some(Self::Disable),
            (TRIGGER, Some(which)) => Some(Self::Raise(which)),
            (TRIGGER, None) => Some(Self::Assign),
            _ => None,
        }
    }
}

impl Which {
    /// Returns the vectors that are meant of `count` from `start` on, in a request with these data.
    pub fn vectors(self, start: u32, count: u32, data: &[u8]) -> impl Iterator<Item = u32> + '_ {
        let mut marks = data.iter();
        (0..count).filter_map(move |at| {
            let is_marked = marks.next().is_some_and(|mark| *mark != 0);
            let is_meant = is_marked || self == Self::All;
            is_meant.then(|| start.checked_add(at)).flatten()
        })
    }
}

/// Returns the file descriptors in the data of a request.
pub fn descriptors(data: &[u8]) -> impl Iterator<Item = i32> + '_ {
    data.chunks_exact(size_of::<i32>())
        .filter_map(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)))
}

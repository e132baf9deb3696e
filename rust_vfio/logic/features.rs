// SPDX-License-Identifier: GPL-2.0

//! The envelope of VFIO_DEVICE_FEATURE: which feature, read or write, or just a question.
//!
//! The flags word holds the number of the feature in its lower half and the operation above. A
//! probe asks whether a feature can be read or written (or both, or exists at all) and has no
//! effect. Without a probe it is exactly one of the two.
//!
//! C file: `vfio_main.c`; C header: `include/linux/vfio.h`.

/// The bits that hold the number of the feature.
const INDEX: u32 = 0xffff;
const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;

/// The size of the header, which the data follows.
pub const HEADER: u32 = 8;

/// The request makes no sense, or not for this feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidFeature;

/// What a feature allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupportedOps {
    /// It can be read.
    Get,
    /// It can be written.
    Set,
    /// Both.
    GetOrSet,
}

impl SupportedOps {
    const fn bits(self) -> u32 {
        match self {
            Self::Get => GET,
            Self::Set => SET,
            Self::GetOrSet => GET | SET,
        }
    }
}

/// What to do with a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing: it was a question, and the answer is yes.
    Nothing,
    /// Read it.
    Get,
    /// Write it.
    Set,
}

/// The flags word of a request that makes sense in itself.
///
/// # Invariants
///
/// No unknown bit is set, and not both [`GET`] and [`SET`] without [`PROBE`].
#[derive(Clone, Copy, Debug)]
pub struct Request(u32);

impl Request {
    /// Takes a flags word apart.
    ///
    /// # Errors
    ///
    /// [`InvalidFeature`] for an unknown bit, or two operations at once.
    pub fn parse(flags: u32) -> Result<Self, InvalidFeature> {
        let known = flags & !(INDEX | GET | SET | PROBE) == 0;
        let both = flags & (GET | SET | PROBE) == GET | SET;
        // INVARIANT: Checked here.
        (known && !both)
            .then_some(Self(flags))
            .ok_or(InvalidFeature)
    }

    /// The number of the feature.
    pub const fn index(self) -> u32 {
        self.0 & INDEX
    }

    /// The whole word, as drivers want it.
    pub const fn flags(self) -> u32 {
        self.0
    }

    /// Decides what to do with a feature that allows `access` and has `needed` bytes of data, of
    /// which the caller brought `len`.
    ///
    /// # Errors
    ///
    /// [`InvalidFeature`] if the feature does not allow it, if nothing was asked for, or if the data is
    /// too short. A question is not about the data.
    pub fn check(
        self,
        access: SupportedOps,
        len: usize,
        needed: usize,
    ) -> Result<Operation, InvalidFeature> {
        let Self(flags) = self;
        let wanted = flags & (GET | SET);
        if wanted & !access.bits() != 0 {
            return Err(InvalidFeature);
        }
        if flags & PROBE != 0 {
            return Ok(Operation::Nothing);
        }
        let operation = match wanted {
            GET => Operation::Get,
            SET => Operation::Set,
            _ => return Err(InvalidFeature),
        };
        (len >= needed).then_some(operation).ok_or(InvalidFeature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        flags: u32,
        access: SupportedOps,
        len: usize,
        needed: usize,
    ) -> Result<Operation, InvalidFeature> {
        Request::parse(flags)?.check(access, len, needed)
    }

    #[test]
    fn parts_of_the_word() {
        let request = Request::parse(GET | 12).unwrap();
        assert_eq!(request.index(), 12);
        assert_eq!(request.flags(), GET | 12);
        assert_eq!(Request::parse(0xffff).unwrap().index(), 0xffff);
    }

    #[test]
    fn unknown_bits() {
        for bit in 19..32 {
            assert!(Request::parse(GET | 1 << bit).is_err());
            assert!(Request::parse(PROBE | 1 << bit).is_err());
        }
    }

    #[test]
    fn reading_and_writing_at_once_is_only_a_question() {
        assert!(Request::parse(GET | SET).is_err());
        let both = PROBE | GET | SET;
        assert_eq!(
            check(both, SupportedOps::GetOrSet, 0, 8),
            Ok(Operation::Nothing)
        );
        assert_eq!(check(both, SupportedOps::Get, 0, 8), Err(InvalidFeature));
    }

    #[test]
    fn a_question_does_not_look_at_the_data() {
        assert_eq!(
            check(PROBE, SupportedOps::Get, 0, 8),
            Ok(Operation::Nothing)
        );
        assert_eq!(
            check(PROBE | GET, SupportedOps::Get, 0, 8),
            Ok(Operation::Nothing)
        );
        assert_eq!(
            check(PROBE | SET, SupportedOps::Get, 8, 8),
            Err(InvalidFeature)
        );
    }

    #[test]
    fn without_a_question_something_must_be_done() {
        assert_eq!(check(0, SupportedOps::GetOrSet, 8, 8), Err(InvalidFeature));
        assert_eq!(check(GET, SupportedOps::GetOrSet, 8, 8), Ok(Operation::Get));
        assert_eq!(check(SET, SupportedOps::GetOrSet, 9, 8), Ok(Operation::Set));
        assert_eq!(check(SET, SupportedOps::Set, 0, 0), Ok(Operation::Set));
    }

    #[test]
    fn data_must_be_there() {
        assert_eq!(check(GET, SupportedOps::Get, 7, 8), Err(InvalidFeature));
        assert_eq!(check(SET, SupportedOps::Get, 0, 8), Err(InvalidFeature));
    }
}

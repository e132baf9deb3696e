// SPDX-License-Identifier: GPL-2.0

//! The header of VFIO_DEVICE_FEATURE: which feature is read, written or probed.
//!
//! The flags word has the number of the feature in its lower half and the operation above it. A
//! probe asks whether a feature can be read, written, or both, or exists at all, and has no effect.
//! A request that is no probe either reads or writes.
//!
//! Corresponds to the checks in `vfio_ioctl_device_feature()` (`drivers/vfio/vfio_main.c`) and to
//! `vfio_check_feature()` (`include/linux/vfio.h`); contract 5.5.

/// The bits that hold the number of the feature.
const INDEX: u32 = 0xffff;
const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;

/// The size of the header, which the data follows, in bytes.
pub const HEADER: u32 = 8;

/// A request that is invalid, or that the feature does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidFeature;

/// The operations that a feature allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupportedOps {
    /// Reading.
    Get,
    /// Writing.
    Set,
    /// Reading and writing.
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

/// The operation that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// None: the request is a probe, and the feature allows what it asks about.
    Nothing,
    /// Reading.
    Get,
    /// Writing.
    Set,
}

/// The flags word of a request, checked as far as that is possible without the feature.
///
/// # Invariants
///
/// No unknown bit is set, and not both [`GET`] and [`SET`] without [`PROBE`].
#[derive(Clone, Copy, Debug)]
pub struct Request(u32);

impl Request {
    /// Checks a flags word.
    ///
    /// # Errors
    ///
    /// [`InvalidFeature`] for an unknown bit, or for reading and writing at once without a probe.
    pub fn parse(flags: u32) -> Result<Self, InvalidFeature> {
        let known = flags & !(INDEX | GET | SET | PROBE) == 0;
        let both = flags & (GET | SET | PROBE) == GET | SET;
        // INVARIANT: `known` and `both` are the two conditions.
        (known && !both)
            .then_some(Self(flags))
            .ok_or(InvalidFeature)
    }

    /// Returns the number of the feature.
    pub const fn index(self) -> u32 {
        self.0 & INDEX
    }

    /// Returns the whole word, for drivers.
    pub const fn flags(self) -> u32 {
        self.0
    }

    /// Returns what to do with a feature that allows `access` and has `needed` bytes of data, for a
    /// request with `len` bytes of data.
    ///
    /// # Errors
    ///
    /// [`InvalidFeature`]
    ///
    /// - if the feature does not allow an operation that the request asks for or about;
    /// - if the request is no probe and asks for no operation;
    /// - if it is no probe and `len` is less than `needed`.
    #[doc(alias = "vfio_check_feature")]
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

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(
    CONFIG_VFIO_RUST_KUNIT_TEST,
    kernel::macros::kunit_tests(vfio_features)
)]
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

// SPDX-License-Identifier: GPL-2.0

//! The checks of a VFIO_DEVICE_SET_IRQS request.
//!
//! A request names a kind of interrupt, a range of vectors of that kind, an action, and the layout
//! of the data behind the header: none, a byte or an eventfd per vector. The driver interprets the
//! action.
//!
//! Corresponds to `vfio_set_irqs_validate_and_prepare()` in `drivers/vfio/vfio_main.c`; contract
//! 4.6.

use super::argsz;

/// The size of the header, which the data follows, in bytes.
const HEADER: u32 = 20;

/// The bits for the layout of the data, of which exactly one is set.
const DATA_NONE: u32 = 1 << 0;
const DATA_BOOL: u32 = 1 << 1;
const DATA_EVENTFD: u32 = 1 << 2;
const DATA_MASK: u32 = DATA_NONE | DATA_BOOL | DATA_EVENTFD;

/// The bits for the action: mask, unmask, trigger.
const ACTION_MASK: u32 = 0b111 << 3;

/// A request that is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidIrqs;

/// The header of a request, as it came from user space.
#[derive(Clone, Copy, Debug)]
pub struct IrqHeader {
    /// The size of the header and of what follows it, in bytes.
    pub argsz: u32,
    /// The layout of the data and the action.
    pub flags: u32,
    /// The kind of interrupt.
    pub index: u32,
    /// The first vector.
    pub start: u32,
    /// The number of vectors.
    pub count: u32,
}

/// A header that was checked as far as that is possible without the number of vectors.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    header: IrqHeader,
    /// The vector behind the last one.
    end: u32,
    /// The number of bytes that user space has behind the header.
    room: u32,
}

impl IrqHeader {
    /// Checks what does not depend on the number of vectors, for a device that has `kinds` kinds of
    /// interrupts.
    ///
    /// # Errors
    ///
    /// [`InvalidIrqs`]
    ///
    /// - if `argsz` is less than the header;
    /// - if the kind does not exist;
    /// - if `start` plus `count` is not below `u32::MAX`;
    /// - if an unknown flag is set.
    pub fn check(self, kinds: u32) -> Result<Checked, InvalidIrqs> {
        let room = argsz::behind(self.argsz, HEADER).map_err(|_| InvalidIrqs)?;
        let end = self.start.checked_add(self.count).ok_or(InvalidIrqs)?;
        let sound =
            self.index < kinds && end != u32::MAX && self.flags & !(DATA_MASK | ACTION_MASK) == 0;
        let checked = Checked {
            header: self,
            end,
            room,
        };
        sound.then_some(checked).ok_or(InvalidIrqs)
    }
}

impl Checked {
    /// Checks the request for a kind of interrupt that has `vectors` vectors. Returns the number of
    /// bytes of data behind the header, or `None` if the layout has no data.
    ///
    /// # Errors
    ///
    /// [`InvalidIrqs`]
    ///
    /// - if the first vector does not exist, even if `count` is 0, or the last one does not;
    /// - unless the flags name exactly one layout of the data;
    /// - if `argsz` is too small for the data.
    pub fn data_len(self, vectors: u32) -> Result<Option<u64>, InvalidIrqs> {
        let IrqHeader {
            flags,
            start,
            count,
            ..
        } = self.header;

        // The first vector must exist even if `count` is 0.
        if start >= vectors || self.end > vectors {
            return Err(InvalidIrqs);
        }
        let size = match flags & DATA_MASK {
            DATA_NONE => return Ok(None),
            DATA_BOOL => 1,
            DATA_EVENTFD => 4,
            _ => return Err(InvalidIrqs),
        };
        // The product of two 32-bit numbers.
        let len = u64::from(count).wrapping_mul(size);
        if len > u64::from(self.room) {
            return Err(InvalidIrqs);
        }
        Ok(Some(len))
    }
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(CONFIG_VFIO_RUST_KUNIT_TEST, kernel::macros::kunit_tests(vfio_irqs))]
mod tests {
    use super::*;

    const TRIGGER: u32 = 1 << 5;

    /// Checks a request for a device with two kinds of interrupts and eight vectors of each.
    fn len(
        argsz: u32,
        flags: u32,
        index: u32,
        start: u32,
        count: u32,
    ) -> Result<Option<u64>, InvalidIrqs> {
        let header = IrqHeader {
            argsz,
            flags,
            index,
            start,
            count,
        };
        header.check(2)?.data_len(8)
    }

    #[test]
    fn data_is_as_long_as_its_elements() {
        assert_eq!(len(20, DATA_NONE | TRIGGER, 0, 0, 8), Ok(None));
        assert_eq!(len(28, DATA_BOOL | TRIGGER, 1, 0, 8), Ok(Some(8)));
        assert_eq!(len(52, DATA_EVENTFD | TRIGGER, 1, 0, 8), Ok(Some(32)));
        assert_eq!(len(99, DATA_EVENTFD | TRIGGER, 1, 7, 1), Ok(Some(4)));
        assert_eq!(len(20, DATA_EVENTFD, 1, 0, 0), Ok(Some(0)));
    }

    #[test]
    fn data_must_be_there() {
        assert_eq!(len(19, DATA_NONE, 0, 0, 1), Err(InvalidIrqs));
        assert_eq!(len(20, DATA_BOOL, 0, 0, 1), Err(InvalidIrqs));
        assert_eq!(len(23, DATA_EVENTFD, 0, 0, 1), Err(InvalidIrqs));
    }

    #[test]
    fn exactly_one_layout() {
        for flags in [
            0,
            DATA_NONE | DATA_BOOL,
            DATA_BOOL | DATA_EVENTFD,
            DATA_MASK,
        ] {
            assert_eq!(len(100, flags | TRIGGER, 0, 0, 1), Err(InvalidIrqs));
        }
    }

    #[test]
    fn unknown_bits_and_kinds() {
        assert_eq!(len(100, DATA_NONE | 1 << 6, 0, 0, 1), Err(InvalidIrqs));
        assert_eq!(len(100, DATA_NONE | 1 << 31, 0, 0, 1), Err(InvalidIrqs));
        assert_eq!(len(100, DATA_NONE, 2, 0, 1), Err(InvalidIrqs));
        assert_eq!(len(100, DATA_NONE, u32::MAX, 0, 1), Err(InvalidIrqs));
    }

    #[test]
    fn any_combination_of_actions_is_the_drivers_business() {
        assert_eq!(len(20, DATA_NONE, 0, 0, 1), Ok(None));
        assert_eq!(len(20, DATA_NONE | ACTION_MASK, 0, 0, 1), Ok(None));
    }

    #[test]
    fn vectors_must_exist() {
        assert_eq!(len(20, DATA_NONE, 0, 7, 1), Ok(None));
        assert_eq!(len(20, DATA_NONE, 0, 7, 2), Err(InvalidIrqs));
        assert_eq!(len(20, DATA_NONE, 0, 7, 0), Ok(None));
        assert_eq!(len(20, DATA_NONE, 0, 8, 0), Err(InvalidIrqs));
        assert_eq!(len(20, DATA_NONE, 0, u32::MAX, 1), Err(InvalidIrqs));
        assert_eq!(len(20, DATA_NONE, 0, 1, u32::MAX), Err(InvalidIrqs));
    }

    #[test]
    fn the_end_must_stay_below_the_largest_number() {
        let header = |start, count| IrqHeader {
            argsz: 20,
            flags: DATA_NONE,
            index: 0,
            start,
            count,
        };
        assert!(header(1, u32::MAX - 1).check(1).is_err());
        assert!(header(1, u32::MAX - 2).check(1).is_ok());
    }
}

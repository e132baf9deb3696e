// SPDX-License-Identifier: GPL-2.0

//! The layout of capability chains.
//!
//! The structure that an ioctl returns can be followed by a chain of capabilities. Each begins with
//! a header of 8 bytes (id, version, offset of the next one or 0) at a multiple of 8. While a
//! chain is built, offsets count from its first byte. User space gets offsets that count from the
//! structure in front of it, so they are shifted at the end.
//!
//! The functions work on the bytes of the chain. Drivers in C change the same bytes, so nothing
//! here relies on the links.
//!
//! Corresponds to `vfio_info_cap_add()` and `vfio_info_cap_shift()` in
//! `drivers/vfio/vfio_main.c`; contract 4.3.

/// The alignment of headers, in bytes.
pub const ALIGN: usize = 8;
/// The size of a header, in bytes.
pub const HEADER: usize = 8;

/// The offset in a header of the link to the next capability, in bytes.
const NEXT: usize = 4;

/// A chain whose links are wrong, or would be after the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Returns the number of bytes that a capability of `size` bytes, header included, takes.
///
/// # Errors
///
/// [`Malformed`] if `size` is less than a header, or the result overflows.
pub fn padded(size: usize) -> Result<usize, Malformed> {
    if size < HEADER {
        return Err(Malformed);
    }
    size.checked_next_multiple_of(ALIGN).ok_or(Malformed)
}

/// Makes the bytes of `chain` from offset `at` on the last capability: writes a header there, and
/// links the capability that was last to it. The other bytes stay as they are.
///
/// # Errors
///
/// [`Malformed`]; the chain is then unchanged.
pub fn append(chain: &mut [u8], at: usize, id: u16, version: u16) -> Result<(), Malformed> {
    let link = u32::try_from(at).map_err(|_| Malformed)?;
    let last = match at {
        0 => None,
        _ => Some(last(chain.get(..at).ok_or(Malformed)?)?),
    };

    let header = chain.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    let header: &mut [u8; HEADER] = header.ok_or(Malformed)?;
    let [i0, i1] = id.to_ne_bytes();
    let [v0, v1] = version.to_ne_bytes();
    *header = [i0, i1, v0, v1, 0, 0, 0, 0];

    match last {
        Some(last) => set_next(chain, last, link),
        None => Ok(()),
    }
}

/// Adds `by` to all links, so that they count from `by` bytes in front of the chain.
///
/// # Errors
///
/// [`Malformed`]; the chain may then be shifted in part.
pub fn shift(chain: &mut [u8], by: usize) -> Result<(), Malformed> {
    let by = u32::try_from(by).map_err(|_| Malformed)?;
    let mut at = 0;
    while let Some(next) = next(chain, at)? {
        let shifted = next.checked_add(by).ok_or(Malformed)?;
        set_next(chain, at, shifted)?;
        at = usize::try_from(next).map_err(|_| Malformed)?;
    }
    Ok(())
}

/// Returns the offset of the last capability of a chain.
fn last(chain: &[u8]) -> Result<usize, Malformed> {
    let mut at = 0;
    while let Some(next) = next(chain, at)? {
        at = usize::try_from(next).map_err(|_| Malformed)?;
    }
    Ok(at)
}

/// Returns the offset of the capability after the one at `at`, if there is one.
///
/// # Errors
///
/// [`Malformed`] for a link that leads backwards or to itself, so that a walk always ends.
fn next(chain: &[u8], at: usize) -> Result<Option<u32>, Malformed> {
    let from = at.checked_add(NEXT).ok_or(Malformed)?;
    let bytes = chain.get(from..).and_then(<[u8]>::first_chunk);
    match u32::from_ne_bytes(*bytes.ok_or(Malformed)?) {
        0 => Ok(None),
        next if usize::try_from(next).is_ok_and(|next| next > at) => Ok(Some(next)),
        _ => Err(Malformed),
    }
}

/// Links the capability at `at` to the one at `next`.
fn set_next(chain: &mut [u8], at: usize, next: u32) -> Result<(), Malformed> {
    let from = at.checked_add(NEXT).ok_or(Malformed)?;
    let bytes = chain.get_mut(from..).and_then(<[u8]>::first_chunk_mut);
    *bytes.ok_or(Malformed)? = next.to_ne_bytes();
    Ok(())
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(CONFIG_VFIO_RUST_KUNIT_TEST, kernel::macros::kunit_tests(vfio_caps))]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_padded_to_the_alignment() {
        assert_eq!(padded(0), Err(Malformed));
        assert_eq!(padded(7), Err(Malformed));
        assert_eq!(padded(8), Ok(8));
        assert_eq!(padded(9), Ok(16));
        assert_eq!(padded(usize::MAX), Err(Malformed));
    }

    #[test]
    fn three_capabilities_in_a_row() {
        let mut chain = [0; 48];
        append(&mut chain[..16], 0, 1, 1).unwrap();
        append(&mut chain[..40], 16, 2, 1).unwrap();
        append(&mut chain[..48], 40, 3, 7).unwrap();
        assert_eq!(next(&chain, 0), Ok(Some(16)));
        assert_eq!(next(&chain, 16), Ok(Some(40)));
        assert_eq!(next(&chain, 40), Ok(None));

        shift(&mut chain, 32).unwrap();
        assert_eq!(next(&chain, 0), Ok(Some(48)));
        assert_eq!(next(&chain, 16), Ok(Some(72)));
        assert_eq!(next(&chain, 40), Ok(None));
    }

    #[test]
    fn a_single_capability_has_no_link_to_shift() {
        let mut chain = [0; 8];
        append(&mut chain, 0, 5, 1).unwrap();
        let before = chain;
        shift(&mut chain, 32).unwrap();
        assert_eq!(chain, before);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let mut chain = [0; 24];
        set_next(&mut chain, 0, 24).unwrap();
        assert_eq!(append(&mut chain, 16, 1, 1), Err(Malformed));
        assert_eq!(shift(&mut chain, 32), Err(Malformed));

        let mut circle = [0; 16];
        set_next(&mut circle, 0, 8).unwrap();
        set_next(&mut circle, 8, 8).unwrap();
        assert_eq!(shift(&mut circle, 32), Err(Malformed));
    }

    #[test]
    fn no_room_for_a_header() {
        assert_eq!(append(&mut [0; 7], 0, 1, 1), Err(Malformed));
        assert_eq!(append(&mut [0; 8], 8, 1, 1), Err(Malformed));
        assert_eq!(shift(&mut [], 32), Err(Malformed));
    }
}

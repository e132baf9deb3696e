// SPDX-License-Identifier: GPL-2.0
//! The chain of capabilities behind an information structure.

use vfio_uapi::InfoCapHeader;

use crate::request::{from_bytes, Plain};

/// One capability of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Where it begins, counted from the start of the structure.
    pub offset: usize,
    /// What kind it is.
    pub id: u16,
    /// Which layout it has.
    pub version: u16,
    /// Its bytes from the header to the next capability, or to the end.
    pub bytes: Vec<u8>,
}

impl Cap {
    /// A value in it; the header has the first 8 bytes.
    pub fn get<T: Plain>(&self, offset: usize) -> T {
        from_bytes(self.bytes.get(offset..).unwrap_or_default())
            .unwrap_or_else(|| panic!("capability {} ends before byte {offset}", self.id))
    }
}

/// Follows the chain in an answer, from `cap_offset` on.
///
/// # Panics
///
/// If it does not hold what every chain must: capabilities lie behind each
/// other, begin at multiples of 8 and end within the answer.
pub fn chain(answer: &[u8], cap_offset: u32) -> Vec<Cap> {
    let mut caps = Vec::new();
    let mut at = cap_offset as usize;
    while at != 0 {
        assert_eq!(at % 8, 0, "capability at {at}");
        let header: InfoCapHeader = from_bytes(answer.get(at..).unwrap_or_default())
            .unwrap_or_else(|| panic!("capability at {at}, but {} bytes in all", answer.len()));
        let next = header.next as usize;
        assert!(
            next == 0 || next > at,
            "the capability behind {at} is at {next}"
        );
        let end = if next == 0 { answer.len() } else { next };
        caps.push(Cap {
            offset: at,
            id: header.id,
            version: header.version,
            bytes: answer.get(at..end).unwrap_or_default().to_vec(),
        });
        at = next;
    }
    caps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::bytes_of;

    fn header(id: u16, next: u32) -> InfoCapHeader {
        InfoCapHeader {
            id,
            version: 1,
            next,
        }
    }

    #[test]
    fn no_capability_is_an_empty_chain() {
        assert_eq!(chain(&[0; 24], 0), []);
    }

    #[test]
    fn each_capability_ends_where_the_next_begins() {
        let mut answer = vec![0; 24];
        answer.extend_from_slice(bytes_of(&header(7, 40)));
        answer.extend_from_slice(&[1; 8]);
        answer.extend_from_slice(bytes_of(&header(9, 0)));
        answer.extend_from_slice(&[2; 4]);
        let caps = chain(&answer, 24);
        assert_eq!(
            caps.iter()
                .map(|cap| (cap.id, cap.offset))
                .collect::<Vec<_>>(),
            [(7, 24), (9, 40)]
        );
        assert_eq!(caps[0].bytes.len(), 16);
        assert_eq!(caps[1].get::<u32>(8), 0x0202_0202);
    }

    #[test]
    #[should_panic(expected = "the capability behind 24 is at 24")]
    fn a_chain_that_does_not_advance_is_refused() {
        let mut answer = vec![0; 24];
        answer.extend_from_slice(bytes_of(&header(7, 24)));
        chain(&answer, 24);
    }
}

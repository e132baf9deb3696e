// SPDX-License-Identifier: GPL-2.0

//! Capability chains: what was built is what a reader finds.

use proptest::prelude::*;
use vfio_logic_tests::logic::caps::{
    append,
    padded,
    shift,
    ALIGN, //
};

/// Follows a chain as user space does. Offsets count from the structure in front of it.
fn parse(structure: usize, chain: &[u8]) -> Vec<(u16, u16, usize)> {
    let mut found = Vec::new();
    let mut at = structure;
    while at != 0 {
        let header = &chain[at - structure..][..8];
        let id = u16::from_ne_bytes([header[0], header[1]]);
        let version = u16::from_ne_bytes([header[2], header[3]]);
        found.push((id, version, at));
        at = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]) as usize;
    }
    found
}

proptest! {
    #[test]
    fn reads_as_built(
        caps in prop::collection::vec((any::<u16>(), any::<u16>(), 8_usize..80), 1..12),
        structure in (1_usize..20).prop_map(|n| n * ALIGN),
    ) {
        let mut chain = Vec::new();
        let mut expected = Vec::new();
        for &(id, version, size) in &caps {
            let at = chain.len();
            chain.resize(at + padded(size).unwrap(), 0);
            append(&mut chain, at, id, version).unwrap();
            // Whatever a driver writes behind the header does not matter.
            chain[at + 8..].fill(0xff);
            expected.push((id, version, structure + at));
        }
        shift(&mut chain, structure).unwrap();
        prop_assert_eq!(parse(structure, &chain), expected);
    }

    #[test]
    fn padding_is_the_next_multiple(size in 8_usize..1 << 20) {
        let padded = padded(size).unwrap();
        prop_assert!(padded % ALIGN == 0 && padded >= size && padded - size < ALIGN);
    }

    #[test]
    fn garbage_is_refused_or_shifted_but_never_a_panic(
        mut chain in prop::collection::vec(any::<u8>(), 0..64),
        at: usize,
        by: usize,
    ) {
        let _ = append(&mut chain, at % 72, 1, 1);
        let _ = shift(&mut chain, by);
    }
}

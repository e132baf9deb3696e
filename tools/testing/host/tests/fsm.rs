// SPDX-License-Identifier: GPL-2.0

//! The migration state machine against its raw table.

use proptest::prelude::*;
use vfio_logic_tests::logic::fsm::{
    next,
    Abilities,
    MigrationState, //
};

/// The next state for every pair, for a device that has all of them: row is where it is, column
/// where it wants to be, both by number.
const TABLE: [[u32; 8]; 8] = [
    [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 1, 5, 3, 4, 5, 5, 5],
    [0, 5, 2, 5, 5, 5, 6, 5],
    [0, 1, 1, 3, 1, 1, 0, 0],
    [0, 1, 1, 1, 4, 1, 1, 1],
    [0, 1, 2, 1, 1, 5, 2, 7],
    [0, 2, 2, 7, 2, 2, 6, 7],
    [0, 5, 5, 3, 5, 5, 6, 7],
];

/// The flags a device must have for each state.
const NEEDS: [u32; 8] = [u32::MAX, 1, 1, 1, 1, 3, 5, 7];

/// What the table says, with the states left out that the device lacks. Zero: refused.
fn model(flags: u32, current: u32, wanted: u32) -> u32 {
    let has = |state: u32| {
        let need = NEEDS.get(state as usize).copied().unwrap_or(u32::MAX);
        need != u32::MAX && flags & need == need
    };
    if !has(current) || !has(wanted) {
        return 0;
    }
    let mut step = TABLE[current as usize][wanted as usize];
    while step != 0 && !has(step) {
        step = TABLE[step as usize][wanted as usize];
    }
    step
}

proptest! {
    #[test]
    fn agrees_with_the_table(flags: u32, current in 0_u32..10, wanted in 0_u32..10) {
        let step = next(Abilities::from_raw(flags), current, wanted);
        prop_assert_eq!(step.map_or(0, |state| state as u32), model(flags, current, wanted));
    }

    #[test]
    fn arrives_in_at_most_four_steps(flags in 0_u32..8, current in 0_u32..8, wanted in 0_u32..8) {
        let abilities = Abilities::from_raw(flags);
        let mut at = current;
        let mut steps = 0;
        while let Ok(step) = next(abilities, at, wanted) {
            at = step as u32;
            steps += 1;
            if at == wanted {
                break;
            }
            prop_assert!(steps < 4);
        }
        // Either it never moved or it arrived: no path is given up half-way.
        prop_assert!(steps == 0 || at == wanted);
    }

    #[test]
    fn numbers_survive_the_round_trip(raw: u32) {
        match MigrationState::from_raw(raw) {
            Some(state) => prop_assert_eq!(state as u32, raw),
            None => prop_assert!(raw > 7),
        }
    }
}

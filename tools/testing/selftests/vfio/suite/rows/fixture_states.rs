// SPDX-License-Identifier: GPL-2.0
//! The migration states and the ways between them: rows F091 and F092.
//!
//! The core tells a driver one step at a time, so the fixture asks for each.

use rustix::io::{Errno, Result};
use vfio_selftests::uapi;

use crate::{
    fixture::{abi, expect_warn, Device, Fixture, Op},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F091_migration_states_exhaustive,
    F092_migration_states_illegal
];

const STOP_COPY: u64 = uapi::MIGRATION_STOP_COPY;
const P2P: u64 = uapi::MIGRATION_P2P;
const PRE_COPY: u64 = uapi::MIGRATION_PRE_COPY;

/// The states in the words of the contract, in the order of their numbers.
const STATES: [&str; 8] = ["ERR", "STOP", "RUN", "SC", "RES", "RP", "PC", "PCP"];

/// Section 5.4 of the contract: from, to, and the path for each set of flags:
/// stop-copy; with P2P; with pre-copy; with both. `=` is one step, `!` is
/// EINVAL, `-` is a state that the set does not have.
const PATHS: &str = "
    STOP RUN  = RP,RUN        =           RP,RUN
    STOP SC   = =             =           =
    STOP RES  = =             =           =
    STOP RP   ! =             !           =
    STOP PC   ! !             RUN,PC      RP,RUN,PC
    STOP PCP  ! !             !           RP,PCP
    RUN  STOP = RP,STOP       =           RP,STOP
    RUN  SC   STOP,SC RP,STOP,SC STOP,SC  RP,STOP,SC
    RUN  RES  STOP,RES RP,STOP,RES STOP,RES RP,STOP,RES
    RUN  RP   ! =             !           =
    RUN  PC   ! !             =           =
    RUN  PCP  ! !             !           RP,PCP
    SC   STOP = =             =           =
    SC   RUN  STOP,RUN STOP,RP,RUN STOP,RUN STOP,RP,RUN
    SC   RES  STOP,RES STOP,RES STOP,RES  STOP,RES
    SC   RP   ! STOP,RP       !           STOP,RP
    SC   PC   ! !             !           !
    SC   PCP  ! !             !           !
    RES  STOP = =             =           =
    RES  RUN  STOP,RUN STOP,RP,RUN STOP,RUN STOP,RP,RUN
    RES  SC   STOP,SC STOP,SC STOP,SC     STOP,SC
    RES  RP   ! STOP,RP       !           STOP,RP
    RES  PC   ! !             STOP,RUN,PC STOP,RP,RUN,PC
    RES  PCP  ! !             !           STOP,RP,PCP
    RP   STOP - =             -           =
    RP   RUN  - =             -           =
    RP   SC   - STOP,SC       -           STOP,SC
    RP   RES  - STOP,RES      -           STOP,RES
    RP   PC   - !             -           RUN,PC
    RP   PCP  - !             -           =
    PC   STOP - -             RUN,STOP    RUN,RP,STOP
    PC   RUN  - -             =           =
    PC   SC   - -             =           PCP,SC
    PC   RES  - -             RUN,STOP,RES RUN,RP,STOP,RES
    PC   RP   - -             !           RUN,RP
    PC   PCP  - -             !           =
    PCP  STOP - -             -           RP,STOP
    PCP  RUN  - -             -           RP,RUN
    PCP  SC   - -             -           =
    PCP  RES  - -             -           RP,STOP,RES
    PCP  RP   - -             -           =
    PCP  PC   - -             -           =
";

const FLAG_SETS: [u64; 4] = [
    STOP_COPY,
    STOP_COPY | P2P,
    STOP_COPY | PRE_COPY,
    STOP_COPY | P2P | PRE_COPY,
];

/// One step of the core's state machine: its answer, and what it wrote over 77.
fn step(device: &Device<'_>, flags: u64, from: u64, to: u64) -> (Result<()>, u64) {
    let call = device
        .raw_call(Op::MigNext, &[from, to, flags, 77])
        .expect("the request itself");
    (crate::fixture::answer(call.result).map(drop), call.out[0])
}

/// The path that the core makes a driver go, in the notation of [`PATHS`].
fn path(device: &Device<'_>, flags: u64, from: usize, to: usize) -> String {
    let mut names = Vec::new();
    let mut at = from as u64;
    while at != to as u64 {
        match step(device, flags, at, to as u64) {
            (Ok(()), next) => at = next,
            (Err(Errno::INVAL), _) => return "!".into(),
            (Err(error), _) => return error.to_string(),
        }
        names.push(STATES[at as usize]);
        assert!(
            names.len() < 8,
            "{} to {} goes round and round",
            STATES[from],
            STATES[to]
        );
    }
    match names.len() {
        1 => "=".into(),
        _ => names.join(","),
    }
}

fn F091_migration_states_exhaustive() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().flags(abi::NO_REGISTER).create()?;
    let number = |name: &str| STATES.iter().position(|&state| state == name).expect(name);
    let mut checked = 0;
    // Each warning is a page of log: one for each place where a driver cannot be.
    let mut warned = Vec::new();
    for line in PATHS.lines().filter(|line| !line.trim().is_empty()) {
        let [from, to, paths @ ..] = &line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        assert_eq!(paths.len(), 4, "{line}");
        let (from, to) = (number(from), number(to));
        for (flags, &expected) in FLAG_SETS.into_iter().zip(paths) {
            checked += 1;
            let mut expected = expected;
            let found = match expected {
                "-" if warned.contains(&(flags, from)) => continue,
                "-" => {
                    warned.push((flags, from));
                    expected = "!";
                    expect_warn(|| path(&device, flags, from, to))
                }
                _ => path(&device, flags, from, to),
            };
            assert_eq!(found, expected, "flags {flags}: {line}");
        }
    }
    // All pairs of two different states but the error.
    assert_eq!(checked, 4 * 7 * 6);
    // Staying is always possible, where one can be.
    for flags in FLAG_SETS {
        for state in 1..8 {
            let usable = match state {
                5 => flags & P2P != 0,
                6 => flags & PRE_COPY != 0,
                7 => flags & P2P != 0 && flags & PRE_COPY != 0,
                _ => true,
            };
            if usable {
                assert_eq!(step(&device, flags, state, state), (Ok(()), state));
            }
        }
    }
    Ok(())
}

fn F092_migration_states_illegal() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().flags(abi::NO_REGISTER).create()?;
    const NO: Result<()> = Err(Errno::INVAL);
    let all = FLAG_SETS[3];
    for from in 1..8 {
        assert_eq!(
            step(&device, all, from, 0),
            (NO, 77),
            "the error cannot be asked for"
        );
        for to in [8, 9, u64::from(u32::MAX)] {
            assert_eq!(step(&device, all, from, to), (NO, 77), "state {to}");
        }
    }
    // Known states between which there is no way: the error is written, too.
    assert_eq!(step(&device, all, 3, 6), (NO, 0));
    assert_eq!(step(&device, all, 3, 7), (NO, 0));
    // A driver that claims to be nowhere.
    for from in [8, u64::from(u32::MAX)] {
        assert_eq!(expect_warn(|| step(&device, all, from, 1)), (NO, 77));
    }
    // No way out of the error. The C core warns here as well.
    assert_eq!(expect_warn(|| step(&device, all, 0, 2)).0, NO);
    // A device that does not even say it can stop has no states.
    assert_eq!(expect_warn(|| step(&device, 0, 2, 1)).0, NO);
    Ok(())
}

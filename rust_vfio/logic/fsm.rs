// SPDX-License-Identifier: GPL-2.0

//! The migration state machine: which single step leads from one state towards another.
//!
//! A driver asks for the next step, takes it, and asks again until the device is in the wanted
//! state. Devices differ in which states they have. A step to a state that the device lacks is
//! replaced by the step after it, so a driver sees only steps between states that it has declared.
//!
//! Two states are special. A driver enters [`MigrationState::Error`] by itself when it fails; user
//! space cannot ask for it, and only a reset of the device leaves it. From
//! [`MigrationState::StopCopy`] no path leads to the pre-copy states, because the data that the
//! saving file has returned by then is final.
//!
//! Corresponds to `vfio_mig_get_next_state()` in `drivers/vfio/vfio_main.c`; contract 5.1 to 5.4.

/// A migration state, with the number it has in the user ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MigrationState {
    /// The device failed and must be reset.
    Error = 0,
    /// Neither DMA nor interrupts nor internal activity.
    Stop = 1,
    /// Normal operation.
    Running = 2,
    /// Stopped, and the saving file returns the final data of the device.
    StopCopy = 3,
    /// Stopped, and the resuming file accepts data for the device.
    Resuming = 4,
    /// Running, but without starting DMA to other devices.
    RunningP2p = 5,
    /// Running, and the saving file returns data in advance.
    PreCopy = 6,
    /// [`MigrationState::PreCopy`] and [`MigrationState::RunningP2p`] at once.
    PreCopyP2p = 7,
}

impl MigrationState {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Error,
        Self::Stop,
        Self::Running,
        Self::StopCopy,
        Self::Resuming,
        Self::RunningP2p,
        Self::PreCopy,
        Self::PreCopyP2p,
    ];

    /// Returns the name of the state, as it is in the names of the user ABI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Stop => "STOP",
            Self::Running => "RUNNING",
            Self::StopCopy => "STOP_COPY",
            Self::Resuming => "RESUMING",
            Self::RunningP2p => "RUNNING_P2P",
            Self::PreCopy => "PRE_COPY",
            Self::PreCopyP2p => "PRE_COPY_P2P",
        }
    }

    /// Returns the state with the number `raw`, if there is one.
    pub fn from_raw(raw: u32) -> Option<Self> {
        let index = usize::try_from(raw).ok()?;
        Self::ALL.get(index).copied()
    }
}

/// The optional parts of the machine that a device has: `migration_flags` of the user ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities(u32);

impl Abilities {
    /// The states of saving and resuming while the device is stopped. Nothing works without it.
    pub const STOP_COPY: Self = Self(1 << 0);
    /// The states in which the device runs without starting DMA to other devices.
    pub const P2P: Self = Self(1 << 1);
    /// The states in which the saving file returns data while the device runs.
    pub const PRE_COPY: Self = Self(1 << 2);

    /// Returns the set with the bits of `flags`.
    pub const fn from_raw(flags: u32) -> Self {
        Self(flags)
    }

    /// Returns whether every ability of `other` is in this set too.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the abilities that are in this set, in `other`, or in both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether user space can ask a device with these abilities for `state`.
    pub const fn has(self, state: MigrationState) -> bool {
        let needed = match state {
            MigrationState::Error => return false,
            MigrationState::Stop
            | MigrationState::Running
            | MigrationState::StopCopy
            | MigrationState::Resuming => Self::STOP_COPY,
            MigrationState::RunningP2p => Self::STOP_COPY.with(Self::P2P),
            MigrationState::PreCopy => Self::STOP_COPY.with(Self::PRE_COPY),
            MigrationState::PreCopyP2p => Self::STOP_COPY.with(Self::P2P).with(Self::PRE_COPY),
        };
        self.contains(needed)
    }
}

/// The reason why there is no next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArcRefusal {
    /// A current state that the device does not have: a bug of its driver.
    ImpossibleCurrent,
    /// The current state [`MigrationState::Error`], which only a reset leaves.
    InError,
    /// A wanted state that the device does not have, or that nobody may ask for.
    UnknownTarget,
    /// Two states that the device has, without a path from one to the other.
    NoPath,
}

/// Returns the first step from `current` to `wanted` on a device that has `abilities`.
///
/// Both states are numbers of the user ABI; any number may be passed. If they are equal, the result
/// is the same state.
///
/// # Errors
///
/// An [`ArcRefusal`], of which the first two are about `current` and checked before the others.
#[doc(alias = "vfio_mig_get_next_state")]
pub fn next(abilities: Abilities, current: u32, wanted: u32) -> Result<MigrationState, ArcRefusal> {
    let current = match MigrationState::from_raw(current) {
        Some(MigrationState::Error) => return Err(ArcRefusal::InError),
        Some(state) if abilities.has(state) => state,
        _ => return Err(ArcRefusal::ImpossibleCurrent),
    };
    let wanted = match MigrationState::from_raw(wanted) {
        Some(state) if abilities.has(state) => state,
        _ => return Err(ArcRefusal::UnknownTarget),
    };

    // The loop ends, because every step gets closer to `wanted`, which the device has.
    let mut step = towards(current, wanted).ok_or(ArcRefusal::NoPath)?;
    while !abilities.has(step) {
        step = towards(step, wanted).ok_or(ArcRefusal::NoPath)?;
    }
    Ok(step)
}

/// Returns the first step from `from` to `to` on a device that has every state.
fn towards(from: MigrationState, to: MigrationState) -> Option<MigrationState> {
    use MigrationState::*;

    if from == to && from != Error {
        return Some(to);
    }
    Some(match (from, to) {
        (Error, _) | (_, Error) => return None,

        // The two transfer states lead to `Stop` only. `StopCopy` does not lead to pre-copying.
        (StopCopy, PreCopy | PreCopyP2p) => return None,
        (StopCopy | Resuming, _) => Stop,
        (Stop, StopCopy | Resuming) => to,

        // All other paths between `Stop` and `Running` pass the peer-to-peer states, so that
        // several devices can stop DMA to each other before any of them stops.
        (Stop, _) => RunningP2p,
        (Running, PreCopy) => PreCopy,
        (Running, _) => RunningP2p,
        (RunningP2p, Running | PreCopy) => Running,
        (RunningP2p, PreCopyP2p) => PreCopyP2p,
        (RunningP2p, _) => Stop,

        // Pre-copying is either finished through `StopCopy`, or given up for a running state.
        (PreCopy, StopCopy | PreCopyP2p) => PreCopyP2p,
        (PreCopy, _) => Running,
        (PreCopyP2p, PreCopy | StopCopy) => to,
        (PreCopyP2p, _) => RunningP2p,
    })
}

#[cfg(any(test, CONFIG_VFIO_RUST_KUNIT_TEST))]
#[cfg_attr(CONFIG_VFIO_RUST_KUNIT_TEST, kernel::macros::kunit_tests(vfio_fsm))]
mod tests {
    use super::{MigrationState::*, *};

    const BASE: Abilities = Abilities::STOP_COPY;
    const P2P: Abilities = BASE.with(Abilities::P2P);
    const PRE: Abilities = BASE.with(Abilities::PRE_COPY);
    const FULL: Abilities = P2P.with(Abilities::PRE_COPY);

    /// One line per pair of states: the path for BASE, P2P, PRE and FULL. `-`: the device cannot be
    /// in the first state; `x`: refused; otherwise the states passed, the last one included.
    const PATHS: &str = "
        STOP RUN | RUN            | RP RUN         | RUN           | RP RUN
        STOP SC  | SC             | SC             | SC            | SC
        STOP RES | RES            | RES            | RES           | RES
        STOP RP  | x              | RP             | x             | RP
        STOP PC  | x              | x              | RUN PC        | RP RUN PC
        STOP PCP | x              | x              | x             | RP PCP
        RUN STOP | STOP           | RP STOP        | STOP          | RP STOP
        RUN SC   | STOP SC        | RP STOP SC     | STOP SC       | RP STOP SC
        RUN RES  | STOP RES       | RP STOP RES    | STOP RES      | RP STOP RES
        RUN RP   | x              | RP             | x             | RP
        RUN PC   | x              | x              | PC            | PC
        RUN PCP  | x              | x              | x             | RP PCP
        SC STOP  | STOP           | STOP           | STOP          | STOP
        SC RUN   | STOP RUN       | STOP RP RUN    | STOP RUN      | STOP RP RUN
        SC RES   | STOP RES       | STOP RES       | STOP RES      | STOP RES
        SC RP    | x              | STOP RP        | x             | STOP RP
        SC PC    | x              | x              | x             | x
        SC PCP   | x              | x              | x             | x
        RES STOP | STOP           | STOP           | STOP          | STOP
        RES RUN  | STOP RUN       | STOP RP RUN    | STOP RUN      | STOP RP RUN
        RES SC   | STOP SC        | STOP SC        | STOP SC       | STOP SC
        RES RP   | x              | STOP RP        | x             | STOP RP
        RES PC   | x              | x              | STOP RUN PC   | STOP RP RUN PC
        RES PCP  | x              | x              | x             | STOP RP PCP
        RP STOP  | -              | STOP           | -             | STOP
        RP RUN   | -              | RUN            | -             | RUN
        RP SC    | -              | STOP SC        | -             | STOP SC
        RP RES   | -              | STOP RES       | -             | STOP RES
        RP PC    | -              | x              | -             | RUN PC
        RP PCP   | -              | x              | -             | PCP
        PC STOP  | -              | -              | RUN STOP      | RUN RP STOP
        PC RUN   | -              | -              | RUN           | RUN
        PC SC    | -              | -              | SC            | PCP SC
        PC RES   | -              | -              | RUN STOP RES  | RUN RP STOP RES
        PC RP    | -              | -              | x             | RUN RP
        PC PCP   | -              | -              | x             | PCP
        PCP STOP | -              | -              | -             | RP STOP
        PCP RUN  | -              | -              | -             | RP RUN
        PCP SC   | -              | -              | -             | SC
        PCP RES  | -              | -              | -             | RP STOP RES
        PCP RP   | -              | -              | -             | RP
        PCP PC   | -              | -              | -             | PC";

    fn by_short_name(name: &str) -> MigrationState {
        match name {
            "STOP" => Stop,
            "RUN" => Running,
            "SC" => StopCopy,
            "RES" => Resuming,
            "RP" => RunningP2p,
            "PC" => PreCopy,
            "PCP" => PreCopyP2p,
            other => panic!("no state is called {other}"),
        }
    }

    #[test]
    fn every_path_is_the_documented_one() {
        let mut pairs = 0;
        for line in PATHS.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let mut fields = line.split('|').map(str::trim);
            let mut pair = fields.next().unwrap().split_whitespace().map(by_short_name);
            let (from, to) = (pair.next().unwrap(), pair.next().unwrap());
            for (abilities, path) in [BASE, P2P, PRE, FULL].into_iter().zip(fields) {
                let first = next(abilities, from as u32, to as u32);
                match path {
                    "-" => assert_eq!(first, Err(ArcRefusal::ImpossibleCurrent)),
                    "x" => assert!(matches!(
                        first,
                        Err(ArcRefusal::UnknownTarget | ArcRefusal::NoPath)
                    )),
                    _ => {
                        let mut at = from;
                        for step in path.split_whitespace().map(by_short_name) {
                            at = next(abilities, at as u32, to as u32).unwrap();
                            assert_eq!(at, step);
                        }
                        assert_eq!(at, to);
                    }
                }
            }
            pairs += 1;
        }
        assert_eq!(pairs, 7 * 6);
    }

    #[test]
    fn a_driver_implements_only_so_many_arcs() {
        for (abilities, expected) in [(BASE, 6), (P2P, 8), (PRE, 9), (FULL, 15)] {
            let mut arcs = [[false; 8]; 8];
            for from in MigrationState::ALL {
                for to in MigrationState::ALL {
                    if let Ok(step) = next(abilities, from as u32, to as u32) {
                        assert!(abilities.has(step));
                        arcs[from as usize][step as usize] |= step != from;
                    }
                }
            }
            assert_eq!(arcs.iter().flatten().filter(|&&arc| arc).count(), expected);
        }
    }

    #[test]
    fn staying_is_always_possible() {
        for state in MigrationState::ALL
            .into_iter()
            .filter(|&state| FULL.has(state))
        {
            assert_eq!(next(FULL, state as u32, state as u32), Ok(state));
        }
    }

    #[test]
    fn the_error_state_is_never_asked_for_and_never_left() {
        for state in MigrationState::ALL
            .into_iter()
            .filter(|&state| state != Error)
        {
            assert_eq!(next(FULL, state as u32, 0), Err(ArcRefusal::UnknownTarget));
            assert_eq!(next(FULL, 0, state as u32), Err(ArcRefusal::InError));
        }
        assert_eq!(next(FULL, 0, 0), Err(ArcRefusal::InError));
    }

    #[test]
    fn numbers_that_are_no_state() {
        assert_eq!(next(FULL, 8, 1), Err(ArcRefusal::ImpossibleCurrent));
        assert_eq!(next(FULL, 1, 8), Err(ArcRefusal::UnknownTarget));
        assert_eq!(
            next(FULL, u32::MAX, u32::MAX),
            Err(ArcRefusal::ImpossibleCurrent)
        );
    }

    #[test]
    fn finished_copying_cannot_become_pre_copying() {
        for wanted in [PreCopy, PreCopyP2p] {
            assert_eq!(
                next(FULL, StopCopy as u32, wanted as u32),
                Err(ArcRefusal::NoPath)
            );
        }
    }

    #[test]
    fn nothing_works_without_stop_copy() {
        for flags in [0, 2, 4, 6] {
            for state in MigrationState::ALL {
                assert!(!Abilities::from_raw(flags).has(state));
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Moves the state of a device to another one, as a virtual machine monitor does.
//!
//! The source is saved while it runs, if it can, round by round until little is left.
//! Then it is quiesced and stopped, the rest follows, and the target goes on. If anything
//! fails, the source goes on instead, and the target is reset.

use std::{
    fs::File,
    io::{Read, Write},
    time::{Duration, Instant},
};

use rustix::io::Errno;
use vfio_uapi as uapi;

use crate::{device::Device, migration::precopy_info};

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// How to move.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The most rounds in which the running device is saved.
    pub rounds: u32,
    /// The device is stopped when this many bytes are left, or fewer.
    pub threshold: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            rounds: 8,
            threshold: 16 << 10,
        }
    }
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking at both devices.
    Check,
    /// Saving the running device, in this round.
    PreCopy(u32),
    /// Saving the stopped device.
    StopCopy,
    /// Letting the target take it all.
    Resume,
}

/// How far that is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes that were moved.
    pub moved: u64,
    /// Bytes that are left, if the source can tell.
    pub left: Option<u64>,
}

/// What moving took.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Bytes while the source was running.
    pub running: u64,
    /// Bytes while it was stopped.
    pub stopped: u64,
    /// Rounds while it was running.
    pub rounds: u32,
    /// The time in which no device was running.
    pub downtime: Duration,
}

/// Why a device was not moved. The source runs again, if `source` does not say otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// One of them cannot do it.
    #[error("the {0} does not migrate")]
    NoMigration(&'static str),
    /// Whoever watches has given it up.
    #[error("given up while {0:?}")]
    Aborted(Phase),
    /// The source could not be saved.
    #[error("the source failed while {phase:?}: {error}")]
    Source {
        /// What it could not do.
        phase: Phase,
        /// Why.
        error: Errno,
    },
    /// The target did not take what was saved.
    #[error("the target refused the state of the source while {phase:?}: {error}")]
    Target {
        /// What it did not take.
        phase: Phase,
        /// Why.
        error: Errno,
    },
}

/// A device with what it can do.
struct Side<'a> {
    device: &'a Device,
    flags: u64,
}

impl<'a> Side<'a> {
    fn of(device: &'a Device, name: &'static str) -> Result<Self, Failure> {
        let flags = device.migration_flags().unwrap_or(0);
        if flags & uapi::MIGRATION_STOP_COPY == 0 {
            return Err(Failure::NoMigration(name));
        }
        Ok(Self { device, flags })
    }

    fn can(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn go(&self, state: u32) -> rustix::io::Result<Option<File>> {
        Ok(self.device.set_migration_state(state)?.map(File::from))
    }

    fn begin(&self, state: u32) -> rustix::io::Result<File> {
        self.go(state)?.ok_or(Errno::INVAL)
    }
}

/// The errno of an operation on a file.
fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Moves what the source has to the target. `watch` is called now and then, and returns
/// whether to go on. Afterwards the target runs and the source is stopped.
pub fn migrate(
    source: &Device,
    target: &Device,
    plan: Plan,
    mut watch: impl FnMut(Progress) -> bool,
) -> Result<Moved, Failure> {
    let source = Side::of(source, "source")?;
    let target = Side::of(target, "target")?;
    let result = attempt(&source, &target, plan, &mut watch);
    if result.is_err() {
        // Whatever they were doing. A device that has failed can only be reset.
        for (side, reset) in [(&target, true), (&source, false)] {
            if reset || side.go(uapi::DEVICE_STATE_RUNNING).is_err() {
                let _ = side.device.reset();
            }
        }
    }
    result
}

/// A move that is under way.
struct Move<'a> {
    phase: Phase,
    moved: u64,
    from: File,
    to: File,
    watch: &'a mut dyn FnMut(Progress) -> bool,
}

impl Move<'_> {
    fn source(&self, error: Errno) -> Failure {
        let phase = self.phase;
        Failure::Source { phase, error }
    }

    fn target(&self, error: Errno) -> Failure {
        let phase = self.phase;
        Failure::Target { phase, error }
    }

    fn tell(&mut self, left: Option<u64>) -> Result<(), Failure> {
        let progress = Progress {
            phase: self.phase,
            moved: self.moved,
            left,
        };
        if (self.watch)(progress) {
            Ok(())
        } else {
            Err(Failure::Aborted(self.phase))
        }
    }

    /// Moves so many bytes, or all that there are.
    fn copy(&mut self, most: Option<u64>) -> Result<u64, Failure> {
        let mut piece = vec![0; PIECE];
        let mut done = 0;
        while most != Some(done) {
            let room = most.map_or(PIECE, |most| (most - done).min(PIECE as u64) as usize);
            let count = match self.from.read(&mut piece[..room]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => match errno(error) {
                    // While the device runs: nothing for now.
                    Errno::NOMSG => break,
                    error => return Err(self.source(error)),
                },
            };
            self.to
                .write_all(&piece[..count])
                .map_err(|error| self.target(errno(error)))?;
            done += count as u64;
            self.moved += count as u64;
            self.tell(most.map(|most| most - done))?;
        }
        Ok(done)
    }
}

fn attempt(
    source: &Side<'_>,
    target: &Side<'_>,
    plan: Plan,
    watch: &mut dyn FnMut(Progress) -> bool,
) -> Result<Moved, Failure> {
    let phase = Phase::Check;
    let begin = |side: &Side<'_>, state| side.begin(state);
    let to = begin(target, uapi::DEVICE_STATE_RESUMING)
        .map_err(|error| Failure::Target { phase, error })?;
    let pre_copy = source.can(uapi::MIGRATION_PRE_COPY);
    let p2p = source.can(uapi::MIGRATION_P2P);

    let mut moved = Moved {
        running: 0,
        stopped: 0,
        rounds: 0,
        downtime: Duration::ZERO,
    };
    let stopped;
    let mut going = if pre_copy {
        let from = begin(source, uapi::DEVICE_STATE_PRE_COPY)
            .map_err(|error| Failure::Source { phase, error })?;
        let mut going = Move {
            phase,
            moved: 0,
            from,
            to,
            watch,
        };
        for round in 1..=plan.rounds {
            going.phase = Phase::PreCopy(round);
            let info = precopy_info(&going.from).map_err(|error| going.source(error))?;
            let left = info.initial_bytes + info.dirty_bytes;
            going.tell(Some(left))?;
            if round > 1 && left <= plan.threshold {
                break;
            }
            moved.running += going.copy(Some(left))?;
            moved.rounds = round;
        }
        going.phase = Phase::StopCopy;
        stopped = Instant::now();
        if p2p {
            source
                .go(uapi::DEVICE_STATE_PRE_COPY_P2P)
                .map_err(|error| going.source(error))?;
        }
        source
            .go(uapi::DEVICE_STATE_STOP_COPY)
            .map_err(|error| going.source(error))?;
        going
    } else {
        let phase = Phase::StopCopy;
        stopped = Instant::now();
        if p2p {
            source
                .go(uapi::DEVICE_STATE_RUNNING_P2P)
                .map_err(|error| Failure::Source { phase, error })?;
        }
        let from = begin(source, uapi::DEVICE_STATE_STOP_COPY)
            .map_err(|error| Failure::Source { phase, error })?;
        Move {
            phase,
            moved: 0,
            from,
            to,
            watch,
        }
    };
    moved.stopped = going.copy(None)?;

    going.phase = Phase::Resume;
    going.tell(Some(0))?;
    if target.can(uapi::MIGRATION_P2P) {
        target
            .go(uapi::DEVICE_STATE_RUNNING_P2P)
            .map_err(|error| going.target(error))?;
    }
    target
        .go(uapi::DEVICE_STATE_RUNNING)
        .map_err(|error| going.target(error))?;
    moved.downtime = stopped.elapsed();
    source
        .go(uapi::DEVICE_STATE_STOP)
        .map_err(|error| going.source(error))?;
    Ok(moved)
}

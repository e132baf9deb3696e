// SPDX-License-Identifier: GPL-2.0

//! The states of migration, and what has to happen between them.

use State::{
    Error,
    PreCopy,
    PreCopyP2p,
    Resuming,
    Running,
    RunningP2p,
    Stop,
    StopCopy, //
};

/// A state of migration, with the number that it has for user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// What was saved or restored is lost. Only a reset leads out of this.
    Error = 0,
    /// The device is stopped.
    Stop = 1,
    /// The device is running.
    Running = 2,
    /// The device is stopped and is being saved.
    StopCopy = 3,
    /// The device is stopped and is being restored.
    Resuming = 4,
    /// The device is quiesced.
    RunningP2p = 5,
    /// The device is running and is being saved.
    PreCopy = 6,
    /// The device is quiesced and is being saved.
    PreCopyP2p = 7,
}

impl State {
    /// Returns the state with this number, if there is one.
    pub fn from_number(number: u32) -> Option<Self> {
        [
            Error, Stop, Running, StopCopy, Resuming, RunningP2p, PreCopy, PreCopyP2p,
        ]
        .into_iter()
        .find(|state| *state as u32 == number)
    }
}

/// What happens along an arc, that is, between two neighbouring states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The device stops.
    Stop,
    /// The device is started.
    Start,
    /// The device is quiesced.
    Quiesce,
    /// The device is quiesced no longer.
    Unquiesce,
    /// The stopped device begins to be saved.
    Save,
    /// The running device begins to be saved.
    Track,
    /// The device stops, and goes on being saved.
    StopTracked,
    /// The stopped device begins to be restored.
    Resume,
    /// The device was restored.
    Resumed,
    /// The device is not saved any longer.
    End,
}

/// Returns what happens between two states, if there is an arc from one to the other.
pub const fn step(from: State, to: State) -> Option<Step> {
    Some(match (from, to) {
        (Running | RunningP2p, Stop) => Step::Stop,
        (Stop, Running | RunningP2p) => Step::Start,
        (Running, RunningP2p) | (PreCopy, PreCopyP2p) => Step::Quiesce,
        (RunningP2p, Running) | (PreCopyP2p, PreCopy) => Step::Unquiesce,
        (Stop, StopCopy) => Step::Save,
        (Running, PreCopy) | (RunningP2p, PreCopyP2p) => Step::Track,
        (PreCopy | PreCopyP2p, StopCopy) => Step::StopTracked,
        (Stop, Resuming) => Step::Resume,
        (Resuming, Stop) => Step::Resumed,
        (StopCopy, Stop) | (PreCopy, Running) | (PreCopyP2p, RunningP2p) => Step::End,
        _ => return None,
    })
}

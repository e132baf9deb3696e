// SPDX-License-Identifier: GPL-2.0

//! The arcs of migration that a device can have, as methods of traits, and which of these traits
//! each choice of [`Driver::Migration`](crate::Driver::Migration) asks for.

use core::convert::Infallible;

use kernel::prelude::*;

use crate::{
    bindings,
    driver::{
        access::Opened,
        data::{
            sealed::Sealed,
            Data, //
        }, //
    }, //
};

/// Where the data of a device come from that is being saved.
pub trait Source<D: Data>: Send + Unpin + 'static {
    /// Copies the next bytes to `data`, at most all of it, and returns how many. Zero means that
    /// nothing is left, while the device is running: for now.
    ///
    /// # Errors
    ///
    /// User space gets the error.
    fn read(&mut self, device: &Opened<'_, D>, data: &mut [u8]) -> Result<usize>;
}

/// Where the data of a device go that is being restored.
pub trait Sink<D: Data>: Send + Unpin + 'static {
    /// Takes bytes from the beginning of `data`, at least one, and returns how many.
    ///
    /// # Errors
    ///
    /// User space gets the error.
    fn write(&mut self, device: &Opened<'_, D>, data: &[u8]) -> Result<usize>;
}

/// A device that can be saved and restored while it is stopped.
pub trait StopCopy: Data {
    /// What exists while the device is being saved.
    type Saving: Source<Self>;

    /// What exists while the device is being restored.
    type Resuming: Sink<Self>;

    /// Stops the running device: it does not access memory, raise interrupts or change any more.
    /// User space should not access its registers until it is started again, but can: what it does
    /// to them is not saved.
    ///
    /// # Errors
    ///
    /// The device goes on running.
    fn stop(device: &Opened<'_, Self>) -> Result;

    /// Starts the stopped device. One with [`P2p`] is quiesced then.
    ///
    /// # Errors
    ///
    /// The device stays stopped.
    fn start(device: &Opened<'_, Self>) -> Result;

    /// Begins to save the stopped device (STOP to STOP_COPY).
    ///
    /// # Errors
    ///
    /// The device stays stopped.
    fn save(device: &Opened<'_, Self>) -> Result<Self::Saving>;

    /// Ends that, whether all data were read or not: STOP_COPY to STOP, a reset, or the device is
    /// closed.
    fn saved(device: &Opened<'_, Self>, saving: Self::Saving) {
        let _ = (device, saving);
    }

    /// Begins to restore the stopped device (STOP to RESUMING).
    ///
    /// # Errors
    ///
    /// The device stays stopped.
    fn resume(device: &Opened<'_, Self>) -> Result<Self::Resuming>;

    /// Ends that (RESUMING to STOP): the device takes the state that was written.
    ///
    /// # Errors
    ///
    /// If the data are not complete, or make no sense. The device is in the state ERROR then, until
    /// it is reset.
    fn resumed(device: &Opened<'_, Self>, resuming: Self::Resuming) -> Result;

    /// Returns an estimate of how many bytes there would be to save if the device were stopped now.
    fn size(device: &Opened<'_, Self>) -> u64;
}

/// A device that can be quiesced before it is stopped: it does not access other devices or memory
/// and raises no interrupt, but others can still access it.
pub trait P2p: StopCopy {
    /// Quiesces the running device (RUNNING to RUNNING_P2P).
    ///
    /// # Errors
    ///
    /// The device goes on running.
    fn quiesce(device: &Opened<'_, Self>) -> Result;

    /// Lets the quiesced device run (RUNNING_P2P to RUNNING).
    ///
    /// # Errors
    ///
    /// The device stays quiesced.
    fn unquiesce(device: &Opened<'_, Self>) -> Result;
}

/// A device of which data can be saved while it is running, so that less is left when it is
/// stopped.
pub trait PreCopy: StopCopy {
    /// What exists while the device is being saved and still running.
    type PreCopying: Source<Self>;

    /// Begins to save the running device (RUNNING to PRE_COPY).
    ///
    /// # Errors
    ///
    /// The device goes on running, and is not being saved.
    fn track(device: &Opened<'_, Self>) -> Result<Self::PreCopying>;

    /// Gives that up: PRE_COPY to RUNNING, a reset, or the device is closed.
    fn untrack(device: &Opened<'_, Self>, pre_copying: Self::PreCopying) {
        let _ = (device, pre_copying);
    }

    /// Goes on saving after [`StopCopy::stop`] (PRE_COPY to STOP_COPY): what is read from now on
    /// follows what was read before in the same file.
    ///
    /// # Errors
    ///
    /// The device is in the state ERROR then, until it is reset.
    fn stopped(
        device: &Opened<'_, Self>,
        pre_copying: Self::PreCopying,
    ) -> Result<<Self as StopCopy>::Saving>;

    /// Returns how many bytes can be read now.
    fn left(device: &Opened<'_, Self>, pre_copying: &Self::PreCopying) -> Left;
}

/// How many bytes are left of a device that is being saved and still running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Bytes that were there when saving began, and that should be read before the device is
    /// stopped.
    pub initial: u64,
    /// Bytes that have changed since.
    pub dirty: u64,
}

/// The device does not migrate.
pub enum NoMigration {}
/// The device is saved while it is stopped.
pub enum Stopped {}
/// The device is saved while it is stopped, and can be quiesced.
pub enum StoppedP2p {}
/// The device is saved while it is running.
pub enum Running {}
/// The device is saved while it is running, and can be quiesced.
pub enum RunningP2p {}

impl Sealed for NoMigration {}
impl Sealed for Stopped {}
impl Sealed for StoppedP2p {}
impl Sealed for Running {}
impl Sealed for RunningP2p {}

/// How a device migrates. The functions are the arcs of the state machine; those that a device does
/// not have are never called, because the core finds a way without them.
pub trait Support<D: Data>: Sealed + 'static {
    #[doc(hidden)]
    const FLAGS: u32;
    #[doc(hidden)]
    type Saving: Source<D>;
    #[doc(hidden)]
    type Resuming: Sink<D>;
    #[doc(hidden)]
    type PreCopying: Source<D>;

    #[doc(hidden)]
    fn stop(_: &Opened<'_, D>) -> Result {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn start(_: &Opened<'_, D>) -> Result {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn save(_: &Opened<'_, D>) -> Result<Self::Saving> {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn saved(_: &Opened<'_, D>, _: Self::Saving) {}
    #[doc(hidden)]
    fn resume(_: &Opened<'_, D>) -> Result<Self::Resuming> {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn resumed(_: &Opened<'_, D>, _: Self::Resuming) -> Result {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn size(_: &Opened<'_, D>) -> u64 {
        0
    }
    #[doc(hidden)]
    fn quiesce(_: &Opened<'_, D>) -> Result {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn unquiesce(_: &Opened<'_, D>) -> Result {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn track(_: &Opened<'_, D>) -> Result<Self::PreCopying> {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn untrack(_: &Opened<'_, D>, _: Self::PreCopying) {}
    #[doc(hidden)]
    fn stopped(_: &Opened<'_, D>, _: Self::PreCopying) -> Result<Self::Saving> {
        Err(EINVAL)
    }
    #[doc(hidden)]
    fn left(_: &Opened<'_, D>, _: &Self::PreCopying) -> Left {
        Left::default()
    }
}

impl<D: Data> Source<D> for Infallible {
    fn read(&mut self, _: &Opened<'_, D>, _: &mut [u8]) -> Result<usize> {
        match *self {}
    }
}

impl<D: Data> Sink<D> for Infallible {
    fn write(&mut self, _: &Opened<'_, D>, _: &[u8]) -> Result<usize> {
        match *self {}
    }
}

impl<D: Data> Support<D> for NoMigration {
    const FLAGS: u32 = 0;
    type Saving = Infallible;
    type Resuming = Infallible;
    type PreCopying = Infallible;
}

/// Implements [`Support`] by the arcs of some traits.
macro_rules! support {
    ($name:ident: $($bound:ident),+; $pre:ty; $flags:expr; $($arcs:ident)+) => {
        impl<D: $($bound +)+> Support<D> for $name {
            const FLAGS: u32 = $flags;
            type Saving = <D as StopCopy>::Saving;
            type Resuming = <D as StopCopy>::Resuming;
            type PreCopying = $pre;
            $(support!(@$arcs);)+
        }
    };
    (@stop_copy) => {
        fn stop(device: &Opened<'_, D>) -> Result {
            <D as StopCopy>::stop(device)
        }
        fn start(device: &Opened<'_, D>) -> Result {
            <D as StopCopy>::start(device)
        }
        fn save(device: &Opened<'_, D>) -> Result<Self::Saving> {
            <D as StopCopy>::save(device)
        }
        fn saved(device: &Opened<'_, D>, saving: Self::Saving) {
            <D as StopCopy>::saved(device, saving)
        }
        fn resume(device: &Opened<'_, D>) -> Result<Self::Resuming> {
            <D as StopCopy>::resume(device)
        }
        fn resumed(device: &Opened<'_, D>, resuming: Self::Resuming) -> Result {
            <D as StopCopy>::resumed(device, resuming)
        }
        fn size(device: &Opened<'_, D>) -> u64 {
            <D as StopCopy>::size(device)
        }
    };
    (@p2p) => {
        fn quiesce(device: &Opened<'_, D>) -> Result {
            <D as P2p>::quiesce(device)
        }
        fn unquiesce(device: &Opened<'_, D>) -> Result {
            <D as P2p>::unquiesce(device)
        }
    };
    (@pre_copy) => {
        fn track(device: &Opened<'_, D>) -> Result<Self::PreCopying> {
            <D as PreCopy>::track(device)
        }
        fn untrack(device: &Opened<'_, D>, pre_copying: Self::PreCopying) {
            <D as PreCopy>::untrack(device, pre_copying)
        }
        fn stopped(
            device: &Opened<'_, D>,
            pre_copying: Self::PreCopying,
        ) -> Result<Self::Saving> {
            <D as PreCopy>::stopped(device, pre_copying)
        }
        fn left(device: &Opened<'_, D>, pre_copying: &Self::PreCopying) -> Left {
            <D as PreCopy>::left(device, pre_copying)
        }
    };
}

const STOP_COPY: u32 = bindings::VFIO_MIGRATION_STOP_COPY;
const P2P: u32 = bindings::VFIO_MIGRATION_P2P;
const PRE_COPY: u32 = bindings::VFIO_MIGRATION_PRE_COPY;

support!(Stopped: StopCopy; Infallible; STOP_COPY; stop_copy);
support!(StoppedP2p: P2p; Infallible; STOP_COPY | P2P; stop_copy p2p);
support!(Running: PreCopy; <D as PreCopy>::PreCopying; STOP_COPY | PRE_COPY; stop_copy pre_copy);
support!(
    RunningP2p: P2p, PreCopy; <D as PreCopy>::PreCopying; STOP_COPY | P2P | PRE_COPY;
    stop_copy p2p pre_copy
);

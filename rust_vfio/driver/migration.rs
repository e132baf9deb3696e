// SPDX-License-Identifier: GPL-2.0

//! Migration: a device's state leaves through a file, and comes back through another.
//!
//! What a device can do is a type, [`Driver::Migration`](crate::Driver::Migration). Each choice
//! asks the driver for the arcs of the state machine that user space may then go along, as methods
//! of a trait:
//!
//! | The type | Needs | The device can |
//! |---|---|---|
//! | [`NoMigration`] | | not migrate |
//! | [`Stopped`] | [`StopCopy`] | be saved while it is stopped |
//! | [`StoppedP2p`] | also [`P2p`] | be quiesced first, while others still access it |
//! | [`Running`] | also [`PreCopy`] | be saved while it is running |
//! | [`RunningP2p`] | all three | do all of this |
//!
//! A driver that says it can do something, and has no methods for it, does not compile:
//!
//! ```compile_fail,E0277
//! # use kernel::prelude::*;
//! # use vfio::*;
//! struct Device;
//!
//! #[vtable]
//! impl Driver for Device {
//!     // This needs `impl StopCopy for Device`.
//!     type Migration = migration::Stopped;
//! #   const NAME: &'static CStr = c"device";
//! #   type Iommu = Emulated;
//! #   type Session = ();
//! #   type Pin = ();
//! #   type DirtyLog = dirty::NoLog;
//! #   const REGIONS: &'static [region::Region<Self>] = &[];
//! #   fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> { Ok::<(), Error>(()) }
//! }
//! ```
//!
//! Nor does one that lacks an arc,
//!
//! ```compile_fail,E0046
//! # use kernel::prelude::*;
//! # use vfio::{migration::{Sink, Source, StopCopy}, *};
//! # struct Device;
//! # struct Saving;
//! # struct Resuming;
//! # impl Source<Device> for Saving {
//! #     fn read(&mut self, _: &Opened<'_, Device>, _: &mut [u8]) -> Result<usize> { Ok(0) }
//! # }
//! # impl Sink<Device> for Resuming {
//! #     fn write(&mut self, _: &Opened<'_, Device>, _: &[u8]) -> Result<usize> { Ok(1) }
//! # }
//! # #[vtable]
//! # impl Driver for Device {
//! #     type Migration = migration::Stopped;
//! #   const NAME: &'static CStr = c"device";
//! #   type Iommu = Emulated;
//! #   type Session = ();
//! #   type Pin = ();
//! #   type DirtyLog = dirty::NoLog;
//! #   const REGIONS: &'static [region::Region<Self>] = &[];
//! #   fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> { Ok::<(), Error>(()) }
//! # }
//! impl StopCopy for Device {
//!     type Saving = Saving;
//!     type Resuming = Resuming;
//!
//!     fn stop(_: &Opened<'_, Self>) -> Result { Ok(()) }
//!     fn start(_: &Opened<'_, Self>) -> Result { Ok(()) }
//!     fn save(_: &Opened<'_, Self>) -> Result<Saving> { Ok(Saving) }
//!     fn resume(_: &Opened<'_, Self>) -> Result<Resuming> { Ok(Resuming) }
//!     fn size(_: &Opened<'_, Self>) -> u64 { 0 }
//!     // The end of restoring is missing: `resumed`.
//! }
//! ```
//!
//! or one that can be saved while it is running, and not while it is stopped:
//!
//! ```compile_fail,E0277
//! # use kernel::prelude::*;
//! # use vfio::{migration::{Left, PreCopy, Source, StopCopy}, *};
//! # struct Device;
//! # struct PreCopying;
//! # impl Source<Device> for PreCopying {
//! #     fn read(&mut self, _: &Opened<'_, Device>, _: &mut [u8]) -> Result<usize> { Ok(0) }
//! # }
//! # #[vtable]
//! # impl Driver for Device {
//! #     type Migration = migration::NoMigration;
//! #   const NAME: &'static CStr = c"device";
//! #   type Iommu = Emulated;
//! #   type Session = ();
//! #   type Pin = ();
//! #   type DirtyLog = dirty::NoLog;
//! #   const REGIONS: &'static [region::Region<Self>] = &[];
//! #   fn open(_: &Access<'_, Self>) -> impl PinInit<(), Error> { Ok::<(), Error>(()) }
//! # }
//! // This needs `impl StopCopy for Device`.
//! impl PreCopy for Device {
//!     type PreCopying = PreCopying;
//!
//!     fn track(_: &Opened<'_, Self>) -> Result<PreCopying> { Ok(PreCopying) }
//!     fn stopped(_: &Opened<'_, Self>, _: PreCopying) -> Result<<Self as StopCopy>::Saving> {
//!         Err(EINVAL)
//!     }
//!     fn left(_: &Opened<'_, Self>, _: &PreCopying) -> Left { Left::default() }
//! }
//! ```
//!
//! While data are moved there is a value of the driver's, which one arc returns and another one
//! consumes. So a driver cannot save without having begun to, or finish twice. A device whose
//! state is numbers and memory has this value ready-made: [`Image`].
//!
//! # Locks
//!
//! All arcs of a device, and [`StopCopy::size`], are called one at a time. Data are read and
//! written beside them, one call at a time for each file.

mod arcs;
mod image;
mod machine;
mod stream;

pub use arcs::{
    Left,
    NoMigration,
    P2p,
    PreCopy,
    Running,
    RunningP2p,
    Sink,
    Source,
    StopCopy,
    Stopped,
    StoppedP2p,
    Support, //
};
pub use image::{
    Image,
    Restorer,
    Saver, //
};
pub(crate) use machine::{
    close,
    reset,
    set_state,
    size,
    state,
    Machine, //
};

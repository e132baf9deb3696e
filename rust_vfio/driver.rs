// SPDX-License-Identifier: GPL-2.0

//! VFIO drivers in safe Rust.
//!
//! A device is a type that implements [`Driver`]. What user space can see of it is data: its
//! [regions](Driver::REGIONS), its [interrupts](Driver::IRQS), and whether it
//! [migrates](Driver::Migration) and [logs what it writes](Driver::DirtyLog). From that this crate
//! answers all requests that are the same for every driver, and checks the others before a driver
//! sees them. A [`Registration`] makes the device known until it is dropped.
//!
//! `docs/driver-api.md` leads from an empty file to a device that works, and `samples/` has two
//! drivers.
//!
//! # Where it runs
//!
//! This crate is no part of `vfio.ko`. Each driver's module contains it, and calls the functions
//! that `vfio.ko` exports to drivers in C. So a driver runs on the kernel's own VFIO as well. In
//! the kernel's tree this crate would be `rust/kernel/vfio.rs`.
//!
//! # What a driver cannot get wrong
//!
//! - A region's bounds: handlers are called with offsets inside of it.
//! - Whether the device is open: what needs an open device needs an [`Opened`], which exists only
//!   while it is.
//! - Interrupts: eventfds are taken, signalled and given back here.
//! - Pinned pages: they belong to the open device, see [`pins`].
//! - Migration: a device goes only along arcs for which it has a method, see [`migration`].
//! - Unregistering: dropping the [`Registration`] waits until nobody uses the device. As with all
//!   registrations of the kernel crate, one that is leaked outlives the module, and must not.
//!
//! # Locks
//!
//! A device has these locks, besides those of its driver. The core calls with the lock of the
//! device's set held, or with none.
//!
//! | Lock | Under | Held while |
//! |---|---|---|
//! | the gate, a semaphore | | [`Handle::enter`] calls; closing waits for it |
//! | the state machine, a mutex | | arcs are gone along, and during a reset |
//! | data of a migration, a mutex | both | a source or sink moves data |
//! | the dirty log, a mutex | | its methods run |
//! | settings of interrupts, a mutex | | a request changes them |
//! | vectors of a kind, a spinlock | any | an interrupt is raised |
//! | pinned pages, a mutex | any | they are pinned, lent or unpinned |
//! | the pages that were written, a mutex | any | they are noted or reported |
//!
//! C headers: [`include/linux/vfio.h`](srctree/include/linux/vfio.h),
//! [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h).

mod access;
mod data;
mod device;
pub mod dirty;
mod eventfd;
mod ioctl;
pub mod irq;
#[expect(
    unreachable_pub,
    reason = "the host tests use the same files as a library"
)]
mod logic {
    //! Rules that need no kernel, tested on the host.
    #![forbid(unsafe_code)]

    pub(crate) mod image;
    pub(crate) mod irqs;
    pub(crate) mod pieces;
    pub(crate) mod range;
    pub(crate) mod regions;
    pub(crate) mod states;
    pub(crate) mod words;
}
pub mod migration;
mod object;
mod ops;
mod pages;
#[cfg(CONFIG_PCI)]
pub mod pci;
mod pin_table;
pub mod pins;
pub mod region;
mod registration;
mod uapi;
mod vectors;
mod written;

pub use access::{
    Access,
    Handle,
    Opened, //
};
pub use device::{
    Bus,
    Driver,
    Emulated,
    Iommu,
    Physical, //
};
pub use pages::Pages;
pub use registration::{
    Faux,
    Registration, //
};

/// What most drivers need: `use vfio::prelude::*`.
pub mod prelude {
    pub use super::{
        dirty,
        irq::Irq,
        migration::{
            self,
            Image,
            P2p,
            PreCopy,
            Restorer,
            Saver,
            StopCopy, //
        },
        pins::{
            Intent,
            PinKey,
            Pinned,
            Unmapped, //
        },
        region::{
            Memory,
            Region,
            Registers,
            Width, //
        },
        Access,
        Bus,
        Driver,
        Emulated,
        Faux,
        Handle,
        Opened,
        Pages,
        Physical, //
    };
}

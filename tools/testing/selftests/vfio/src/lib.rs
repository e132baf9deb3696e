// SPDX-License-Identifier: GPL-2.0
//! A small library to drive VFIO from user space, for the tests and the demo.
//!
//! A program opens a [`container`], puts the [`group`] of a device into it,
//! chooses the IOMMU backend, maps [`memory`] for the device, opens the
//! [`device`] itself, and talks to it: [`edu`] knows QEMU's teaching device.
//! Or it opens the device by its [`node`], binds it to an [`iommufd`] and
//! attaches it to an address space there.
//! Around that: [`pci`] and [`mdev`] find devices and hand them to VFIO,
//! [`module`], [`config`] and [`kmsg`] look at the kernel, [`process`] at ourselves,
//! [`passing`] hands open files to another process, [`kvm`] makes a virtual
//! machine that a device can belong to, [`compat`] speaks as a 32-bit program,
//! and [`aio`] and [`uring`] do input and output in the background.
//! [`userfault`] is about memory that a program provides page by page, [`fuse`]
//! about files that it serves, and [`cgroup`] about limits. [`harness`] runs
//! tests and [`part`] deals them to several machines, and [`sample`] knows a device that
//! our API for drivers comes with.
//!
//! Requests return [`rustix::io::Result`], whose error is the bare error
//! number, because that number is what the contract is about. Whatever reads
//! or writes files returns [`anyhow::Result`], which names the file.
//!
//! # Safety of device access
//!
//! A mapping lets a device write to the memory of this process. That is
//! outside of what the compiler sees, like a write through `/proc/self/mem`.
//! Programs should map only [`memory::Memory`]: it lends no references to its
//! content, only copies, so that no assumption of the compiler can break.

pub mod aio;
pub mod caps;
pub mod cgroup;
pub mod compat;
pub mod config;
pub mod container;
pub mod device;
pub mod dirty;
pub mod edu;
pub mod fuse;
pub mod group;
pub mod harness;
pub mod iommufd;
pub mod kmsg;
pub mod kvm;
pub mod mdev;
pub mod memory;
pub mod migrate;
pub mod migration;
pub mod module;
pub mod node;
pub mod part;
pub mod passing;
pub mod pci;
pub mod process;
pub mod request;
pub mod sample;
pub mod sysfs;
pub mod target;
pub mod trace;
pub mod uring;
pub mod userfault;

pub use vfio_uapi as uapi;

/// The unit of everything here: 4 KiB pages.
pub const PAGE: usize = 4096;

// SPDX-License-Identifier: GPL-2.0
//! A virtual machine of KVM, as far as VFIO has to do with one: it can be told
//! of files of devices, and keeps a link to their sessions.
//!
//! The requests are those of the kernel's `linux/kvm.h`.

use std::{
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Result,
};

use crate::{
    module,
    request::{self, Plain},
    sysfs,
};

const PATH: &str = "/dev/kvm";
/// The module whose users are the virtual machines: the one of the emulated
/// processor.
pub const MODULE: &str = "kvm_amd";

const CREATE_VM: u32 = 0xae01;
const CREATE_DEVICE: u32 = 0xc00c_aee0;
const SET_DEVICE_ATTR: u32 = 0x4018_aee1;
const DEVICE_VFIO: u32 = 4;
const GROUP_FILE: u32 = 1;
const FILE_ADD: u64 = 1;
const FILE_DEL: u64 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct CreateDevice {
    kind: u32,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct DeviceAttr {
    flags: u32,
    group: u32,
    attr: u64,
    addr: u64,
}

// SAFETY: Structures of numbers whose members leave no gaps.
unsafe impl Plain for CreateDevice {}
// SAFETY: As above.
unsafe impl Plain for DeviceAttr {}

/// How many virtual machines there are, also those that have no file any more.
/// Each has a directory in debugfs, named after the process and the descriptor
/// that it was made with: two that had the same show as one.
pub fn machines() -> usize {
    let entries = sysfs::list("/sys/kernel/debug/kvm");
    entries.iter().filter(|entry| entry.is_dir()).count()
}

/// KVM, loaded as long as this is there.
#[derive(Debug)]
pub struct Kvm {
    file: OwnedFd,
}

impl Kvm {
    /// Loads it from the test VM's directory, if need be.
    pub fn load() -> anyhow::Result<Self> {
        if !Path::new(PATH).exists() {
            // The second one is below the third where the kernel can encrypt
            // the memory of virtual machines.
            for name in ["kvm", "ccp", "kvm-amd"] {
                if module::file(name).exists() && !module::is_loaded(name) {
                    module::load(name, "")?;
                }
            }
        }
        let file = rustix::fs::open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { file })
    }

    /// A virtual machine with nothing in it.
    pub fn machine(&self) -> Result<Machine> {
        let vm = owned(request::with_number(&self.file, CREATE_VM, 0)?);
        let mut create = CreateDevice {
            kind: DEVICE_VFIO,
            ..Default::default()
        };
        request::with_struct(&vm, CREATE_DEVICE, &mut create)?;
        Ok(Machine {
            link: owned(create.fd),
            vm,
        })
    }
}

/// A descriptor that a request returned.
fn owned(fd: u32) -> OwnedFd {
    // SAFETY: The kernel has just made the descriptor for us, and the numbers
    // of descriptors are not negative.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// A virtual machine.
#[derive(Debug)]
pub struct Machine {
    link: OwnedFd,
    vm: OwnedFd,
}

impl Machine {
    /// Tells it of a group's or a device's file: sessions that begin with that
    /// file belong to the virtual machine.
    pub fn add(&self, file: impl AsFd) -> Result<()> {
        self.set(FILE_ADD, file)
    }

    /// Lets it forget the file.
    pub fn remove(&self, file: impl AsFd) -> Result<()> {
        self.set(FILE_DEL, file)
    }

    /// Its two files, each of which keeps it: that of the machine itself, and
    /// the one by which it is told of files. Closing the latter makes it forget
    /// them.
    pub fn into_files(self) -> [OwnedFd; 2] {
        [self.vm, self.link]
    }

    fn set(&self, attr: u64, file: impl AsFd) -> Result<()> {
        let fd = file.as_fd().as_raw_fd();
        let mut args = DeviceAttr {
            flags: 0,
            group: GROUP_FILE,
            attr,
            addr: (&raw const fd) as u64,
        };
        request::with_struct(&self.link, SET_DEVICE_ATTR, &mut args)?;
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0
//! The devices of `rust_vfio_sample`, the emulated device that is written with the
//! API for drivers in Rust.

use rustix::io::{Errno, Result};

use crate::{
    device::Device,
    target::{wait_for, Named},
    PAGE,
};

/// The name of the module.
pub const MODULE: &str = "rust_vfio_sample";
/// The size of its memory in bytes.
pub const MEMORY: usize = 16 * PAGE;
/// The interrupt of a command that is done.
pub const IRQ_DONE: u32 = 0;
/// The interrupt by which the device is asked back.
pub const IRQ_REQUEST: u32 = 1;
/// The first register says this.
pub const ID: u64 = 0x5646_5331;

/// The registers, in region 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Register {
    /// What the device is.
    Id = 0x00,
    /// Whether it computes.
    On = 0x08,
    /// The number of steps.
    Steps = 0x10,
    /// The value.
    Value = 0x18,
    /// The address for commands.
    Address = 0x20,
    /// Commands.
    Command = 0x28,
    /// The format in which it is saved.
    Format = 0x30,
    /// After so many calls saving or restoring fails.
    Fault = 0x38,
}

/// Copies the value to memory.
pub const COPY: u64 = 1;
/// Adds up numbers in memory.
pub const ADD: u64 = 2;
/// Keeps the page of memory, by which it copies then.
pub const KEEP: u64 = 3;

/// Finds device 0 or 1. Both are there while the module is loaded.
pub fn device(number: u32) -> anyhow::Result<Named> {
    let name = format!("rust-vfio-sample-{number}");
    wait_for("the sample device", || Named::find(&name).is_ok())?;
    Named::find(&name)
}

/// Returns the memory of a device after so many steps from the beginning. If they are more than
/// it has room for, as on a slow machine, the device has gone on at the start.
pub fn memory_after(steps: u64) -> Vec<u8> {
    let mut memory = vec![0; MEMORY];
    let mut value = 1;
    for step in 0..steps {
        value = Registers::step(value);
        let at = (step as usize * 8) % MEMORY;
        memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    memory
}

/// What a sample device can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Registers<'a>(&'a Device);

impl<'a> Registers<'a> {
    /// Those of an open device. `ENODEV` if it is another one.
    pub fn of(device: &'a Device) -> Result<Self> {
        let registers = Self(device);
        match registers.get(Register::Id)? {
            ID => Ok(registers),
            _ => Err(Errno::NODEV),
        }
    }

    /// Reads one.
    pub fn get(self, register: Register) -> Result<u64> {
        self.0.read(register as u64).map(u64::from_le_bytes)
    }

    /// Writes one.
    pub fn set(self, register: Register, value: u64) -> Result<()> {
        self.0.write(register as u64, &value.to_le_bytes())
    }

    /// What the device does in one step.
    pub fn step(value: u64) -> u64 {
        value
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407)
    }

    /// Its memory.
    pub fn memory(self) -> Result<Vec<u8>> {
        let offset = self.0.region(1)?.head.offset;
        let mut memory = vec![0; MEMORY];
        let mut done = 0;
        while done < MEMORY {
            match self.0.read_at(offset + done as u64, &mut memory[done..])? {
                0 => return Err(Errno::IO),
                count => done += count,
            }
        }
        Ok(memory)
    }
}

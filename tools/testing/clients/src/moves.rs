// SPDX-License-Identifier: GPL-2.0
//! Devices that move, driven with the structures of rust-vmm's `vfio-bindings`: what a
//! virtual machine monitor does that has no other crate.

use std::{
    fs::File,
    io::{Error, Read, Write},
    os::unix::fs::FileExt,
};

use anyhow::{ensure, Context, Result};
use vfio_bindings::bindings::vfio::*;
use vfio_selftests::{
    harness::{Row, TestResult},
    memory::Memory,
    sample::{self, Register, Registers, COPY},
};

use crate::{
    bindings::{left, Bitmap, Device},
    machine::{self, leaves_nothing, Loaded},
};

macro_rules! rows {
    ($($test:ident),* $(,)?) => {
        &[$(Row::new(
            concat!("vfio_bindings_", stringify!($test)),
            || leaves_nothing($test),
        )),*]
    };
}

pub(crate) const ROWS: &[Row] = rows![
    serial_port_moves,
    serial_port_refuses,
    sample_moves,
    sample_moves_with_its_guest,
    sample_goes_on_after_all,
];

const ERROR: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_ERROR;
const STOP: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_STOP;
const RUNNING: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING;
const STOP_COPY: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_STOP_COPY;
const RESUMING: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_RESUMING;
const RUNNING_P2P: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING_P2P;
const PRE_COPY: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY;
const PRE_COPY_P2P: u32 = vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY_P2P;

/// Returns the error number of a request that must fail.
fn errno<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().as_ref().and_then(Error::raw_os_error)
}

/// Moves so many bytes from file to file, or all that there are. Returns how many came.
fn copy(from: &mut File, to: &mut File, most: u64) -> Result<u64> {
    let mut piece = [0; 5000];
    let mut done = 0;
    while done < most {
        let room = piece.len().min(usize::try_from(most - done)?);
        let count = match from.read(&mut piece[..room]) {
            Ok(0) => break,
            // Nothing for now, while the device is running.
            Err(error) if error.raw_os_error() == Some(libc::ENOMSG) => break,
            other => other?,
        };
        to.write_all(&piece[..count])?;
        done += count as u64;
    }
    Ok(done)
}

/// How many bytes were moved, while the source was running and while it was stopped.
#[derive(Debug)]
struct Moved {
    running: u64,
    stopped: u64,
}

/// Moves a device to another one. `between` is called after each round while the source is
/// running, and once when it does no DMA any more.
fn move_device(
    source: &Device,
    target: &Device,
    mut between: impl FnMut() -> Result<()>,
) -> Result<Moved> {
    const ROUNDS: usize = 5;
    let can = |flag| Ok::<bool, Error>(source.migration()? & flag != 0);
    ensure!(can(VFIO_MIGRATION_STOP_COPY)?, "it does not migrate");
    let mut to = target.go(RESUMING)?.context("no file to resume")?;
    let mut moved = Moved {
        running: 0,
        stopped: 0,
    };
    let mut from = None;
    if can(VFIO_MIGRATION_PRE_COPY)? {
        let mut file = source.go(PRE_COPY)?.context("no file to save")?;
        for _ in 0..ROUNDS {
            let [first, changed] = left(&file)?;
            moved.running += copy(&mut file, &mut to, first + changed)?;
            between()?;
        }
        if can(VFIO_MIGRATION_P2P)? {
            ensure!(source.go(PRE_COPY_P2P)?.is_none(), "another file");
        }
        ensure!(source.go(STOP_COPY)?.is_none(), "another file");
        from = Some(file);
    } else if can(VFIO_MIGRATION_P2P)? {
        source.go(RUNNING_P2P)?;
    }
    let mut from = match from {
        Some(file) => file,
        None => source.go(STOP_COPY)?.context("no file to save")?,
    };
    assert_eq!(source.state()?, STOP_COPY);
    between()?;
    moved.stopped = copy(&mut from, &mut to, u64::MAX)?;
    // The end of the file stays where it is.
    assert_eq!(from.read(&mut [0; 8])?, 0);
    target.go(RUNNING)?;
    source.go(STOP)?;
    assert_eq!((source.state()?, target.state()?), (STOP, RUNNING));
    Ok(moved)
}

/// The scratch register of a serial port.
const SCRATCH: u64 = 7;

/// Reads that register.
fn byte(device: &Device) -> Result<u8> {
    let mut byte = [0];
    device.file().read_exact_at(&mut byte, SCRATCH)?;
    Ok(byte[0])
}

fn serial_port_moves() -> TestResult {
    let ports = machine::two_serial_ports()?;
    let (a, b) = (Device::open(&ports[0])?, Device::open(&ports[1])?);
    assert_eq!(
        a.migration()?,
        VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY
    );
    a.file().write_all_at(&[0x5a], SCRATCH)?;
    let moved = move_device(&a, &b, || Ok(()))?;
    // Its head comes first. What it holds changes too often.
    assert!(
        moved.running > 0 && moved.stopped > moved.running,
        "{moved:?}"
    );
    assert_eq!(moved.running + moved.stopped, a.data_size()?);
    assert_eq!(byte(&b)?, 0x5a);
    // And back, to one that was stopped.
    b.file().write_all_at(&[0xa5], SCRATCH)?;
    move_device(&b, &a, || Ok(()))?;
    assert_eq!(byte(&a)?, 0xa5);
    Ok(())
}

fn serial_port_refuses() -> TestResult {
    let ports = machine::two_serial_ports()?;
    let (a, b) = (Device::open(&ports[0])?, Device::open(&ports[1])?);
    // States that do not exist, and ways that there are not.
    assert_eq!(errno(a.go(ERROR)), Some(libc::EINVAL));
    assert_eq!(errno(a.go(99)), Some(libc::EINVAL));
    let mut file = a.go(STOP_COPY)?.context("no file to save")?;
    assert_eq!(errno(a.go(PRE_COPY)), Some(libc::EINVAL));
    assert_eq!(a.state()?, STOP_COPY);
    // How much is left is asked of a running device only.
    assert_eq!(errno(left(&file)), Some(libc::EINVAL));
    // Half of the data.
    let mut to = b.go(RESUMING)?.context("no file to resume")?;
    let half = a.data_size()? / 2;
    assert_eq!(copy(&mut file, &mut to, half)?, half);
    assert_eq!(errno(b.go(RUNNING)), Some(libc::EINVAL));
    b.reset()?;
    assert_eq!(b.state()?, RUNNING);
    // Other data.
    let mut to = b.go(RESUMING)?.context("no file to resume")?;
    assert_eq!(errno(to.write(&[0xff; 24])), Some(libc::EFAULT));
    b.reset()?;
    assert_eq!(errno(to.write(&[0xff])), Some(libc::ENODEV));
    Ok(())
}

/// The two devices of our sample, and their module.
struct Samples {
    devices: [Device; 2],
    _module: Loaded,
}

impl Samples {
    fn open() -> Result<Self> {
        let module = Loaded::new(sample::MODULE)?;
        let open = |number| Device::open(&sample::device(number)?);
        Ok(Self {
            devices: [open(0)?, open(1)?],
            _module: module,
        })
    }
}

/// The registers of a sample device.
struct Sample<'a>(&'a Device);

impl Sample<'_> {
    fn get(&self, register: Register) -> Result<u64> {
        let mut value = [0; 8];
        self.0.file().read_exact_at(&mut value, register as u64)?;
        Ok(u64::from_le_bytes(value))
    }

    fn set(&self, register: Register, value: u64) -> Result<()> {
        let value = value.to_le_bytes();
        Ok(self.0.file().write_all_at(&value, register as u64)?)
    }

    /// Lets it copy its value to memory.
    fn copy_to(&self, iova: u64) -> Result<()> {
        self.set(Register::Address, iova)?;
        self.set(Register::Command, COPY)
    }

    /// Computes the value that it must have after its steps.
    fn expected(&self) -> Result<u64> {
        let steps = self.get(Register::Steps)?;
        Ok((0..steps).fold(1, |value, _| Registers::step(value)))
    }
}

fn sample_moves() -> TestResult {
    let samples = Samples::open()?;
    let [a, b] = &samples.devices;
    let (source, target) = (Sample(a), Sample(b));
    source.set(Register::On, 1)?;
    let moved = move_device(a, b, || Ok(()))?;
    assert!(moved.running >= sample::MEMORY as u64, "{moved:?}");
    target.set(Register::On, 0)?;
    assert!(target.get(Register::Steps)? > 0);
    assert_eq!(target.get(Register::Value)?, target.expected()?);
    Ok(())
}

/// The size and the place of a guest's memory.
const PAGES: u64 = 64;
const AT: u64 = 0x10_0000;
const PAGE: usize = 4096;

/// Allocates the memory of a guest, and maps it for its device.
fn guest(device: &Device) -> Result<Memory> {
    let memory = Memory::anonymous(PAGES as usize * PAGE)?;
    let start = memory.address() as *const u8;
    // SAFETY: The memory is accessed by copies only, until it goes as a whole.
    unsafe { device.container.map(AT, memory.len() as u64, start)? };
    Ok(memory)
}

/// Returns the pages whose bits are set.
fn pages(bits: &Bitmap) -> Vec<usize> {
    let is_set = |page: &usize| bits[page / 64] >> (page % 64) & 1 == 1;
    (0..bits.len() * 64).filter(is_set).collect()
}

/// The whole guest moves: the memory that its device writes as well, found by the log of the
/// device and by that of the container.
fn sample_moves_with_its_guest() -> TestResult {
    let samples = Samples::open()?;
    let [a, b] = &samples.devices;
    let (source, target) = (Sample(a), Sample(b));
    let (old, new) = (guest(a)?, guest(b)?);
    a.start_log(AT, PAGES)?;
    // A kernel whose iommufd has no bitmaps cannot report what is in the log.
    let reports = errno(a.log(AT, PAGES)) != Some(libc::EOPNOTSUPP);
    a.container.start_tracking()?;
    source.set(Register::On, 1)?;
    // The device tells of all that it writes, and has written nothing.
    assert_eq!(pages(&a.container.dirty(AT, PAGES)?), [0; 0]);
    let send = |pages: &[usize]| {
        for &page in pages {
            new.write(page * PAGE, &old.read(page * PAGE, PAGE));
        }
    };
    send(&Vec::from_iter(0..PAGES as usize));
    let mut round = 0;
    move_device(a, b, || {
        // The guest writes a page, and its device another one.
        round += 1;
        let mut dirty = vec![round, 20 + round];
        old.write(round * PAGE, &[7; PAGE]);
        if a.state()? == PRE_COPY {
            source.copy_to(AT + ((20 + round) * PAGE) as u64 + 64)?;
        } else {
            dirty.pop();
        }
        let written = pages(&a.container.dirty(AT, PAGES)?);
        assert_eq!(written, dirty[1..], "round {round}");
        if reports {
            assert_eq!(pages(&a.log(AT, PAGES)?), dirty[1..], "round {round}");
        }
        send(&dirty);
        Ok(())
    })?;
    a.stop_log()?;
    a.container.stop_tracking()?;
    assert!(round > 1);
    assert!(
        old.read(0, old.len()) == new.read(0, new.len()),
        "the guests differ"
    );
    // The device goes on in the guest that has moved.
    target.set(Register::On, 0)?;
    target.copy_to(AT + 8)?;
    let value = target.get(Register::Value)?;
    assert_eq!(new.read(8, 8), value.to_le_bytes());
    assert_eq!(value, target.expected()?);
    for device in [a, b] {
        assert_eq!(
            device.container.unmap(AT, PAGES * PAGE as u64)?,
            PAGES * PAGE as u64
        );
    }
    Ok(())
}

/// The target fails, so the source goes on.
fn sample_goes_on_after_all() -> TestResult {
    let samples = Samples::open()?;
    let [a, b] = &samples.devices;
    let source = Sample(a);
    source.set(Register::On, 1)?;
    let mut calls = 0;
    let failed = move_device(a, b, || {
        calls += 1;
        ensure!(calls < 3, "somebody has given it up");
        Ok(())
    });
    assert!(failed.is_err());
    a.go(RUNNING)?;
    b.reset()?;
    assert_eq!((a.state()?, b.state()?), (RUNNING, RUNNING));
    // Nothing is lost: it moves now.
    move_device(a, b, || Ok(()))?;
    let target = Sample(b);
    target.set(Register::On, 0)?;
    assert_eq!(target.get(Register::Value)?, target.expected()?);
    Ok(())
}

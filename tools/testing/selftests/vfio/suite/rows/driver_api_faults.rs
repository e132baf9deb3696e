// SPDX-License-Identifier: GPL-2.0
//! Allocations that fail for a driver that is written with the API in Rust: row F219.
//!
//! As in `fault_injection.rs`. What the driver allocates fails as well as what the API and the core
//! do.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{ensure, Context};
use rustix::io::Errno;
use vfio_selftests::{
    container::Container,
    device::{irqs_arg, Device, Event},
    memory::Memory,
    migration::state_arg,
    request::Arg,
    sample::{self, Register, Registers, COPY, IRQ_DONE, KEEP},
    target::Target,
    uapi::{self, IrqSet},
    PAGE,
};

use super::{
    driver_api::{compute, log_report, log_start, log_stop, Loaded, LogStart, Opened, IOVA},
    fault_injection::{close, each_allocation, fails_cleanly, Name},
};
use crate::{
    check::Books,
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F219_open_out_of_memory.limit(120),
    F219_interrupts_out_of_memory,
    F219_pin_out_of_memory.limit(120),
    F219_dirty_log_out_of_memory,
    F219_writes_out_of_memory.limit(120),
    F219_migration_out_of_memory.limit(240),
];

fn F219_open_out_of_memory() -> TestResult {
    let _module = Loaded::new()?;
    let sample = sample::device(0)?;
    let container = Container::open()?;
    let group = sample.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let name = Name::of(&sample);
    fails_cleanly(|| name.open(&group), close)
}

fn F219_interrupts_out_of_memory() -> TestResult {
    let opened = Opened::new()?;
    let device = opened.device();
    let event = Event::new()?;
    let set = IrqSet {
        flags: uapi::IRQ_SET_DATA_EVENTFD | uapi::IRQ_SET_ACTION_TRIGGER,
        index: IRQ_DONE,
        count: 1,
        ..Default::default()
    };
    let arg = irqs_arg(set, &event.as_fd().as_raw_fd().to_ne_bytes())?;
    fails_cleanly(
        || arg.send(device, uapi::DEVICE_SET_IRQS),
        |_| device.disable_irqs(IRQ_DONE),
    )
}

fn F219_pin_out_of_memory() -> TestResult {
    let memory = Memory::anonymous(PAGE)?;
    memory.fill(1);
    let mut refused = 0;
    each_allocation(|fault| {
        // A new device, whose table has no room for pages yet.
        let opened = Opened::new()?;
        opened.session.container.map(&memory, IOVA)?;
        let registers = opened.registers()?;
        registers.set(Register::Address, IOVA)?;
        let books = Books::open()?;
        let keep = || registers.set(Register::Command, KEEP);
        if let Err(error) = fault.during(keep)? {
            ensure!(error == Errno::NOMEM, "{error}");
            books.say(0, 0);
            keep().context("the pin after one that failed")?;
            refused += 1;
        }
        books.say(1, 1);
        Ok(())
    })?;
    println!("# {refused} times ENOMEM");
    ensure!(refused > 0, "no allocation mattered");
    Ok(())
}

fn F219_dirty_log_out_of_memory() -> TestResult {
    let opened = Opened::new()?;
    let start = LogStart::new()?;
    fails_cleanly(
        || start.send(opened.device()),
        |()| log_stop(opened.device()),
    )
}

/// A write that cannot be noted is reported all the same, with all others that there could have been.
fn F219_writes_out_of_memory() -> TestResult {
    const PAGES: usize = 64;
    let opened = Opened::new()?;
    let device = opened.device();
    let memory = Memory::anonymous(PAGES * PAGE)?;
    memory.fill(1);
    opened.session.container.map(&memory, IOVA)?;
    let registers = opened.registers()?;
    registers.set(Register::Address, IOVA + 3 * PAGE as u64)?;
    let mut not_noted = 0;
    each_allocation(|fault| {
        log_start(device)?;
        fault
            .during(|| registers.set(Register::Command, COPY))?
            .context("a copy needs no memory")?;
        let pages = log_report(device, IOVA, PAGES)?;
        ensure!(pages == [3] || pages.len() == PAGES, "{pages:?}");
        not_noted += usize::from(pages.len() == PAGES);
        log_stop(device)?;
        Ok(())
    })?;
    println!("# {not_noted} times all pages");
    ensure!(not_noted > 0, "no allocation mattered");
    Ok(())
}

/// The requests of a move, made before because that allocates.
struct Move {
    pre_copy: Arg,
    stop_copy: Arg,
    resuming: Arg,
    stop: Arg,
    running: Arg,
}

impl Move {
    fn new() -> rustix::io::Result<Self> {
        Ok(Self {
            pre_copy: state_arg(uapi::DEVICE_STATE_PRE_COPY)?,
            stop_copy: state_arg(uapi::DEVICE_STATE_STOP_COPY)?,
            resuming: state_arg(uapi::DEVICE_STATE_RESUMING)?,
            stop: state_arg(uapi::DEVICE_STATE_STOP)?,
            running: state_arg(uapi::DEVICE_STATE_RUNNING)?,
        })
    }

    /// Saves a piece of the running source and the rest of the stopped one, all of which the
    /// target takes. Then the target runs.
    fn make(&self, source: &Device, target: &Device, piece: &mut [u8]) -> rustix::io::Result<()> {
        let begin = |device: &Device, arg| device.send_migration_state(arg)?.ok_or(Errno::INVAL);
        let from = begin(source, &self.pre_copy)?;
        let to = begin(target, &self.resuming)?;
        let mut copy = || -> rustix::io::Result<usize> {
            let count = rustix::io::read(&from, &mut *piece)?;
            let mut rest = &piece[..count];
            while !rest.is_empty() {
                rest = &rest[rustix::io::write(&to, rest)?..];
            }
            Ok(count)
        };
        copy()?;
        source.send_migration_state(&self.stop_copy)?;
        while copy()? > 0 {}
        target.send_migration_state(&self.stop)?;
        target.send_migration_state(&self.running)?;
        source.send_migration_state(&self.stop)?;
        Ok(())
    }
}

/// A move that fails leaves a source that goes on, and a target to which it can be moved.
fn F219_migration_out_of_memory() -> TestResult {
    let _module = Loaded::new()?;
    let source = sample::device(0)?.open(uapi::TYPE1v2_IOMMU)?;
    let target = sample::device(1)?.open(uapi::TYPE1v2_IOMMU)?;
    let [source, target] = [&source.device, &target.device];
    let steps = |device: &Device| Registers::of(device)?.get(Register::Steps);
    let requests = Move::new()?;
    let mut piece = vec![1; 16 * PAGE];
    let mut refused = 0;
    each_allocation(|fault| {
        let made = compute(Registers::of(source)?, 100)?;
        if let Err(error) = fault.during(|| requests.make(source, target, &mut piece))? {
            ensure!(error == Errno::NOMEM, "{error}");
            source.send_migration_state(&requests.running)?;
            ensure!(steps(source)? == made);
            target.reset()?;
            let again = requests.make(source, target, &mut piece);
            again.context("the move after one that failed")?;
            refused += 1;
        }
        ensure!(steps(target)? == made);
        source.reset()?;
        target.reset()?;
        Ok(())
    })?;
    println!("# {refused} times ENOMEM");
    ensure!(refused > 0, "no allocation mattered");
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Eventfds that call into a driver: rows F075-F077 and R-37.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    thread,
};

use rustix::{
    event::EventfdFlags,
    io::{Errno, Result},
};

use crate::{
    fixture::{
        abi::{VIRQ_HANDLER, VIRQ_THREAD},
        Device, Fixture, Kind, Knob, Op,
    },
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F075_virqfd_enable,
    F076_virqfd_hangup_races_disable,
    F077_virqfd_flush_thread,
    R37_eventfd_closed_by_itself,
];

fn eventfd(count: u32) -> Result<OwnedFd> {
    rustix::event::eventfd(count, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

fn signal(fd: &OwnedFd) -> TestResult {
    rustix::io::write(fd, &1u64.to_ne_bytes())?;
    Ok(())
}

fn enable(device: &Device<'_>, slot: u64, fd: impl AsFd, how: u64) -> Result<()> {
    enable_number(device, slot, fd.as_fd().as_raw_fd(), how)
}

fn enable_number(device: &Device<'_>, slot: u64, fd: i32, how: u64) -> Result<()> {
    device
        .call(Op::VirqEnable, &[slot, i64::from(fd) as u64, how])
        .map(drop)
}

fn F075_virqfd_enable() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let handled = || device.count(Kind::VirqHandler);
    let fd = eventfd(0)?;
    assert_eq!(
        enable_number(&device, 0, -1, VIRQ_HANDLER),
        Err(Errno::BADF)
    );
    assert_eq!(
        enable_number(&device, 0, 9999, VIRQ_HANDLER),
        Err(Errno::BADF)
    );
    assert_eq!(
        enable(&device, 0, File::open("/dev/null")?, VIRQ_HANDLER),
        Err(Errno::INVAL)
    );
    // None of these took the slot.
    assert_eq!(enable(&device, 0, &fd, VIRQ_HANDLER), Ok(()));
    assert_eq!(enable(&device, 0, &fd, VIRQ_HANDLER), Err(Errno::BUSY));
    assert_eq!(
        enable(&device, 0, eventfd(0)?, VIRQ_HANDLER),
        Err(Errno::BUSY)
    );
    assert_eq!(handled()?, 0);

    signal(&fd)?;
    device.wait_count(Kind::VirqHandler, 1)?;
    // The signal was consumed.
    assert_eq!(rustix::io::read(&fd, &mut [0; 8]), Err(Errno::AGAIN));
    signal(&fd)?;
    device.wait_count(Kind::VirqHandler, 2)?;
    device.call(Op::VirqDisable, &[0])?;
    signal(&fd)?;
    assert_eq!(handled()?, 2, "called after it was disabled");
    assert_eq!(rustix::io::read(&fd, &mut [0; 8]), Ok(8));

    // One that was signalled before counts once.
    let early = eventfd(3)?;
    assert_eq!(enable(&device, 0, &early, VIRQ_HANDLER), Ok(()));
    assert_eq!(handled()?, 3);
    device.call(Op::VirqDisable, &[0])?;

    // The thread callback: always without a handler, otherwise if that says so.
    let threads = || device.count(Kind::VirqThreadDone);
    assert_eq!(enable(&device, 1, &fd, VIRQ_THREAD), Ok(()));
    signal(&fd)?;
    device.wait_count(Kind::VirqThreadDone, 1)?;
    device.call(Op::VirqDisable, &[1])?;
    assert_eq!(enable(&device, 1, &fd, VIRQ_HANDLER | VIRQ_THREAD), Ok(()));
    signal(&fd)?;
    device.wait_count(Kind::VirqHandler, 4)?;
    device.call(Op::VirqFlush, &[1])?;
    assert_eq!(threads()?, 1, "the handler had done it all");
    device.knob(Knob::VirqWake, 1)?;
    signal(&fd)?;
    device.wait_count(Kind::VirqThreadDone, 2)?;
    device.call(Op::VirqDisable, &[1])?;
    // Nothing to disable is fine.
    device.call(Op::VirqDisable, &[1])?;
    Ok(())
}

fn F076_virqfd_hangup_races_disable() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().knob(Knob::VirqWake, 1).create()?;
    for round in 0..200 {
        let fd = eventfd(0)?;
        enable(&device, 0, &fd, VIRQ_HANDLER | VIRQ_THREAD)?;
        if round % 3 == 0 {
            signal(&fd)?;
        }
        thread::scope(|scope| {
            scope.spawn(|| drop(fd));
            device.call(Op::VirqDisable, &[0])
        })?;
        // Whoever came first, the slot is free now.
        let next = eventfd(0)?;
        assert_eq!(
            enable(&device, 0, &next, VIRQ_HANDLER),
            Ok(()),
            "round {round}"
        );
        device.call(Op::VirqDisable, &[0])?;
    }
    assert_eq!(
        device.count(Kind::VirqThread)?,
        device.count(Kind::VirqThreadDone)?
    );
    Ok(())
}

fn F077_virqfd_flush_thread() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().knob(Knob::VirqThreadMs, 600).create()?;
    let fd = eventfd(0)?;
    enable(&device, 0, &fd, VIRQ_THREAD)?;
    signal(&fd)?;
    device.wait_count(Kind::VirqThread, 1)?;
    assert_eq!(device.count(Kind::VirqThreadDone)?, 0);
    device.call(Op::VirqFlush, &[0])?;
    assert_eq!(device.count(Kind::VirqThreadDone)?, 1, "it did not wait");
    // Nothing is due, and an empty slot: nothing to wait for.
    device.call(Op::VirqFlush, &[0])?;
    device.call(Op::VirqFlush, &[1])?;
    // Disabling waits as well.
    signal(&fd)?;
    device.wait_count(Kind::VirqThread, 2)?;
    device.call(Op::VirqDisable, &[0])?;
    assert_eq!(device.count(Kind::VirqThreadDone)?, 2);
    Ok(())
}

fn R37_eventfd_closed_by_itself() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    for _ in 0..20 {
        let fd = eventfd(0)?;
        enable(&device, 0, &fd, VIRQ_HANDLER)?;
        // A copy keeps it open.
        let copy = rustix::io::dup(&fd)?;
        drop(fd);
        signal(&copy)?;
        assert_eq!(
            enable(&device, 0, eventfd(0)?, VIRQ_HANDLER),
            Err(Errno::BUSY)
        );
        drop(copy);
        // That was the last one: the slot is free without a disable.
        let next = eventfd(0)?;
        assert_eq!(enable(&device, 0, &next, VIRQ_HANDLER), Ok(()));
        device.call(Op::VirqDisable, &[0])?;
    }
    assert_eq!(device.count(Kind::VirqHandler)?, 20);
    // A device that goes while it listens takes care of that itself; here the
    // fixture does.
    let fd = eventfd(0)?;
    enable(&device, 0, &fd, VIRQ_HANDLER)?;
    device.remove()?;
    signal(&fd)
}

// SPDX-License-Identifier: GPL-2.0
//! How unregistration waits for users, and what is left of a device then: rows
//! F064-F067, F152, R-28, R-66, and parts of contract section 1.7.

use std::{
    os::fd::{AsFd, AsRawFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::{
    io::Errno,
    process::{test_kill_process, Signal},
};
use vfio_selftests::{
    kmsg,
    process::Child,
    target::{wait_for, Target},
    uapi,
};

use crate::{
    fixture::{abi, Device, Event, Fixture, Kind, Life, Op},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F064_unregister_idle,
    F065_unregister_busy_cadence,
    F066_unregister_signal,
    F067_registration_get_put,
    F152_file_has_an_unregistered_device,
    R28_killed_while_unregistering,
    R66_group_in_the_place_of_another.holds(Holds::OnlyRustCore),
];

/// What counts as at once, on a slow machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The time between one event and the next, in tenths of a second.
fn tenths(events: &[Event]) -> Vec<u64> {
    events
        .windows(2)
        .map(|pair| (pair[1].ns - pair[0].ns) / 100_000_000)
        .collect()
}

fn F064_unregister_idle() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    // Used, but not any more.
    drop(device.open(uapi::TYPE1v2_IOMMU)?);
    // The group file is no user of the device.
    let group = device.open_group()?;
    let start = Instant::now();
    device.call(Op::Unregister, &[])?;
    assert!(start.elapsed() < AT_ONCE, "it took {:?}", start.elapsed());
    assert_eq!(device.count(Kind::Request)?, 0);
    assert_eq!(group.status(), Err(Errno::NODEV));
    Ok(())
}

fn F065_unregister_busy_cadence() -> TestResult {
    let fixture = Fixture::open()?;
    // All kinds of users at the same time, for this takes 20 seconds.
    let opened = fixture.device()?;
    let silent = fixture.build().without(Kind::Request).create()?;
    let held = fixture.device()?;
    let unbound = fixture.device()?;
    let session = opened.open(uapi::TYPE1v2_IOMMU)?;
    let silent_session = silent.open(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(held.call(Op::Hold, &[])?, 1);
    // Without device nodes this one just counts as idle.
    let node = unbound.open_node()?;

    let start = Instant::now();
    let all = [&opened, &silent, &held, &unbound];
    for device in all {
        device.unregister_later()?;
    }
    let mut asked = vec![&opened, &held];
    asked.extend(node.is_some().then_some(&unbound));
    for device in &asked {
        device.wait_count(Kind::Request, 1)?;
    }
    assert!(
        start.elapsed() < AT_ONCE,
        "the first request came after {:?}",
        start.elapsed()
    );
    for _ in 0..230 {
        thread::sleep(Duration::from_millis(100));
        if asked
            .iter()
            .all(|device| device.count(Kind::Request).unwrap_or(0) >= 3)
        {
            break;
        }
    }
    for device in &asked {
        let requests = device.events_of(Kind::Request)?;
        let numbers: Vec<_> = requests.iter().map(|event| event.a).collect();
        assert_eq!(numbers, [0, 1, 2]);
        let pauses = tenths(&requests);
        assert!(
            pauses.iter().all(|pause| (99..180).contains(pause)),
            "{pauses:?}"
        );
    }
    for device in asked.iter().chain([&&silent]) {
        assert!(device.is(Life::Unregistering)?);
    }

    // None of them waits out its ten seconds once the user is gone.
    let end = Instant::now();
    drop((session, silent_session, node));
    held.call(Op::Drop, &[])?;
    for device in all {
        device.wait_unregistered()?;
    }
    assert!(
        end.elapsed() < AT_ONCE,
        "it took {:?} to notice",
        end.elapsed()
    );
    Ok(())
}

/// Lets SIGUSR1 interrupt system calls and do nothing else.
fn catch_usr1() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: An all-zero `sigaction` is valid: no flags, so that nothing is
    // restarted, and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: The action is valid, and its handler does nothing.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// Sends SIGUSR1 to a thread of this process.
fn interrupt(tid: u32) {
    // SAFETY: Sending a signal that has a handler.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
    assert_eq!(result, 0, "no thread {tid}");
}

fn F066_unregister_signal() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = device.open(uapi::TYPE1v2_IOMMU)?;
    catch_usr1();
    let mut log = kmsg::Log::from_now()?;
    thread::scope(|scope| -> TestResult {
        let waiting = thread::Builder::new()
            .name("vfio-unreg".into())
            .spawn_scoped(scope, || device.call(Op::Unregister, &[]))?;
        device.wait_count(Kind::Request, 1)?;
        let tid = device.events_of(Kind::Request)?[0].tid;

        // A signal leads to another request at once, ...
        let start = Instant::now();
        interrupt(tid);
        device.wait_count(Kind::Request, 2)?;
        assert!(start.elapsed() < AT_ONCE, "it took {:?}", start.elapsed());
        // ... and to no end of the wait, nor does any later signal.
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(100));
            interrupt(tid);
        }
        thread::sleep(Duration::from_millis(300));
        assert_eq!(device.count(Kind::Request)?, 2);
        assert!(device.is(Life::Unregistering)?);
        let warnings = log.with(&["vfio-unreg", &tid.to_string(), "blocked"])?;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].level, 4, "{warnings:?}");
        assert!(warnings[0].text.contains(device.name()), "{warnings:?}");

        let start = Instant::now();
        drop(session);
        waiting
            .join()
            .expect("the waiting thread")
            .context("unregister")?;
        assert!(start.elapsed() < AT_ONCE, "it took {:?}", start.elapsed());
        let numbers: Vec<_> = device
            .events_of(Kind::Request)?
            .iter()
            .map(|e| e.a)
            .collect();
        assert_eq!(numbers, [1]);
        Ok(())
    })
}

fn F067_registration_get_put() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().flags(abi::NO_REGISTER).create()?;
    assert_eq!(
        device.call(Op::Hold, &[])?,
        0,
        "a hold on a device that is not registered"
    );
    device.call(Op::Register, &[])?;
    assert_eq!(device.call(Op::Hold, &[])?, 1);
    assert_eq!(device.call(Op::Hold, &[])?, 1);
    device.unregister_later()?;
    device.wait_count(Kind::Request, 1)?;
    // As long as somebody has one, there can be more.
    assert_eq!(device.call(Op::Hold, &[])?, 1);
    device.call(Op::Drop, &[])?;
    device.call(Op::Drop, &[])?;
    assert!(device.is(Life::Unregistering)?);
    device.call(Op::Drop, &[])?;
    device.wait_unregistered()?;
    assert_eq!(
        device.call(Op::Hold, &[])?,
        0,
        "a hold after the last one was given back"
    );
    assert_eq!(device.count(Kind::Request)?, 1);
    Ok(())
}

/// Whether the core takes a file for that of a device's group.
fn has(file: impl AsFd, device: &Device<'_>) -> rustix::io::Result<bool> {
    let bits = device.call(Op::File, &[file.as_fd().as_raw_fd() as u64])?;
    Ok(bits & abi::FILE_HAS_DEV != 0)
}

fn F152_file_has_an_unregistered_device() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.build().flags(abi::NO_REGISTER).create()?;
    let other = fixture.device()?;
    let others = other.open_group()?;
    assert!(!has(&others, &device)?, "it is in no group");
    device.call(Op::Register, &[])?;
    let group = device.open_group()?;
    assert!(has(&group, &device)? && !has(&others, &device)?);
    // Its group has no device any more. A driver still has this one, and may
    // ask, as vfio-pci does before it resets all devices of a set.
    device.call(Op::Unregister, &[])?;
    assert_eq!(group.status(), Err(Errno::NODEV));
    assert!(device.is(Life::Unregistered)?);
    assert!(has(&group, &device)? && !has(&others, &device)?);
    assert!(!has(&group, &other)? && has(&others, &other)?);
    Ok(())
}

fn R66_group_in_the_place_of_another() -> TestResult {
    let fixture = Fixture::open()?;
    // All devices are there before, so that little but groups is allocated then.
    let new = || fixture.build().flags(abi::NO_REGISTER).create();
    let device = new()?;
    let others = (0..20).map(|_| new()).collect::<anyhow::Result<Vec<_>>>()?;
    // Its group is gone with it, and new groups may get the memory.
    device.call(Op::Register, &[])?;
    device.call(Op::Unregister, &[])?;
    for other in &others {
        other.call(Op::Register, &[])?;
        let group = other.open_group()?;
        assert!(has(&group, other)? && !has(&group, &device)?);
    }
    Ok(())
}

fn R28_killed_while_unregistering() -> TestResult {
    let fixture = Fixture::open()?;
    let device = fixture.device()?;
    let session = device.open(uapi::TYPE1v2_IOMMU)?;
    let child = Child::fork(|| {
        // Its copy of the open device would keep itself waiting for ever.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        close_inherited(&session);
        device.call(Op::Unregister, &[])?;
        std::process::exit(0)
    })?;
    let pid = child.pid();
    device.wait_count(Kind::Request, 1)?;
    child.signal(Signal::KILL)?;
    device.wait_count(Kind::Request, 2)?;
    // Even a fatal signal does not end the wait: the device is in use.
    thread::sleep(Duration::from_millis(500));
    assert!(test_kill_process(pid).is_ok());
    assert!(device.is(Life::Unregistering)?);
    assert_eq!(device.count(Kind::Request)?, 2, "it spins");
    drop(session);
    let status = child.wait()?;
    assert_eq!(status.terminating_signal(), Some(Signal::KILL.as_raw()));
    wait_for("unregistration", || {
        device.is(Life::Unregistered).unwrap_or(false)
    })
}

/// Closes this process's copies of the files of a session, which it shares
/// with its parent.
fn close_inherited(session: &vfio_selftests::target::Session) {
    let files = [
        session.device.as_fd(),
        session.group.as_fd(),
        session.container.as_fd(),
    ];
    for file in files {
        // SAFETY: Only this child loses the descriptor, and it ends without
        // using or dropping the session.
        unsafe { libc::close(file.as_raw_fd()) };
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Runs one test in a process of its own.
//!
//! The process leads a process group, so that whatever it leaves behind can be
//! killed with it. What it says goes through a pipe. A test that does not end
//! in time is shown where it waits, and killed; one that cannot be killed
//! hangs in the kernel, and nothing more can be tested on this machine.

use std::{
    fs,
    io::Read,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    pipe::PipeFlags,
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus},
};

use super::{Row, Skip, TestResult, Verdict};
use crate::{kmsg, process::Child};

/// The exit status of a test that skips itself.
const SKIPPED: i32 = 4;
/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test, after `tidy`: how it ended, and what it said.
pub(super) fn run(row: &Row, tidy: fn() -> TestResult) -> (Verdict, Vec<u8>) {
    kmsg::note(&format!("test {}", row.name));
    match try_run(row, tidy) {
        Ok(result) => result,
        Err(error) => (
            Verdict::Fail,
            format!("cannot run the test: {error:#}").into_bytes(),
        ),
    }
}

fn try_run(row: &Row, tidy: fn() -> TestResult) -> anyhow::Result<(Verdict, Vec<u8>)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let child = Child::fork(|| child(row, tidy, &write))?;
    drop(write);
    let pidfd = rustix::process::pidfd_open(child.pid(), PidfdFlags::empty())?;
    let mut output = Output {
        pipe: read,
        said: Vec::new(),
    };

    let slow = super::slow();
    let in_time = output.until_end_of(&pidfd, row.limit * slow)?;
    if !in_time {
        output.add(&format!(
            "did not end in {:?}; its threads wait here:\n",
            row.limit * slow
        ));
        output.add(&where_it_waits(child.pid()));
    }
    // Whatever the test left behind goes now.
    let _ = rustix::process::kill_process_group(child.pid(), Signal::KILL);
    if !output.until_end_of(&pidfd, PATIENCE)? {
        output.add("it cannot be killed; its threads wait here:\n");
        output.add(&where_it_waits(child.pid()));
        // Not dropped: that would wait for it.
        std::mem::forget(child);
        return Ok((Verdict::Stuck, output.said));
    }
    let status = rustix::process::waitid(
        WaitId::PidFd(pidfd.as_fd()),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )?;
    child.wait()?;
    let verdict = match in_time {
        true => verdict(status, &output.said),
        false => Verdict::Fail,
    };
    Ok((verdict, output.said))
}

fn verdict(status: Option<WaitIdStatus>, said: &[u8]) -> Verdict {
    match status.and_then(|status| status.exit_status()) {
        Some(0) => Verdict::Pass,
        Some(SKIPPED) => {
            let said = String::from_utf8_lossy(said);
            Verdict::Skip(said.lines().last().unwrap_or_default().to_owned())
        }
        _ => Verdict::Fail,
    }
}

/// What a test says, collected while it runs.
struct Output {
    pipe: OwnedFd,
    said: Vec<u8>,
}

impl Output {
    fn add(&mut self, text: &str) {
        self.said.extend_from_slice(text.as_bytes());
    }

    /// Collects until the process has ended; whether it did so in time.
    fn until_end_of(&mut self, pidfd: &OwnedFd, limit: Duration) -> anyhow::Result<bool> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            // The process first: its pipe may be held open by others.
            let mut fds = [
                PollFd::new(pidfd, PollFlags::IN),
                PollFd::new(&self.pipe, PollFlags::IN),
            ];
            let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&left)))?;
            let ended = !fds[0].revents().is_empty();
            let said = fds[1].revents().contains(PollFlags::IN);
            if said {
                let mut bytes = [0; 4096];
                let len = rustix::io::read(&self.pipe, &mut bytes)?;
                self.said.extend_from_slice(&bytes[..len]);
            } else if ended || ready == 0 {
                return Ok(ended);
            } else {
                // The pipe was closed; only the process is left to wait for.
                let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
                rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&left)))?;
                return Ok(!fds[0].revents().is_empty());
            }
        }
    }
}

/// The kernel stacks of a process and of what it started.
fn where_it_waits(leader: Pid) -> String {
    let mut text = String::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(group) = process_group(&path.join("stat")) else {
            continue;
        };
        if group != leader.as_raw_pid() {
            continue;
        }
        for task in fs::read_dir(path.join("task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let read = |name| {
                let mut out = String::new();
                // A kernel without this file has nothing to tell.
                let _ = fs::File::open(task.path().join(name))
                    .and_then(|mut file| file.read_to_string(&mut out));
                out
            };
            text += &format!(
                "{} {}: {}\n",
                entry.file_name().to_string_lossy(),
                read("comm").trim(),
                read("wchan")
            );
            text += &read("stack");
        }
    }
    text
}

/// The process group in a `/proc/<pid>/stat`.
fn process_group(stat: &std::path::Path) -> Option<i32> {
    let text = fs::read_to_string(stat).ok()?;
    // The name in parentheses may contain anything.
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(2)?
        .parse()
        .ok()
}

/// What the process of a test does.
fn child(row: &Row, tidy: fn() -> TestResult, out: &OwnedFd) -> TestResult {
    rustix::process::setpgid(None, None)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::stdio::dup2_stdout(out)?;
    rustix::stdio::dup2_stderr(out)?;
    tidy()?;
    let result = (row.run)();
    if let Err(Some(skip)) = result
        .as_ref()
        .map_err(|error| error.downcast_ref::<Skip>())
    {
        println!("{skip}");
        std::process::exit(SKIPPED);
    }
    result
}

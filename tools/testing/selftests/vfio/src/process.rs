// SPDX-License-Identifier: GPL-2.0
//! This process: what it locked, what it may do, and its children; and what all have pinned.

use std::{
    os::fd::{AsFd, AsRawFd},
    panic,
};

use anyhow::{bail, ensure, Context, Result};
use rustix::{
    process::{Gid, Pid, Resource, Rlimit, Uid, WaitOptions, WaitStatus},
    thread::CapabilitySet,
};

use crate::sysfs;

/// A number of `/proc/self/status`, such as `VmLck` in KiB.
pub fn status(key: &str) -> Result<u64> {
    let text = sysfs::read("/proc/self/status")?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .with_context(|| format!("no {key} in /proc/self/status"))?;
    Ok(value
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .parse()?)
}

/// How much memory this process has locked, in bytes.
pub fn locked() -> Result<u64> {
    Ok(status("VmLck")? * 1024)
}

/// How many pages the kernel holds pinned for devices, all processes together.
pub fn pinned_pages() -> Result<i64> {
    // The counters are kept for each CPU and added up when asked to.
    sysfs::write("/proc/sys/vm/stat_refresh", "1")?;
    let text = sysfs::read("/proc/vmstat")?;
    let counter = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<i64>().ok())
            .with_context(|| format!("no {name}in /proc/vmstat"))
    };
    Ok(counter("nr_foll_pin_acquired ")? - counter("nr_foll_pin_released ")?)
}

/// What the kernel tells about an open file, as lines.
pub fn fdinfo(fd: impl AsFd) -> Result<String> {
    sysfs::read(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))
}

/// Where the link of an open file leads.
pub fn fd_link(fd: impl AsFd) -> Result<String> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let target = std::fs::read_link(&path).with_context(|| format!("read link {path}"))?;
    Ok(target.to_string_lossy().into_owned())
}

/// Gives a capability up, for this process and for good. A test that does so
/// runs in a process of its own, as all tests do.
pub fn drop_capability(which: CapabilitySet) -> Result<()> {
    let mut sets = rustix::thread::capabilities(None).context("read capabilities")?;
    sets.effective.remove(which);
    sets.permitted.remove(which);
    sets.inheritable.remove(which);
    rustix::thread::set_capabilities(None, sets).context("give up capabilities")
}

/// Becomes a user without any rights, for good: no capabilities, and no groups
/// but its own.
pub fn become_nobody() -> Result<()> {
    const NOBODY: u32 = 65534;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    // With one thread these are calls for the whole process.
    let threads = sysfs::list("/proc/self/task").len();
    ensure!(threads == 1, "{threads} threads; only one would change");
    rustix::thread::set_thread_groups(&[]).context("leave all groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).context("change the group")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).context("change the user")?;
    let left = rustix::thread::capabilities(None)?.permitted;
    ensure!(left.is_empty(), "capabilities are left: {left:?}");
    Ok(())
}

/// Limits how much memory this process may lock, in bytes. Has an effect only
/// without `CAP_IPC_LOCK`.
pub fn limit_locked(bytes: u64) -> Result<()> {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    rustix::process::setrlimit(Resource::Memlock, limit).context("set RLIMIT_MEMLOCK")
}

/// Limits how many files this process may have open.
pub fn limit_files(count: u64) -> Result<()> {
    let limit = Rlimit {
        current: Some(count),
        maximum: Some(count),
    };
    rustix::process::setrlimit(Resource::Nofile, limit).context("set RLIMIT_NOFILE")
}

/// A child process.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    reaped: bool,
}

impl Child {
    /// Runs `work` in a copy of this process, which must have one thread only.
    /// The copy ends with `work`: with status 0, or 1 and a message on standard
    /// error.
    pub fn fork(work: impl FnOnce() -> Result<()>) -> Result<Self> {
        let threads = sysfs::list("/proc/self/task").len();
        ensure!(threads == 1, "{threads} threads; only one can be copied");
        // SAFETY: With one thread no lock can be held by a thread that is not
        // copied, so the child may do whatever the parent could.
        match unsafe { libc::fork() } {
            -1 => bail!("fork: {}", std::io::Error::last_os_error()),
            0 => std::process::exit(run(work)),
            pid => {
                let pid = Pid::from_raw(pid).context("the child has no number")?;
                Ok(Self { pid, reaped: false })
            }
        }
    }

    /// The same, but the copy has no files besides the standard ones, so that
    /// it holds nothing open that the parent closes. `work` must not use any
    /// file of the parent, nor own one.
    pub fn fork_without_files(work: impl FnOnce() -> Result<()>) -> Result<Self> {
        Self::fork(|| {
            // SAFETY: The files belong to owners of which this copy drops none:
            // it ends below, and `work` owns none.
            unsafe { libc::close_range(3, u32::MAX, 0) };
            let status = run(work);
            // SAFETY: Ends the process at once; nothing is left to be written.
            unsafe { libc::_exit(status) }
        })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until it ends.
    pub fn wait(mut self) -> Result<WaitStatus> {
        self.reap()
    }

    fn reap(&mut self) -> Result<WaitStatus> {
        self.reaped = true;
        let waited = rustix::io::retry_on_intr(|| {
            rustix::process::waitpid(Some(self.pid), WaitOptions::empty())
        });
        Ok(waited
            .context("wait for a child")?
            .context("a child that did not end")?
            .1)
    }

    /// Waits until it ends, and fails if it failed.
    pub fn join(self) -> Result<()> {
        let status = self.wait()?;
        ensure!(
            status.exit_status() == Some(0),
            "the child process failed: {status:?}"
        );
        Ok(())
    }

    /// Kills it and waits until it is gone.
    pub fn kill(self) -> Result<()> {
        rustix::process::kill_process(self.pid, rustix::process::Signal::KILL)?;
        let status = self.wait()?;
        ensure!(
            status.terminating_signal().is_some(),
            "it ended before: {status:?}"
        );
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        rustix::process::kill_process(self.pid, signal).context("send a signal")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // A test that failed must not leave it behind.
            let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
            // In a panic it may wait for what is dropped only after this.
            if !std::thread::panicking() {
                let _ = self.reap();
            }
        }
    }
}

/// Runs `work` in a child process, and fails if it failed.
pub fn in_child(work: impl FnOnce() -> Result<()>) -> Result<()> {
    Child::fork(work)?.join()
}

/// Does the work of a child, and tells its exit status.
fn run(work: impl FnOnce() -> Result<()>) -> i32 {
    match panic::catch_unwind(panic::AssertUnwindSafe(work)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            eprintln!("{error:?}");
            1
        }
        // The panic said what it had to say.
        Err(_) => 1,
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Groups of processes whose memory is counted and limited together (cgroup v2).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::process::Pid;

use crate::{sysfs, target::wait_for};

const ROOT: &str = "/sys/fs/cgroup";

/// A group, removed when it is dropped. No process may be in it then.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a group whose memory is counted; `None` if this kernel cannot.
    pub fn create(name: &str) -> Result<Option<Self>> {
        let control = Path::new(ROOT).join("cgroup.subtree_control");
        let known = Path::new(ROOT).join("cgroup.controllers");
        if !known.exists() || !sysfs::read(known)?.split(' ').any(|name| name == "memory") {
            return Ok(None);
        }
        sysfs::write(control, "+memory")?;
        let path = Path::new(ROOT).join(name);
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Some(Self { path }))
    }

    /// Moves a process into it. Memory that it has already stays where it is
    /// counted.
    pub fn add(&self, process: Pid) -> Result<()> {
        let number = process.as_raw_pid().to_string();
        sysfs::write(self.path.join("cgroup.procs"), &number)
    }

    /// Limits its memory, in bytes.
    pub fn limit(&self, bytes: u64) -> Result<()> {
        sysfs::write(self.path.join("memory.max"), &bytes.to_string())
    }

    /// How much memory it has, in bytes.
    pub fn current(&self) -> Result<u64> {
        sysfs::read_number(self.path.join("memory.current"))
    }

    /// How often something happened to its memory: `oom_kill` or `max`.
    pub fn events(&self, what: &str) -> Result<u64> {
        let text = sysfs::read(self.path.join("memory.events"))?;
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix(what)?.strip_prefix(' '))
            .with_context(|| format!("no {what} in memory.events"))?;
        Ok(count.parse()?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just ended may still be there for a moment.
        if let Err(error) = wait_for("an empty cgroup", || fs::remove_dir(&self.path).is_ok()) {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Processes: their open files, and what they may lock.

use std::io::ErrorKind;

use serde::Serialize;

use crate::root::Root;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: u32,
    /// Its name, as `ps` shows it.
    pub(crate) comm: String,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.pid, self.comm)
    }
}

/// An open file of a process.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// Whose it is.
    pub(crate) process: Process,
    /// Its descriptor.
    pub(crate) fd: u32,
    /// Where its link leads.
    pub(crate) target: String,
}

/// Open files, as far as one can see.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenFiles {
    /// All that could be seen.
    pub(crate) files: Vec<Open>,
    /// How many processes did not show theirs.
    pub(crate) hidden: usize,
}

impl OpenFiles {
    /// Looks at all processes.
    pub(crate) fn read(root: &Root) -> Self {
        let mut all = Self::default();
        let pids = root.names("/proc");
        let mut pids: Vec<u32> = pids.iter().filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();
        for pid in pids {
            all.add(root, pid);
        }
        all
    }

    fn add(&mut self, root: &Root, pid: u32) {
        let dir = format!("/proc/{pid}/fd");
        let entries = match std::fs::read_dir(root.path(&dir)) {
            Ok(entries) => entries,
            // It has just ended.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(_) => {
                self.hidden += 1;
                return;
            }
        };
        let process = Process {
            pid,
            comm: root.read(format!("/proc/{pid}/comm")).unwrap_or_default(),
        };
        for entry in entries.flatten() {
            let fd = entry.file_name().to_str().and_then(|fd| fd.parse().ok());
            let target = std::fs::read_link(entry.path());
            if let (Some(fd), Ok(target)) = (fd, target) {
                self.files.push(Open {
                    process: process.clone(),
                    fd,
                    target: target.to_string_lossy().into_owned(),
                });
            }
        }
    }

    /// Returns who has this file open, each once.
    pub(crate) fn users(&self, target: &str) -> Vec<Process> {
        let mut users: Vec<_> = self
            .files
            .iter()
            .filter(|file| file.target == target)
            .map(|file| file.process.clone())
            .collect();
        users.sort();
        users.dedup();
        users
    }
}

/// A limit of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Limit {
    /// So many bytes.
    Bytes(u64),
    /// Everything.
    Unlimited,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&crate::output::size(*bytes)),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// How much memory a process has locked, and may lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Counted against the limit, in bytes.
    pub(crate) locked_bytes: Option<u64>,
    /// Held in place, and counted apart from it, in bytes.
    pub(crate) pinned_bytes: Option<u64>,
    /// How much it may lock.
    pub(crate) limit: Option<Limit>,
    /// Whether it may lock more than that (`CAP_IPC_LOCK`).
    pub(crate) exempt: bool,
}

const CAP_IPC_LOCK: u32 = 14;

impl Memory {
    /// Reads it of the process `who`: a number, or `self`.
    pub(crate) fn of(root: &Root, who: &str) -> Self {
        let status = root.read(format!("/proc/{who}/status")).unwrap_or_default();
        let limits = root.read(format!("/proc/{who}/limits")).unwrap_or_default();
        let value = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
                .map(str::trim)
        };
        let kib = |key| {
            let number: u64 = value(key)?.strip_suffix("kB")?.trim().parse().ok()?;
            number.checked_mul(1024)
        };
        let capabilities = value("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Self {
            locked_bytes: kib("VmLck"),
            pinned_bytes: kib("VmPin"),
            limit: memlock(&limits),
            exempt: capabilities.is_some_and(|set| set >> CAP_IPC_LOCK & 1 == 1),
        }
    }
}

/// Finds the soft limit in `/proc/<pid>/limits`.
fn memlock(limits: &str) -> Option<Limit> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(Limit::Unlimited),
        bytes => bytes.parse().ok().map(Limit::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_counts() {
        let text = "Limit                Soft Limit    Hard Limit    Units     \n\
                    Max locked memory    8388608       unlimited     bytes     \n";
        assert_eq!(memlock(text), Some(Limit::Bytes(8_388_608)));
        let text = "Max locked memory    unlimited     unlimited     bytes";
        assert_eq!(memlock(text), Some(Limit::Unlimited));
        assert_eq!(memlock(""), None);
    }
}

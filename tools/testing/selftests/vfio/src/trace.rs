// SPDX-License-Identifier: GPL-2.0
//! Tracepoints: what the kernel does, as it does it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::mount::{mount, MountFlags};

use crate::sysfs;

const TRACEFS: &str = "/sys/kernel/tracing";

/// The tracepoints of a group, which are on as long as this exists.
#[derive(Debug)]
pub struct Trace {
    group: PathBuf,
}

impl Trace {
    /// Switches on all that there are, and forgets what was traced before. None if the kernel
    /// has no tracing, or nothing of this group.
    pub fn begin(group: &str) -> Result<Option<Self>> {
        let dir = Path::new(TRACEFS);
        if !dir.exists() {
            return Ok(None);
        }
        if !dir.join("trace").exists() {
            mount("trace", dir, "tracefs", MountFlags::empty(), None)?;
        }
        let group = dir.join("events").join(group);
        if !group.exists() {
            return Ok(None);
        }
        sysfs::write(dir.join("trace"), "")?;
        sysfs::write(group.join("enable"), "1")?;
        Ok(Some(Self { group }))
    }

    /// What this process did since then: the name and the arguments of each event.
    pub fn events(&self) -> Result<Vec<String>> {
        let text = sysfs::read(Path::new(TRACEFS).join("trace"))?;
        Ok(of_process(&text, std::process::id()))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Err(error) = sysfs::write(self.group.join("enable"), "0") {
            eprintln!("{error:#}");
        }
    }
}

/// The events of a process: `name-pid [cpu] flags time: event: arguments`.
fn of_process(text: &str, pid: u32) -> Vec<String> {
    let task = format!("-{pid}");
    let mine = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.ends_with(&task))
    };
    text.lines()
        .filter(mine)
        .filter_map(|line| Some(line.split_once(": ")?.1.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::of_process;

    #[test]
    fn only_events_of_the_process_count() {
        let text = "# tracer: nop\n\
                    \u{20}      a-b-17      [000] .....     1.5: vfio_map: iova=0x0: x\n\
                    \u{20}        c-117     [001] .....     1.6: vfio_unmap: iova=0x0\n";
        assert_eq!(of_process(text, 17), ["vfio_map: iova=0x0: x"]);
        assert_eq!(of_process(text, 7), [""; 0]);
    }
}

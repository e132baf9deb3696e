// SPDX-License-Identifier: GPL-2.0
//! What the kernel has said about VFIO and IOMMUs.

use std::{fs::File, io::Read, os::unix::fs::OpenOptionsExt};

use anyhow::{Context, Result};
use vfio_selftests::kmsg::{self, Message};

use super::Check;
use crate::root::Root;

const TOPIC: &str = "log";
const LOG: &str = "/dev/kmsg";
/// So many of the last messages are shown.
const SHOWN: usize = 5;
/// What is grave, whatever level it has.
const FAULTS: [&str; 3] = ["DMAR: [", "IO_PAGE_FAULT", "fault addr"];
const SUBJECTS: [&str; 6] = ["vfio", "VFIO", "DMAR", "AMD-Vi", "IO_PAGE_FAULT", "iommu"];
/// What is said of each module that did not come with the kernel, before each fault, and when
/// a program resets its device.
const HARMLESS: [&str; 5] = [
    "taints kernel",
    "tainting kernel",
    "handling fault status",
    ": resetting",
    ": reset done",
];
/// From this level on a message is a warning or worse.
const WARNING: u8 = 4;

/// The kernel's messages since it was started, or as many as it has kept.
pub(super) struct Messages {
    all: Result<Vec<Message>>,
}

impl Messages {
    /// Reads them, if this user may.
    pub(super) fn read(root: &Root) -> Self {
        Self { all: read(root) }
    }

    /// Whether there is a message like this.
    pub(super) fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        let mut all = self.all.iter().flatten();
        all.any(|message| is(&message.text))
    }

    /// Checks them.
    pub(super) fn checks(&self) -> Vec<Check> {
        let messages = match &self.all {
            Ok(messages) => messages,
            Err(error) => {
                return vec![Check::warning(
                    TOPIC,
                    format!("The kernel log cannot be read: {error:#}."),
                    "sudo vfioctl doctor",
                )]
            }
        };
        let bad: Vec<_> = messages.iter().filter(|message| is_bad(message)).collect();
        if bad.is_empty() {
            return vec![Check::ok(TOPIC, "No warnings about VFIO or the IOMMU.")];
        }
        let skipped = bad.len().saturating_sub(SHOWN);
        bad.into_iter()
            .skip(skipped)
            .map(|message| {
                let todo = match FAULTS.iter().any(|fault| message.text.contains(fault)) {
                    true => {
                        "A device reached for memory that was not mapped for it: look at the \
                             program or the driver that has it."
                    }
                    false => "sudo dmesg shows what was said around it.",
                };
                Check::warning(TOPIC, message.text.clone(), todo)
            })
            .collect()
    }
}

fn is_bad(message: &Message) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| message.text.contains(word));
    has(&FAULTS) || (message.level <= WARNING && has(&SUBJECTS) && !has(&HARMLESS))
}

fn read(root: &Root) -> Result<Vec<Message>> {
    let mut file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(root.path(LOG))
        .with_context(|| format!("open {LOG}"))?;
    let mut text = String::new();
    let mut part = [0; 8192];
    loop {
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(len) => text += &String::from_utf8_lossy(part.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            // Messages were overwritten before we came; go on behind them.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(error).with_context(|| format!("read {LOG}")),
        }
    }
    // Details of a message are in lines that begin with a space.
    let records = text.lines().filter(|line| !line.starts_with(' '));
    Ok(records.filter_map(kmsg::parse).collect())
}

// SPDX-License-Identifier: GPL-2.0
//! The kernel log, from a point in time on.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

use anyhow::{Context, Result};

const PATH: &str = "/dev/kmsg";

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How grave: 3 error, 4 warning, 6 information, 7 debugging.
    pub level: u8,
    /// What was written, on one line.
    pub text: String,
}

/// What the kernel says from now on.
#[derive(Debug)]
pub struct Log {
    file: File,
}

impl Log {
    /// Begins behind the last message there is.
    pub fn from_now() -> Result<Self> {
        Self::open(SeekFrom::End(0))
    }

    /// Begins with the first message there is.
    pub fn from_boot() -> Result<Self> {
        Self::open(SeekFrom::Start(0))
    }

    fn open(from: SeekFrom) -> Result<Self> {
        let mut file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(PATH)
            .context("open the kernel log")?;
        file.seek(from).context("seek in the kernel log")?;
        Ok(Self { file })
    }

    /// The messages since the last call.
    pub fn messages(&mut self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(len) => messages.extend(parse(&String::from_utf8_lossy(&record[..len]))),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Ok(messages)
                }
                // Messages were overwritten before we came; go on behind them.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => return Err(error).context("read the kernel log"),
            }
        }
    }

    /// The messages since the last call that contain all these words.
    pub fn with(&mut self, words: &[&str]) -> Result<Vec<Message>> {
        let mut messages = self.messages()?;
        messages.retain(|message| words.iter().all(|word| message.text.contains(word)));
        Ok(messages)
    }
}

/// Writes a message into the log, to tell what comes next.
pub fn note(text: &str) {
    // Only a help for readers; nothing to do if it fails.
    let _ = File::options()
        .write(true)
        .open(PATH)
        .and_then(|mut file| std::io::Write::write_all(&mut file, format!("{text}\n").as_bytes()));
}

/// Reads a record: `priority,sequence,time,flags;text`, then lines of details.
pub fn parse(record: &str) -> Option<Message> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    Some(Message {
        level: (priority & 7) as u8,
        text: text.lines().next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_level_and_a_text() {
        let record = "6,339,5140900,-;vfio: a; b\n SUBSYSTEM=pci\n";
        assert_eq!(
            parse(record),
            Some(Message {
                level: 6,
                text: "vfio: a; b".into()
            })
        );
        // Facility 1 (user) with level 4.
        assert_eq!(parse("12,1,2,-;x\n").map(|m| m.level), Some(4));
        assert_eq!(parse("garbage"), None);
    }
}

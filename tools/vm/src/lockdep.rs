// SPDX-License-Identifier: GPL-2.0
//! What lockdep knew at the end of a run on the debug kernel: which lock was
//! taken under which. The guest sends it compressed (`send_lock_order` in
//! `guest/init.sh`), and it is kept beside the log as plain text.

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{ensure, Context, Result};

/// Writes what the guest has sent to a file beside the log. If it has sent
/// nothing there is no file, not even an older one.
pub(crate) fn save(sent: &str, log: &Path) -> Result<()> {
    let path = log.with_extension("lockdep");
    if sent.is_empty() {
        if path.exists() {
            std::fs::remove_file(&path)?;
        }
        return Ok(());
    }
    let out = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut unpack = Command::new("sh")
        .args(["-c", "base64 -d | gunzip"])
        .stdin(Stdio::piped())
        .stdout(out)
        .spawn()
        .context("start a shell")?;
    // Dropped at the end of the statement, which closes the pipe.
    unpack
        .stdin
        .take()
        .context("the shell has no stdin")?
        .write_all(sent.as_bytes())?;
    ensure!(unpack.wait()?.success(), "cannot unpack what lockdep knew");
    println!("lockdep: {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_unpacked_and_nothing_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("test-rust.log");
        // "a\n -> b\n", packed.
        let sent = "H4sIAAAAAAACA0vkUtC1U0jiAgDI50l8CAAAAA==";
        save(sent, &log).unwrap();
        let copy = dir.path().join("test-rust.lockdep");
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "a\n -> b\n");
        save("", &log).unwrap();
        assert!(!copy.exists());
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Small files of the kernel, with errors that name them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::io::Errno;

/// Opens a file to read.
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    File::open(path.as_ref()).with_context(|| format!("open {}", path.as_ref().display()))
}

/// Reads a text file without the newline at its end.
pub fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Reads a number: hexadecimal with `0x`, else decimal.
pub fn read_number(path: impl AsRef<Path>) -> Result<u64> {
    let path = path.as_ref();
    let text = read(path)?;
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .with_context(|| format!("{}: {text:?} is no number", path.display()))
}

/// Writes to a file that exists.
pub fn write(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    // Not `fs::write`: it would create a file where the kernel has none.
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .with_context(|| format!("write {text:?} to {}", path.display()))
}

/// The number of the error that reading or writing a file ended with. `None` if
/// it was something else that failed.
pub fn errno(error: &anyhow::Error) -> Option<Errno> {
    Errno::from_io_error(error.downcast_ref::<std::io::Error>()?)
}

/// The last part of where a link leads, `None` if there is no link.
pub fn link_name(path: impl AsRef<Path>) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

/// What is in a directory, sorted. Empty if it is not there.
pub fn list(path: impl AsRef<Path>) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The last part of a path, as text.
pub fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_numbers() {
        let error = write("/proc/none", "1").expect_err("there is no such file");
        assert_eq!(errno(&error.context("more words")), Some(Errno::NOENT));
        assert_eq!(errno(&anyhow::anyhow!("just words")), None);
    }
}

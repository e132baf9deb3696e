// SPDX-License-Identifier: GPL-2.0
//! The files of a machine: this one, or a made-up one in a directory, for tests.
//!
//! Paths are those that the machine has, such as `/sys/class/vfio`. What cannot be read
//! is not there: a file may go at any time, and much is not for every user.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use vfio_selftests::sysfs;

/// Where the files of the machine begin.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    dir: PathBuf,
}

impl Root {
    /// Takes a directory for the root directory of the machine.
    ///
    /// # Errors
    ///
    /// Fails if it is not there.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let dir = fs::canonicalize(dir).with_context(|| format!("look at {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Whether it is the machine on which this program runs.
    pub(crate) fn is_this_machine(&self) -> bool {
        self.dir == Path::new("/")
    }

    /// Returns where a file of the machine can be opened.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.dir.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads a text file, without white space at its end.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        sysfs::read(self.path(path)).ok()
    }

    /// Reads a number, decimal or hexadecimal.
    pub(crate) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        sysfs::read_number(self.path(path)).ok()
    }

    /// Lists the names in a directory, sorted.
    pub(crate) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = sysfs::list(self.path(path));
        entries
            .iter()
            .map(|path| sysfs::name(path).to_owned())
            .collect()
    }

    /// Returns the last part of where a link leads.
    pub(crate) fn link_name(&self, path: impl AsRef<Path>) -> Option<String> {
        sysfs::link_name(self.path(path))
    }

    /// Whether a file or a directory is there.
    pub(crate) fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// Returns the path without links, as the machine knows it.
    pub(crate) fn real(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let real = fs::canonicalize(self.path(path)).ok()?;
        Some(Path::new("/").join(real.strip_prefix(&self.dir).ok()?))
    }
}

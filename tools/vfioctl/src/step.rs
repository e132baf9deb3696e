// SPDX-License-Identifier: GPL-2.0
//! The single things of which a change consists.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{ensure, Context, Result};
use serde::Serialize;
use vfio_selftests::sysfs;

use crate::root::Root;

const MODPROBE: &str = "/sbin/modprobe";

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub(crate) enum Step {
    /// Loads a module.
    Load {
        /// Its name.
        module: String,
    },
    /// Writes to a file of the kernel.
    Write {
        /// The file.
        path: String,
        /// What is written.
        text: String,
    },
    /// Writes a file of its own.
    Store {
        /// The file.
        path: String,
        /// What is in it then.
        text: String,
    },
    /// Removes a file.
    Remove {
        /// The file.
        path: String,
    },
}

impl Step {
    /// Writes to a file of the kernel.
    pub(crate) fn write(path: impl Into<String>, text: &str) -> Self {
        Self::Write {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    /// Writes a file of its own.
    pub(crate) fn store(path: String, text: String) -> Self {
        Self::Store { path, text }
    }

    /// Removes a file.
    pub(crate) fn remove(path: String) -> Self {
        Self::Remove { path }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_done(&self, root: &Root) -> bool {
        match self {
            Self::Load { module } => root.exists(format!("/sys/bus/pci/drivers/{module}")),
            Self::Write { .. } => false,
            Self::Store { path, text } => root.read(path).as_deref() == Some(text.trim_end()),
            Self::Remove { path } => !root.exists(path),
        }
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// Fails if the kernel refuses it, and says which file it was.
    pub(crate) fn run(&self, root: &Root) -> Result<()> {
        match self {
            Self::Load { module } => load(module),
            Self::Write { path, text } => sysfs::write(root.path(path), &format!("{text}\n")),
            Self::Store { path, text } => store(&root.path(path), text),
            Self::Remove { path } => {
                fs::remove_file(root.path(path)).with_context(|| format!("remove {path}"))
            }
        }
    }
}

/// As the shell does it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { module } => write!(f, "modprobe {module}"),
            Self::Write { path, text } if text.is_empty() => write!(f, "echo >{path}"),
            Self::Write { path, text } => write!(f, "echo {text} >{path}"),
            Self::Store { path, text } => write!(f, "cat >{path} <<'END'\n{text}END"),
            Self::Remove { path } => write!(f, "rm {path}"),
        }
    }
}

fn load(module: &str) -> Result<()> {
    // By its path: a program that udev runs has no PATH.
    let status = Command::new(MODPROBE)
        .arg(module)
        .status()
        .with_context(|| format!("run {MODPROBE}"))?;
    ensure!(status.success(), "modprobe {module} failed: see `dmesg`");
    Ok(())
}

/// Replaces a file at once, so that nobody reads half of it.
fn store(path: &Path, text: &str) -> Result<()> {
    let new = PathBuf::from(format!("{}.new", path.display()));
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(&new, text)?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

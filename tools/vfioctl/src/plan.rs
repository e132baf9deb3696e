// SPDX-License-Identifier: GPL-2.0
//! Changes: what they consist of, doing them, and undoing them.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{bail, ensure, Context, Result};
use serde::Serialize;
use vfio_selftests::sysfs;

use crate::{
    device::{Device, PCI_DEVICES},
    root::Root,
};

const PROBE: &str = "/sys/bus/pci/drivers_probe";
const MODPROBE: &str = "/sbin/modprobe";
/// The name of no driver. As an override it keeps all drivers away.
pub(crate) const NONE: &str = "none";

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
    fn write(path: impl Into<String>, text: &str) -> Self {
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

/// A device that goes from one driver to another one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Change {
    /// Its address.
    pub(crate) device: String,
    /// The driver that has it.
    pub(crate) from: Option<String>,
    /// The only driver that may have it so far.
    #[serde(skip)]
    only: Option<String>,
    /// The driver that gets it; the kernel chooses otherwise. Once it is done, the driver that
    /// has it.
    pub(crate) to: Option<String>,
}

impl Change {
    /// Plans to give a device to this driver.
    pub(crate) fn new(device: &Device, to: Option<&str>) -> Self {
        Self {
            device: device.name.clone(),
            from: device.driver.clone(),
            only: device.driver_override.clone(),
            to: to.map(str::to_owned),
        }
    }

    fn file(&self, name: &str) -> String {
        format!("{PCI_DEVICES}/{}/{name}", self.device)
    }

    /// The steps from a driver to another one.
    fn between(&self, from: Option<&str>, only: Option<&str>, probe: bool) -> Vec<Step> {
        let mut steps = vec![Step::write(
            self.file("driver_override"),
            only.unwrap_or_default(),
        )];
        if from.is_some() {
            steps.push(Step::write(self.file("driver/unbind"), &self.device));
        }
        if probe {
            steps.push(Step::write(PROBE, &self.device));
        }
        steps
    }

    /// Returns what is to be done.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let to = self.to.as_deref();
        self.between(self.from.as_deref(), to, to != Some(NONE))
    }

    /// Notes which driver has the device afterwards.
    pub(crate) fn look(&mut self, root: &Root) {
        self.to = self.driver(root);
    }

    fn driver(&self, root: &Root) -> Option<String> {
        root.link_name(self.file("driver"))
    }

    /// Does it, and undoes it if it fails.
    ///
    /// # Errors
    ///
    /// Fails if a step does, or if the driver does not take the device.
    fn run(&self, root: &Root) -> Result<()> {
        let attempt = || {
            for step in self.steps() {
                step.run(root)?;
            }
            match (self.to.as_deref(), self.driver(root)) {
                (None | Some(NONE), _) => Ok(()),
                (Some(to), Some(driver)) if to == driver => Ok(()),
                (Some(to), _) => bail!("{to} did not take {}: see `dmesg`", self.device),
            }
        };
        attempt().inspect_err(|_| self.undo(root))
    }

    /// Gives the device back to the driver that it had.
    fn undo(&self, root: &Root) {
        let now = self.driver(root);
        // What it has already it keeps.
        let leave = now
            .as_ref()
            .filter(|driver| Some(*driver) != self.from.as_ref());
        let back = leave.is_some() || now.is_none();
        let steps = self.between(
            leave.map(String::as_str),
            self.only.as_deref(),
            back && self.from.is_some(),
        );
        for step in steps {
            if let Err(error) = step.run(root) {
                eprintln!("vfioctl: while giving {} back: {error:#}", self.device);
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |driver: &Option<String>| driver.clone().unwrap_or("no driver".to_owned());
        write!(
            f,
            "{}: {} -> {}",
            self.device,
            name(&self.from),
            name(&self.to)
        )
    }
}

/// Does all changes, or none of them.
///
/// # Errors
///
/// Fails as the first one that fails; those before it are undone.
pub(crate) fn run_all(root: &Root, changes: &[Change]) -> Result<()> {
    for (index, change) in changes.iter().enumerate() {
        let before = || changes.iter().take(index).rev();
        change
            .run(root)
            .inspect_err(|_| before().for_each(|change| change.undo(root)))?;
    }
    Ok(())
}

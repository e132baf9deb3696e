// SPDX-License-Identifier: GPL-2.0
//! Giving a device to another driver, and undoing it.

use std::fmt;

use anyhow::{bail, Result};
use serde::Serialize;

use crate::{
    device::{Device, PCI_DEVICES},
    root::Root,
    step::Step,
};

/// Asks the kernel for a driver, when the address of a device is written to it.
pub(crate) const PROBE: &str = "/sys/bus/pci/drivers_probe";
/// The name of no driver. As an override it keeps all drivers away.
pub(crate) const NONE: &str = "none";

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

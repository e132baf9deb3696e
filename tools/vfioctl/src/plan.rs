// SPDX-License-Identifier: GPL-2.0
//! What a command does, or would do.

use std::{fs::File, io::ErrorKind};

use anyhow::{bail, Context, Result};
use rustix::fs::{flock, FlockOperation};
use serde::Serialize;

use crate::{
    change::{self, Change, NONE, PROBE},
    root::Root,
    step::Step,
};

/// Keeps others who change drivers with this program waiting, until it is dropped.
#[derive(Debug)]
pub(crate) struct Alone {
    _locked: Option<File>,
}

impl Alone {
    /// Waits until nobody else changes anything. What was read before is to be read again.
    ///
    /// # Errors
    ///
    /// Fails for whoever cannot change anything, which is anybody but root.
    pub(crate) fn wait(root: &Root) -> Result<Self> {
        let locked = match File::options().write(true).open(root.path(PROBE)) {
            // This machine has no PCI, so nothing of it can be changed.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("only root can do that: call it with sudo, or with --dry-run")
            }
            opened => Some(opened.with_context(|| format!("open {PROBE}"))?),
        };
        if let Some(file) = &locked {
            flock(file, FlockOperation::LockExclusive).context("wait for others")?;
        }
        Ok(Self { _locked: locked })
    }
}

/// What a command does.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// Nothing of it was done.
    dry_run: bool,
    /// Devices that get another driver.
    changes: Vec<Change>,
    /// Each single thing, in order.
    steps: Vec<Step>,
    /// What there is to say.
    pub(crate) notes: Vec<String>,
}

impl Plan {
    /// Plans changes, and what is stored after them.
    pub(crate) fn new(root: &Root, changes: Vec<Change>, stored: Vec<Step>) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for driver in changes.iter().filter_map(|change| change.to.as_ref()) {
            let module = Step::Load {
                module: driver.clone(),
            };
            if driver != NONE && !module.is_done(root) && !steps.contains(&module) {
                steps.push(module);
            }
        }
        steps.extend(changes.iter().flat_map(Change::steps));
        steps.extend(stored);
        Self {
            dry_run: true,
            changes,
            steps,
            notes: Vec::new(),
        }
    }

    /// Does it. The changes undo themselves together, so they are done as such.
    ///
    /// # Errors
    ///
    /// Fails if a step does; if that was a change, then nothing is changed.
    pub(crate) fn run(&mut self, root: &Root, _alone: &Alone) -> Result<()> {
        let single = |is: fn(&Step) -> bool| self.steps.iter().filter(move |step| is(step));
        for step in single(|step| matches!(step, Step::Load { .. })) {
            step.run(root)?;
        }
        change::run_all(root, &self.changes)?;
        for change in &mut self.changes {
            change.look(root);
        }
        for step in single(|step| matches!(step, Step::Store { .. } | Step::Remove { .. })) {
            step.run(root)?;
        }
        self.dry_run = false;
        Ok(())
    }

    /// Returns what was done, or the commands that would do it.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = if self.dry_run {
            self.steps.iter().map(Step::to_string).collect()
        } else {
            let files = self.steps.iter().filter_map(|step| match step {
                Step::Store { path, .. } => Some(format!("{path}: written")),
                Step::Remove { path } => Some(format!("{path}: removed")),
                _ => None,
            });
            let changes = self.changes.iter().map(Change::to_string);
            changes.chain(files).collect()
        };
        if self.steps.is_empty() {
            lines.push("nothing to do".to_owned());
        }
        lines.extend(self.notes.iter().cloned());
        lines.join("\n")
    }
}

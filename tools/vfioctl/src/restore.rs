// SPDX-License-Identifier: GPL-2.0
//! `vfioctl restore`.

use anyhow::{bail, ensure, Context, Result};
use vfio_selftests::kmsg;

use crate::{
    bind::{must_be_free, must_be_idle},
    change::Change,
    device::PCI_DEVICES,
    machine::{Machine, Target},
    output::Format,
    plan::{Alone, Plan},
    remember::{self, Entry},
    root::Root,
};

/// Gives devices the drivers that are stored. One that cannot have its does not keep the
/// others from theirs.
///
/// # Errors
///
/// Fails if one cannot have its, and says so in the kernel log as well: nobody sees what a
/// program says that udev runs.
pub(crate) fn run(root: &Root, format: Format, names: &[String], dry_run: bool) -> Result<()> {
    let alone = (!dry_run).then(|| Alone::wait(root)).transpose()?;
    let machine = Machine::read(root);
    let mut plans = Vec::new();
    let mut failed = Vec::new();
    for entry in entries(root, names)? {
        match restore(root, &machine, &entry, alone.as_ref()) {
            Ok(plan) => plans.push(plan),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    let texts = || plans.iter().map(Plan::text).collect::<Vec<_>>();
    format.print(&plans, || texts().join("\n"))?;
    if root.is_this_machine() && !dry_run {
        failed
            .iter()
            .for_each(|error| kmsg::note(&format!("vfioctl: {error}")));
    }
    ensure!(failed.is_empty(), "{}", failed.join("\nvfioctl: "));
    Ok(())
}

/// Returns what is stored by these names, or everything about devices that are there: others
/// may come later.
fn entries(root: &Root, names: &[String]) -> Result<Vec<Entry>> {
    if names.is_empty() {
        let all = remember::names(root);
        let is_there = |entry: &Entry| root.exists(format!("{PCI_DEVICES}/{}", entry.device));
        let entries = all.iter().filter_map(|name| remember::read(root, name));
        return Ok(entries.filter(is_there).collect());
    }
    let read = |name: &String| {
        remember::read(root, name)
            .with_context(|| format!("nothing is stored for a PCI device as {name}"))
    };
    names.iter().map(read).collect()
}

fn restore(root: &Root, machine: &Machine, entry: &Entry, alone: Option<&Alone>) -> Result<Plan> {
    let Target::Device(device) = machine.find(&entry.device)? else {
        bail!("{} is no device", entry.device);
    };
    let mut changes = Vec::new();
    if device.driver.as_ref() != Some(&entry.driver) {
        must_be_free(machine, device)?;
        must_be_idle(root, machine, device, false)?;
        changes.push(Change::new(device, Some(&entry.driver)));
    }
    let mut plan = Plan::new(root, changes, Vec::new());
    if let Some(alone) = alone {
        plan.run(root, alone)?;
    }
    Ok(plan)
}

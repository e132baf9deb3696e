// SPDX-License-Identifier: GPL-2.0
//! `vfioctl bind`, `unbind` and `restore`.

use anyhow::{bail, ensure, Context, Result};
use serde::Serialize;
use vfio_selftests::kmsg;

use crate::{
    cli::{Bind, How, Unbind},
    device::Device,
    in_use,
    machine::{Machine, Target},
    output::{joined, Format},
    plan::{self, Change, Step, NONE},
    remember,
    root::Root,
    viability,
};

/// What a command does.
#[derive(Debug, Serialize)]
struct Plan {
    /// Nothing of it was done.
    dry_run: bool,
    /// Devices that get another driver.
    changes: Vec<Change>,
    /// Each single thing, in order.
    steps: Vec<Step>,
    /// What there is to say.
    notes: Vec<String>,
}

impl Plan {
    /// Plans changes, and what is stored after them.
    fn new(root: &Root, changes: Vec<Change>, stored: Vec<Step>) -> Self {
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
    fn run(&mut self, root: &Root) -> Result<()> {
        if self.steps.is_empty() {
            self.dry_run = false;
            return Ok(());
        }
        ensure!(
            !root.is_this_machine() || rustix::process::geteuid().is_root(),
            "only root can do that: call it with sudo, or with --dry-run"
        );
        let single = |is: fn(&Step) -> bool| self.steps.iter().filter(move |step| is(step));
        for step in single(|step| matches!(step, Step::Load { .. })) {
            step.run(root)?;
        }
        plan::run_all(root, &self.changes)?;
        for change in &mut self.changes {
            change.look(root);
        }
        for step in single(|step| matches!(step, Step::Store { .. } | Step::Remove { .. })) {
            step.run(root)?;
        }
        self.dry_run = false;
        Ok(())
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = if self.dry_run {
            self.steps.iter().map(Step::to_string).collect()
        } else {
            self.changes.iter().map(Change::to_string).collect()
        };
        if self.steps.is_empty() {
            lines.push("nothing to do".to_owned());
        }
        lines.extend(self.notes.iter().cloned());
        lines.join("\n")
    }
}

/// Returns the devices that a command is about, each once.
fn chosen<'a>(machine: &'a Machine, targets: &[String], how: &How) -> Result<Vec<&'a Device>> {
    let mut devices: Vec<&Device> = Vec::new();
    for target in targets {
        let group = match machine.find(target)? {
            Target::Group(group) => Some(group),
            Target::Device(device) => {
                ensure!(
                    device.bus == "pci",
                    "{} is no PCI device: only those go to VFIO by being bound",
                    device.name
                );
                ensure!(
                    !device.is_bridge(),
                    "{} is a bridge, which no program can use",
                    device.name
                );
                devices.push(device);
                machine.group_of(device).filter(|_| !how.only)
            }
        };
        let members = group.into_iter().flat_map(|group| machine.members(group));
        devices.extend(members.filter(|member| member.bus == "pci" && !member.is_bridge()));
    }
    devices.sort_by_key(|device| &device.name);
    devices.dedup_by_key(|device| &device.name);
    Ok(devices)
}

fn names<'a>(devices: &[&'a Device]) -> Vec<&'a str> {
    devices.iter().map(|device| device.name.as_str()).collect()
}

/// Refuses a device that is in use.
fn must_be_idle(root: &Root, machine: &Machine, device: &Device, force: bool) -> Result<()> {
    let uses = in_use::uses(root, &machine.open, device);
    let vital = uses.iter().any(in_use::Use::is_vital);
    let reasons = || joined(&uses, "; ");
    if vital {
        bail!("{} is in use: {}", device.name, reasons());
    }
    ensure!(
        uses.is_empty() || force,
        "{} is in use: {}. If it may be taken away nevertheless, say --force",
        device.name,
        reasons()
    );
    Ok(())
}

/// Refuses a device that a program has, or may have, through VFIO: its driver would wait for
/// the program.
fn must_be_free(machine: &Machine, device: &Device) -> Result<()> {
    let holders = machine.holders.of(device);
    // The program that has the group may be waiting for a device without a driver.
    ensure!(
        holders.is_empty() || device.vfio.is_none(),
        "{} is held by {}: end that first",
        device.name,
        joined(&holders, ", ")
    );
    Ok(())
}

/// Hands devices to a driver for VFIO.
pub(crate) fn bind(root: &Root, format: Format, args: &Bind) -> Result<()> {
    let machine = Machine::read(root);
    let devices = chosen(&machine, &args.targets, &args.how)?;
    let noiommu = root.read("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
    let mut changes = Vec::new();
    for device in &devices {
        ensure!(
            device.group.is_some() || noiommu.as_deref() == Some("Y"),
            "{0} has no IOMMU group: `vfioctl why {0}` says what to do",
            device.name
        );
        if device.driver.as_ref() == Some(&args.driver) {
            continue;
        }
        must_be_free(&machine, device)?;
        must_be_idle(root, &machine, device, args.force)?;
        changes.push(Change::new(device, Some(&args.driver)));
    }
    let stored = if args.how.save {
        let program = std::env::current_exe().context("find this program")?;
        remember::remember(root, &names(&devices), &args.driver, &program)
    } else {
        Vec::new()
    };
    let mut plan = Plan::new(root, changes, stored);
    if !args.how.dry_run {
        plan.run(root)?;
        plan.notes = nodes_and_blockers(root, &names(&devices));
    }
    format.print(&plan, || plan.text())
}

/// Says what came of it: the nodes by which programs open the devices, and what else is
/// in the way.
fn nodes_and_blockers(root: &Root, devices: &[&str]) -> Vec<String> {
    let machine = Machine::read(root);
    let mut notes = Vec::new();
    for group in &machine.groups {
        let mine = |device: &&Device| devices.contains(&device.name.as_str());
        if !machine.members(group).any(|device| mine(&device)) {
            continue;
        }
        if let Some(node) = &group.node {
            notes.push(format!("group {}: {node}", group.number));
        }
        for blocker in viability::blockers(&machine, group) {
            notes.push(format!("group {} is not viable: {blocker}", group.number));
        }
    }
    notes
}

/// Gives devices back to the kernel's own drivers.
pub(crate) fn unbind(root: &Root, format: Format, args: &Unbind) -> Result<()> {
    let machine = Machine::read(root);
    let devices = chosen(&machine, &args.targets, &args.how)?;
    let mut changes = Vec::new();
    for device in &devices {
        // A driver of the kernel has it already, or may have it.
        if device.vfio.is_none() && (device.driver.is_some() || device.driver_override.is_none()) {
            continue;
        }
        must_be_free(&machine, device)?;
        changes.push(Change::new(device, None));
    }
    let stored = if args.how.save {
        remember::forget(root, &names(&devices))
    } else {
        Vec::new()
    };
    let mut plan = Plan::new(root, changes, stored);
    if !args.how.dry_run {
        plan.run(root)?;
    }
    format.print(&plan, || plan.text())
}

/// Gives devices the drivers that are stored. One that cannot have its does not keep the
/// others from theirs.
pub(crate) fn restore(root: &Root, format: Format, stored: &[String], dry_run: bool) -> Result<()> {
    let machine = Machine::read(root);
    let all = remember::names(root);
    let mut failed = Vec::new();
    let mut plans = Vec::new();
    for name in if stored.is_empty() { &all } else { stored } {
        let attempt = || -> Result<Plan> {
            let entry = remember::read(root, name)
                .with_context(|| format!("nothing is stored for a PCI device as {name}"))?;
            let Target::Device(device) = machine.find(&entry.device)? else {
                bail!("{} is a group", entry.device);
            };
            let mut changes = Vec::new();
            if device.driver.as_ref() != Some(&entry.driver) {
                must_be_free(&machine, device)?;
                must_be_idle(root, &machine, device, false)?;
                changes.push(Change::new(device, Some(&entry.driver)));
            }
            let mut plan = Plan::new(root, changes, Vec::new());
            if !dry_run {
                plan.run(root)?;
            }
            Ok(plan)
        };
        match attempt() {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                // Nobody sees what a program says that udev runs.
                if root.is_this_machine() && !dry_run {
                    kmsg::note(&format!("vfioctl: {error:#}"));
                }
                failed.push(format!("{error:#}"));
            }
        }
    }
    let text = || {
        let texts: Vec<_> = plans.iter().map(Plan::text).collect();
        texts.join("\n")
    };
    format.print(&plans, text)?;
    ensure!(failed.is_empty(), "{}", failed.join("\nvfioctl: "));
    Ok(())
}

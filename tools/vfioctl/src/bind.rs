// SPDX-License-Identifier: GPL-2.0
//! `vfioctl bind` and `unbind`.

use anyhow::{bail, ensure, Result};

use crate::{
    change::Change,
    cli::{Bind, How, Unbind},
    device::Device,
    in_use,
    machine::{Machine, Target},
    output::{joined, Format},
    plan::{Alone, Plan},
    remember,
    root::Root,
    viability,
};

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

/// Waits for others, if something is to be changed.
fn alone(root: &Root, how: &How) -> Result<Option<Alone>> {
    (!how.dry_run).then(|| Alone::wait(root)).transpose()
}

fn names<'a>(devices: &[&'a Device]) -> Vec<&'a str> {
    devices.iter().map(|device| device.name.as_str()).collect()
}

/// Refuses a device that is in use.
///
/// # Errors
///
/// Fails if it is, and says how.
pub(crate) fn must_be_idle(
    root: &Root,
    machine: &Machine,
    device: &Device,
    force: bool,
) -> Result<()> {
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
///
/// # Errors
///
/// Fails if there is such a program.
pub(crate) fn must_be_free(machine: &Machine, device: &Device) -> Result<()> {
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
///
/// # Errors
///
/// Fails if one of them must not or cannot be had, and then changes nothing.
pub(crate) fn bind(root: &Root, format: Format, args: &Bind) -> Result<()> {
    let alone = alone(root, &args.how)?;
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
        remember::remember(root, &names(&devices), &args.driver)
    } else {
        Vec::new()
    };
    let mut plan = Plan::new(root, changes, stored);
    if let Some(alone) = &alone {
        plan.run(root, alone)?;
        plan.notes = nodes_and_blockers(root, &names(&devices));
        if args.how.save && !remember::is_read_at_boot(root) {
            let note = "nothing here reads that at boot: install driverctl or rust-vfio-tools";
            plan.notes.push(note.to_owned());
        }
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
///
/// # Errors
///
/// Fails if one of them is held, and then changes nothing.
pub(crate) fn unbind(root: &Root, format: Format, args: &Unbind) -> Result<()> {
    let alone = alone(root, &args.how)?;
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
    if let Some(alone) = &alone {
        plan.run(root, alone)?;
    }
    format.print(&plan, || plan.text())
}

// SPDX-License-Identifier: GPL-2.0
//! What can be in the way, in the order in which a program would meet it.

use rustix::fs::{access, Access};

use super::Finding;
use crate::{
    device::Device, doctor, group::Group, in_use, machine::Machine, output::joined,
    process::Memory, root::Root, viability,
};

/// Looks at a device.
pub(super) fn device(root: &Root, machine: &Machine, device: &Device) -> Vec<Finding> {
    let Some(group) = machine.group_of(device) else {
        return vec![no_group(root, machine, device)];
    };
    let mut findings = vec![place(device, group)];
    findings.extend(driver(root, machine, device));
    findings.extend(around(root, machine, group, &device.name));
    findings
}

/// Looks at a group.
pub(super) fn group(root: &Root, machine: &Machine, group: &Group) -> Vec<Finding> {
    let devices: Vec<_> = machine.members(group).collect();
    let texts: Vec<_> = devices
        .iter()
        .map(|device| format!("{} ({})", device.name, device.kind()))
        .collect();
    let mut findings = vec![Finding::fine(format!(
        "The group has {}.",
        joined(&texts, ", ")
    ))];
    if devices.iter().all(|device| device.vfio.is_none()) {
        let usable = devices.iter().find(|device| !device.is_bridge());
        findings.push(match usable {
            Some(device) if device.bus == "pci" => driver(root, machine, device).remove(0),
            Some(device) => no_vfio_driver(device),
            None => Finding::obstacle(
                "All its devices are bridges, which no program can use.",
                "Name the group of the device that you want: vfioctl list",
            ),
        });
    }
    findings.extend(around(root, machine, group, &group.number.to_string()));
    findings
}

/// What concerns the whole group, and this user.
fn around(root: &Root, machine: &Machine, group: &Group, name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(protection(group));
    findings.extend(firmware(group));
    findings.extend(others(machine, group, name));
    findings.extend(nodes(root, machine, group));
    findings.extend(held(machine, group));
    findings.push(memory(root));
    findings
}

fn no_group(root: &Root, machine: &Machine, device: &Device) -> Finding {
    if machine.groups.is_empty() {
        let (text, todo) = doctor::no_iommu(root);
        return Finding::obstacle(
            format!("{} has no IOMMU group, because {text}.", device.name),
            todo,
        );
    }
    Finding::obstacle(
        format!(
            "{} has no IOMMU group: no IOMMU is in front of it.",
            device.name
        ),
        "Put it into another slot, or use a machine whose IOMMU covers it.",
    )
}

fn place(device: &Device, group: &Group) -> Finding {
    let behind = match &device.iommu {
        Some(iommu) => format!(" behind the IOMMU {iommu}"),
        None => String::new(),
    };
    let others = match group.devices.len().saturating_sub(1) {
        0 => "alone".to_owned(),
        1 => "with another device".to_owned(),
        count => format!("with {count} other devices"),
    };
    Finding::fine(format!(
        "It is in IOMMU group {}{behind}, {others}.",
        group.number
    ))
}

/// Looks at the driver of a device that a program wants.
fn driver(root: &Root, machine: &Machine, device: &Device) -> Vec<Finding> {
    if device.is_bridge() {
        return vec![Finding::obstacle(
            format!("{} is a bridge, which no program can use.", device.name),
            "Name the device behind it that you want: vfioctl list",
        )];
    }
    if let (Some(_), Some(driver)) = (&device.vfio, &device.driver) {
        return vec![Finding::fine(format!(
            "{driver} has {}, for VFIO.",
            device.name
        ))];
    }
    let mut findings = vec![no_vfio_driver(device)];
    if device.bus == "pci" && !root.exists("/sys/bus/pci/drivers/vfio-pci") {
        findings.push(Finding::fine(
            "vfio-pci is not loaded; `vfioctl bind` loads it.",
        ));
    }
    let uses = in_use::uses(root, &machine.open, device);
    if !uses.is_empty() {
        findings.push(Finding::obstacle(
            format!("{} is in use: {}.", device.name, joined(&uses, "; ")),
            "End that first.",
        ));
    }
    findings
}

fn no_vfio_driver(device: &Device) -> Finding {
    let has = match &device.driver {
        Some(driver) => format!("{driver} has {}, and is no driver for VFIO.", device.name),
        None => format!("{} has no driver.", device.name),
    };
    let todo = match device.bus.as_str() {
        "pci" => format!("vfioctl bind {}", device.name),
        bus => format!("Give it a driver for VFIO, as the bus {bus} does it."),
    };
    Finding::obstacle(has, todo)
}

fn protection(group: &Group) -> Option<Finding> {
    let text = if group.is_unsafe() {
        "No IOMMU is behind the group: a program that has it can read and write all memory."
    } else if group.has_no_iommu() {
        "Its devices are emulated, so no IOMMU is needed."
    } else {
        return None;
    };
    Some(Finding::fine(text))
}

fn firmware(group: &Group) -> Option<Finding> {
    let regions: Vec<_> = group
        .wanted_by_firmware()
        .map(|region| format!("{} to {}", region.first, region.last))
        .collect();
    (!regions.is_empty()).then(|| {
        Finding::obstacle(
            format!(
                "The firmware reaches memory through a device of the group, at {}, so the \
                 kernel gives the group to nobody.",
                regions.join(", ")
            ),
            "Look in the firmware's settings for what uses the device, or for an update.",
        )
    })
}

/// The other devices of the group.
fn others(machine: &Machine, group: &Group, name: &str) -> Vec<Finding> {
    viability::blockers(machine, group)
        .into_iter()
        .filter(|blocker| blocker.device != name)
        .map(|blocker| {
            let is_pci = machine.members(group).any(|device| {
                device.name == blocker.device && device.bus == "pci" && !device.is_bridge()
            });
            let todo = if is_pci {
                format!("vfioctl bind {}", blocker.device)
            } else {
                format!(
                    "echo {0} >/sys/bus/pci/devices/{0}/driver/unbind",
                    blocker.device
                )
            };
            Finding::obstacle(
                format!(
                    "{} of the same group belongs to the kernel: {} has it. A group goes to \
                     VFIO as a whole.",
                    blocker.device, blocker.driver
                ),
                todo,
            )
        })
        .collect()
}

/// The nodes, and whether this user may open them.
fn nodes(root: &Root, machine: &Machine, group: &Group) -> Vec<Finding> {
    let own = machine.members(group).flat_map(|device| &device.node);
    let may_open =
        |node: &&String| access(root.path(node), Access::READ_OK | Access::WRITE_OK).is_ok();
    let (open, closed): (Vec<_>, Vec<_>) = group.node.iter().chain(own).partition(may_open);
    let mut findings = Vec::new();
    if !open.is_empty() {
        findings.push(Finding::fine(format!(
            "This user may open {}.",
            joined(&open, ", ")
        )));
    }
    findings.extend(closed.into_iter().map(|node| {
        if root.exists(node) {
            Finding::obstacle(
                format!("This user may not open {node}."),
                format!("chown \"$USER\" {node}    (as root, or by a rule of udev)"),
            )
        } else {
            Finding::obstacle(
                format!("{node} is not there, although the kernel has it."),
                "udevadm trigger --subsystem-match=vfio",
            )
        }
    }));
    findings
}

fn held(machine: &Machine, group: &Group) -> Vec<Finding> {
    let mut holders = machine.holders.of_node(group.number);
    let devices = machine.members(group);
    holders.extend(devices.flat_map(|device| machine.holders.of(device)));
    holders.sort();
    holders.dedup();
    let mut findings: Vec<_> = holders
        .iter()
        .map(|holder| {
            Finding::obstacle(
                format!("Process {holder} holds it, and a group is for one program at a time."),
                format!("kill {}    (or end it as it wants to be ended)", holder.pid),
            )
        })
        .collect();
    if machine.holders.hidden > 0 {
        findings.push(Finding::fine(format!(
            "{} processes did not show their files: only root sees who holds it.",
            machine.holders.hidden
        )));
    }
    findings
}

/// How much memory a program that is started here could map.
fn memory(root: &Root) -> Finding {
    let memory = Memory::of(root, "self");
    Finding::fine(match memory.limit {
        _ if memory.exempt => "This user may map any amount of memory for it.".to_owned(),
        Some(limit) => format!(
            "A program of this user may map {limit} of memory for it (ulimit -l); a virtual \
             machine needs all of its memory."
        ),
        None => "The limit of memory that can be mapped is unknown.".to_owned(),
    })
}

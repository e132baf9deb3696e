// SPDX-License-Identifier: GPL-2.0
//! `vfioctl list`.

use anyhow::Result;
use serde::Serialize;

use crate::{
    device::Device,
    machine::{Machine, Target},
    output::{joined, or_dash, table, Format},
    process::Process,
    root::Root,
    viability::{self, Blocker},
};

/// A device with what concerns it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    device: &'a Device,
    /// The node of its group.
    group_node: Option<&'a str>,
    /// Who holds it.
    holders: Vec<Process>,
    /// Whether VFIO can have its group; unknown without one.
    viable: Option<bool>,
    /// What keeps the group from VFIO.
    blockers: Vec<Blocker>,
}

/// All of them.
#[derive(Debug, Serialize)]
struct List<'a> {
    devices: Vec<Line<'a>>,
    /// How many processes may hold devices without being seen.
    hidden_processes: usize,
}

impl<'a> Line<'a> {
    fn new(machine: &'a Machine, device: &'a Device) -> Self {
        let group = machine.group_of(device);
        let blockers = group.map(|group| viability::blockers(machine, group));
        Self {
            device,
            group_node: group.and_then(|group| group.node.as_deref()),
            holders: machine.holders.of(device),
            viable: blockers.as_ref().map(Vec::is_empty),
            blockers: blockers.unwrap_or_default(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let device = self.device;
        let nodes: Vec<_> = [self.group_node, device.node.as_deref()]
            .into_iter()
            .flatten()
            .map(|node| node.strip_prefix("/dev/vfio/").unwrap_or(node))
            .collect();
        let driver = match (&device.driver, &device.driver_override) {
            (driver, Some(only)) if driver.as_ref() != Some(only) => {
                format!("{} (only {only})", or_dash(driver.as_ref()))
            }
            (driver, _) => or_dash(driver.as_ref()),
        };
        let viable = match self.viable {
            None => "no: no IOMMU group".to_owned(),
            Some(true) => "yes".to_owned(),
            Some(false) => format!("no: {}", joined(&self.blockers, ", ")),
        };
        vec![
            device.name.clone(),
            or_dash(device.id.as_ref()),
            device.kind().to_owned(),
            or_dash(device.group),
            or_dash(device.iommu.as_ref()),
            driver,
            or_dash((!nodes.is_empty()).then(|| nodes.join(", "))),
            or_dash((!self.holders.is_empty()).then(|| joined(&self.holders, ", "))),
            viable,
        ]
    }
}

impl List<'_> {
    fn text(&self) -> String {
        const HEADER: [&str; 9] = [
            "DEVICE",
            "ID",
            "KIND",
            "GROUP",
            "IOMMU",
            "DRIVER",
            "/dev/vfio/",
            "HELD BY",
            "VIABLE",
        ];
        let mut text = table(&HEADER, self.devices.iter().map(Line::cells));
        if self.hidden_processes > 0 {
            text += &format!(
                "\n\n{} processes did not show their files: only root sees who holds a device.",
                self.hidden_processes
            );
        }
        text
    }
}

/// Lists one device, the devices of one group, or all.
pub(crate) fn run(root: &Root, format: Format, target: Option<&str>) -> Result<()> {
    let machine = Machine::read(root);
    let mut devices: Vec<_> = match target.map(|name| machine.find(name)).transpose()? {
        None => machine.devices.iter().collect(),
        Some(Target::Device(device)) => vec![device],
        Some(Target::Group(group)) => machine.members(group).collect(),
    };
    devices.sort_by_key(|device| (device.bus != "pci", &device.bus, &device.name));
    let list = List {
        devices: devices
            .into_iter()
            .map(|device| Line::new(&machine, device))
            .collect(),
        hidden_processes: machine.holders.hidden,
    };
    format.print(&list, || list.text())
}

// SPDX-License-Identifier: GPL-2.0
//! Everything that most commands look at: devices, groups, and who has what open.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{bail, Context, Result};

use crate::{
    device::{full_name, Device, PCI_DEVICES},
    group::{Group, GROUPS},
    holders::Holders,
    process::OpenFiles,
    root::Root,
};

/// What the machine has, at one point in time.
#[derive(Debug)]
pub(crate) struct Machine {
    /// By where they are in sysfs.
    pub(crate) devices: Vec<Device>,
    /// By number.
    pub(crate) groups: Vec<Group>,
    /// All open files that could be seen.
    pub(crate) open: OpenFiles,
    /// Those of VFIO.
    pub(crate) holders: Holders,
}

/// What a user names: a device or a group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// A device.
    Device(&'a Device),
    /// A whole group.
    Group(&'a Group),
}

impl Machine {
    /// Looks at everything.
    pub(crate) fn read(root: &Root) -> Self {
        let groups = Group::all(root);
        let mut paths: Vec<PathBuf> = Vec::new();
        for (dir, below) in [(PCI_DEVICES, ""), ("/sys/class/vfio-dev", "device")] {
            let names = root.names(dir);
            paths.extend(
                names
                    .iter()
                    .map(|name| PathBuf::from(dir).join(name).join(below)),
            );
        }
        for group in &groups {
            let dir = PathBuf::from(GROUPS)
                .join(group.number.to_string())
                .join("devices");
            paths.extend(group.devices.iter().map(|name| dir.join(name)));
        }
        let devices: BTreeMap<_, _> = paths
            .iter()
            .filter_map(|path| Device::read(root, path))
            .map(|device| (device.sysfs.clone(), device))
            .collect();
        let open = OpenFiles::read(root);
        Self {
            devices: devices.into_values().collect(),
            groups,
            holders: Holders::among(root, &open),
            open,
        }
    }

    /// Returns the devices of a group.
    pub(crate) fn members<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Device> {
        self.devices
            .iter()
            .filter(|device| device.group == Some(group.number))
    }

    /// Returns the group of a device.
    pub(crate) fn group_of(&self, device: &Device) -> Option<&Group> {
        self.groups
            .iter()
            .find(|group| device.group == Some(group.number))
    }

    /// Finds what a user means: the number of a group, the address of a PCI device, or
    /// the name of any other device, on its bus or in VFIO.
    ///
    /// # Errors
    ///
    /// Fails if there is nothing of this name.
    pub(crate) fn find(&self, name: &str) -> Result<Target<'_>> {
        if let Ok(number) = name.parse::<u32>() {
            let group = self.groups.iter().find(|group| group.number == number);
            return group.map(Target::Group).with_context(|| {
                if self.groups.is_empty() {
                    "there are no IOMMU groups: `vfioctl doctor` says why".to_owned()
                } else {
                    format!("there is no IOMMU group {number}: `vfioctl list` shows what there is")
                }
            });
        }
        let full = full_name(name);
        let is = |device: &&Device| device.name == full || device.vfio.as_deref() == Some(name);
        match self.devices.iter().find(is) {
            Some(device) => Ok(Target::Device(device)),
            None => bail!("there is no device {full}: `vfioctl list` shows what there is"),
        }
    }
}

// SPDX-License-Identifier: GPL-2.0
//! Devices as sysfs shows them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::root::Root;

/// Where PCI devices are.
pub(crate) const PCI_DEVICES: &str = "/sys/bus/pci/devices";

/// A device that is in an IOMMU group, or that VFIO knows, or any PCI device.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Device {
    /// The name on its bus: `0000:00:03.0`, or the UUID of an emulated device.
    pub(crate) name: String,
    /// `pci`, `mdev`, `platform`, ...
    pub(crate) bus: String,
    /// Its directory in sysfs, without links.
    pub(crate) sysfs: PathBuf,
    /// Vendor and device number of a PCI device, as in `8086:10c9`.
    pub(crate) id: Option<String>,
    /// What a PCI device is: 24 bits.
    pub(crate) class: Option<u32>,
    /// The IOMMU in front of it.
    pub(crate) iommu: Option<String>,
    /// The number of its IOMMU group.
    pub(crate) group: Option<u32>,
    /// The driver that has it.
    pub(crate) driver: Option<String>,
    /// The only driver that may have it.
    pub(crate) driver_override: Option<String>,
    /// Its name in VFIO, `vfio0`, if a driver for VFIO has it.
    pub(crate) vfio: Option<String>,
    /// Its own node, if VFIO makes nodes for devices.
    pub(crate) node: Option<String>,
}

impl Device {
    /// Reads what sysfs has about the device in this directory, which may be a link.
    pub(crate) fn read(root: &Root, path: impl AsRef<Path>) -> Option<Self> {
        let sysfs = root.real(path)?;
        let name = sysfs.file_name()?.to_str()?.to_owned();
        let bus = root
            .link_name(sysfs.join("subsystem"))
            .unwrap_or_else(|| "unknown".to_owned());
        let hex = |file| root.number(sysfs.join(file));
        let id = match (hex("vendor"), hex("device")) {
            (Some(vendor), Some(device)) if bus == "pci" => {
                Some(format!("{vendor:04x}:{device:04x}"))
            }
            _ => None,
        };
        let vfio = root.names(sysfs.join("vfio-dev")).into_iter().next();
        let node = vfio
            .as_ref()
            .map(|name| format!("/dev/vfio/devices/{name}"))
            .filter(|node| root.exists(node));
        Some(Self {
            id,
            class: hex("class").and_then(|class| class.try_into().ok()),
            // The link `iommu` leads to a device of the class `iommu`.
            iommu: root.link_name(sysfs.join("iommu")),
            group: root
                .link_name(sysfs.join("iommu_group"))
                .and_then(|group| group.parse().ok()),
            driver: root.link_name(sysfs.join("driver")),
            driver_override: root
                .read(sysfs.join("driver_override"))
                .filter(|driver| !driver.is_empty() && driver != "(null)"),
            name,
            bus,
            vfio,
            node,
            sysfs,
        })
    }

    /// Whether it is a bridge, which cannot be used by a program.
    pub(crate) fn is_bridge(&self) -> bool {
        self.class.is_some_and(|class| class >> 16 == 6)
    }

    /// Returns in a word what it is.
    pub(crate) fn kind(&self) -> &str {
        match self.class.map(|class| class >> 16) {
            None => &self.bus,
            Some(0x01) => "storage",
            Some(0x02) => "network",
            Some(0x03) => "display",
            Some(0x04) => "multimedia",
            Some(0x05) => "memory",
            Some(0x06) => "bridge",
            Some(0x07) => "serial",
            Some(0x08) => "system",
            Some(0x09) => "input",
            Some(0x0b) => "processor",
            Some(0x0c) => "bus",
            Some(0x0d) => "wireless",
            Some(0x10) => "encryption",
            Some(0x12) => "accelerator",
            Some(_) => "other",
        }
    }
}

/// Completes an address of a PCI device: `00:03.0` is in domain `0000`.
pub(crate) fn full_name(name: &str) -> String {
    let is_short = name.len() == "00:03.0".len()
        && name.split([':', '.']).count() == 3
        && name
            .chars()
            .all(|c| c.is_ascii_hexdigit() || ":.".contains(c));
    if is_short {
        format!("0000:{name}")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::full_name;

    #[test]
    fn only_addresses_are_completed() {
        assert_eq!(full_name("00:1f.3"), "0000:00:1f.3");
        assert_eq!(full_name("0001:00:1f.3"), "0001:00:1f.3");
        assert_eq!(full_name("12"), "12");
        assert_eq!(full_name("abcdefg"), "abcdefg");
    }
}

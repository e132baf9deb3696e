// SPDX-License-Identifier: GPL-2.0
//! IOMMU groups: devices that the IOMMU cannot tell apart.

use serde::Serialize;

use crate::root::Root;

/// Where the kernel shows groups.
pub(crate) const GROUPS: &str = "/sys/kernel/iommu_groups";

/// A group of devices.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Group {
    /// Its number.
    pub(crate) number: u32,
    /// What the kernel calls it, if anything: `vfio-noiommu` if no IOMMU is behind it.
    pub(crate) name: Option<String>,
    /// How the kernel's own drivers use the IOMMU: `DMA`, `DMA-FQ`, `identity`.
    pub(crate) domain: Option<String>,
    /// The names of its devices.
    pub(crate) devices: Vec<String>,
    /// The node by which a program opens it, if a driver for VFIO has a device of it.
    pub(crate) node: Option<String>,
    /// Addresses that cannot be mapped.
    pub(crate) reserved: Vec<Reserved>,
}

/// Addresses of devices with a meaning of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reserved {
    /// The first address, as the kernel writes it.
    pub(crate) first: String,
    /// The last one.
    pub(crate) last: String,
    /// `direct`, `direct-relaxable`, `reserved` or `msi`.
    pub(crate) kind: String,
}

impl Group {
    /// Reads all groups.
    pub(crate) fn all(root: &Root) -> Vec<Self> {
        let numbers = root.names(GROUPS);
        let mut numbers: Vec<u32> = numbers
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
            .into_iter()
            .map(|number| Self::read(root, number))
            .collect()
    }

    fn read(root: &Root, number: u32) -> Self {
        let dir = format!("{GROUPS}/{number}");
        let node = [format!("{number}"), format!("noiommu-{number}")]
            .into_iter()
            .find(|name| root.exists(format!("/sys/class/vfio/{name}")))
            .map(|name| format!("/dev/vfio/{name}"));
        Self {
            number,
            name: root.read(format!("{dir}/name")),
            domain: root.read(format!("{dir}/type")),
            devices: root.names(format!("{dir}/devices")),
            node,
            reserved: reserved(
                &root
                    .read(format!("{dir}/reserved_regions"))
                    .unwrap_or_default(),
            ),
        }
    }

    /// Whether no IOMMU is behind it: its devices are emulated, or unprotected.
    pub(crate) fn has_no_iommu(&self) -> bool {
        self.name.as_deref() == Some("vfio-noiommu")
    }

    /// Whether its devices can reach all of the memory.
    pub(crate) fn is_unsafe(&self) -> bool {
        self.node
            .as_ref()
            .is_some_and(|node| node.contains("noiommu-"))
    }

    /// Returns the regions that forbid VFIO the group: the firmware wants them mapped.
    pub(crate) fn wanted_by_firmware(&self) -> impl Iterator<Item = &Reserved> {
        self.reserved
            .iter()
            .filter(|region| region.kind == "direct")
    }
}

/// Reads lines of `first last kind`.
fn reserved(text: &str) -> Vec<Reserved> {
    let region = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Reserved {
            first: words.next()?,
            last: words.next()?,
            kind: words.next()?,
        })
    };
    text.lines().filter_map(region).collect()
}

// SPDX-License-Identifier: GPL-2.0
//! What is remembered for the next boot.
//!
//! A file in `/etc/driverctl.d` has the name of a device's driver, as with driverctl, which
//! then does the rest. Without driverctl, a service and a rule of udev call `vfioctl
//! restore`: `packaging/vfioctl` has both.

use crate::{root::Root, step::Step};

/// Where the files are.
const STORE: &str = "/etc/driverctl.d";
/// Of what is installed to read them, the one or the other.
const READERS: [&str; 2] = [
    "udev/rules.d/05-driverctl.rules",
    "systemd/system/vfioctl-restore.service",
];

/// A driver that a device is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The address of a PCI device.
    pub(crate) device: String,
    /// The name of the driver.
    pub(crate) driver: String,
}

/// Returns what is stored under this name, if it is about a PCI device.
pub(crate) fn read(root: &Root, name: &str) -> Option<Entry> {
    Some(Entry {
        device: name.strip_prefix("pci-")?.to_owned(),
        driver: root.read(format!("{STORE}/{name}"))?,
    })
    .filter(|entry| !entry.driver.is_empty() && !entry.device.contains('/'))
}

/// Returns the names of all that is stored.
pub(crate) fn names(root: &Root) -> Vec<String> {
    root.names(STORE)
}

/// Whether something here reads at boot what is stored.
pub(crate) fn is_read_at_boot(root: &Root) -> bool {
    ["/usr/lib", "/lib", "/etc"].iter().any(|dir| {
        READERS
            .iter()
            .any(|reader| root.exists(format!("{dir}/{reader}")))
    })
}

/// Returns what makes these devices have this driver from the next boot on.
pub(crate) fn remember(root: &Root, devices: &[&str], driver: &str) -> Vec<Step> {
    let steps = devices
        .iter()
        .map(|device| Step::store(format!("{STORE}/pci-{device}"), format!("{driver}\n")));
    steps.filter(|step| !step.is_done(root)).collect()
}

/// Returns what makes these devices have their own drivers from the next boot on.
pub(crate) fn forget(root: &Root, devices: &[&str]) -> Vec<Step> {
    let steps = devices
        .iter()
        .map(|device| Step::remove(format!("{STORE}/pci-{device}")));
    steps.filter(|step| !step.is_done(root)).collect()
}

// SPDX-License-Identifier: GPL-2.0
//! What is remembered for the next boot.
//!
//! A file in `/etc/driverctl.d` has the name of a device's driver, as with driverctl, which
//! then does the rest. Without driverctl a rule of udev calls `vfioctl restore`; `bind
//! --save` writes that rule, and the last `unbind --save` removes it.

use std::path::Path;

use crate::{plan::Step, root::Root};

/// Where the files are.
const STORE: &str = "/etc/driverctl.d";
const RULE: &str = "/etc/udev/rules.d/05-vfioctl.rules";
/// Where driverctl has its rule, as udev sees it.
const DRIVERCTL_RULES: [&str; 3] = [
    "/usr/lib/udev/rules.d/05-driverctl.rules",
    "/lib/udev/rules.d/05-driverctl.rules",
    "/etc/udev/rules.d/05-driverctl.rules",
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

/// Whether driverctl does at boot what is stored.
pub(crate) fn has_driverctl(root: &Root) -> bool {
    DRIVERCTL_RULES.iter().any(|rule| root.exists(rule))
}

/// Returns what makes these devices have this driver from the next boot on. `program` is
/// this program.
pub(crate) fn remember(root: &Root, devices: &[&str], driver: &str, program: &Path) -> Vec<Step> {
    let mut steps: Vec<_> = devices
        .iter()
        .map(|device| Step::store(format!("{STORE}/pci-{device}"), format!("{driver}\n")))
        .collect();
    if !has_driverctl(root) {
        steps.push(Step::store(RULE.to_owned(), rule(program)));
    }
    steps.retain(|step| !step.is_done(root));
    steps
}

/// Returns what makes these devices have their own drivers from the next boot on.
pub(crate) fn forget(root: &Root, devices: &[&str]) -> Vec<Step> {
    let gone: Vec<_> = devices
        .iter()
        .map(|device| format!("pci-{device}"))
        .collect();
    let mut paths: Vec<_> = gone.iter().map(|name| format!("{STORE}/{name}")).collect();
    if names(root).iter().all(|name| gone.contains(name)) {
        paths.push(RULE.to_owned());
    }
    paths
        .into_iter()
        .map(Step::remove)
        .filter(|step| !step.is_done(root))
        .collect()
}

/// A device is added when it is plugged in, and once more at boot. The driver that wants it
/// is loaded by a later rule. Nothing is done when driverctl has come, or this program
/// has gone.
fn rule(program: &Path) -> String {
    let program = program.display();
    let driverctl = DRIVERCTL_RULES[0];
    format!(
        "# Written by `vfioctl bind --save`: devices get the drivers in {STORE}.\n\
         ACTION==\"add\", SUBSYSTEM==\"pci\", TEST==\"{STORE}/pci-$kernel\", \
         TEST!=\"{driverctl}\", TEST==\"{program}\", \
         RUN+=\"{program} restore pci-$kernel\"\n"
    )
}

// SPDX-License-Identifier: GPL-2.0
//! How much memory programs may lock, and so map for devices.

use std::{collections::BTreeMap, path::Path};

use super::Check;
use crate::{
    output::size,
    process::{Limit, Memory},
    root::Root,
};

const TOPIC: &str = "memlock";
/// What systemd gives to services if nobody says anything else.
const SYSTEMD_DEFAULT: Limit = Limit::Bytes(8 << 20);
/// Less is too little even for a small program with a device.
const SMALL: u64 = 64 << 20;
/// Where units are, the first one wins.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Services that start programs which use VFIO.
const SERVICES: [Service; 6] = [
    Service::new("virtqemud", Kind::Libvirt),
    Service::new("libvirtd", Kind::Libvirt),
    Service::new("containerd", Kind::Containers),
    Service::new("docker", Kind::Containers),
    Service::new("crio", Kind::Containers),
    Service::new("podman", Kind::Containers),
];

enum Kind {
    /// It gives each virtual machine the limit that it needs.
    Libvirt,
    /// What it starts has its limit.
    Containers,
}

struct Service {
    name: &'static str,
    kind: Kind,
}

impl Service {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }

    fn check(&self, root: &Root) -> Option<Check> {
        let limit = unit_limit(root, &format!("{}.service", self.name))?;
        let text = format!("The service {} may lock {limit}", self.name);
        Some(match (&self.kind, limit) {
            (Kind::Libvirt, _) => Check::ok(
                TOPIC,
                format!("{text}; it raises the limit for each virtual machine with a device."),
            ),
            (Kind::Containers, limit) if is_small(limit) => Check::warning(
                TOPIC,
                format!("{text}, and so may its containers, which is too little for VFIO."),
                format!(
                    "systemctl edit {}    (add [Service] and LimitMEMLOCK=infinity), or start the \
                     container with --ulimit memlock=-1",
                    self.name
                ),
            ),
            (Kind::Containers, _) => {
                Check::ok(TOPIC, format!("{text}, and so may its containers."))
            }
        })
    }
}

fn is_small(limit: Limit) -> bool {
    matches!(limit, Limit::Bytes(bytes) if bytes < SMALL)
}

/// Checks this process, systemd's default, and the services that are installed.
pub(super) fn checks(root: &Root) -> Vec<Check> {
    let mut checks = vec![own(root)];
    let default = default_limit(root);
    checks.push(Check::ok(
        TOPIC,
        format!("systemd lets a service lock {default} unless its unit says something else."),
    ));
    checks.extend(SERVICES.iter().filter_map(|service| service.check(root)));
    checks
}

fn own(root: &Root) -> Check {
    let memory = Memory::of(root, "self");
    match memory.limit {
        _ if memory.exempt => Check::ok(TOPIC, "This user may lock any amount."),
        Some(limit @ Limit::Bytes(bytes)) if is_small(limit) => Check::warning(
            TOPIC,
            format!(
                "Programs of this user may lock {}: they can map no more for devices.",
                size(bytes)
            ),
            "Write `NAME - memlock unlimited` into /etc/security/limits.d/vfio.conf, and log in \
             again.",
        ),
        Some(limit) => Check::ok(TOPIC, format!("Programs of this user may lock {limit}.")),
        None => Check::warning(
            TOPIC,
            "How much programs of this user may lock is unknown.",
            "ulimit -l",
        ),
    }
}

fn default_limit(root: &Root) -> Limit {
    const FILE: &str = "system.conf";
    let dirs = ["/etc/systemd", "/run/systemd", "/usr/lib/systemd"];
    limit(root, &dirs, FILE, "DefaultLimitMEMLOCK").unwrap_or(SYSTEMD_DEFAULT)
}

/// Returns the limit of a service, if it is installed.
fn unit_limit(root: &Root, unit: &str) -> Option<Limit> {
    let is_there = |dir: &&str| root.exists(Path::new(dir).join(unit));
    UNITS.iter().find(|dir| is_there(dir))?;
    let own = limit(root, &UNITS, unit, "LimitMEMLOCK");
    Some(own.unwrap_or_else(|| default_limit(root)))
}

/// Returns what a file and the parts beside it give to a limit. It may be in several
/// directories: of each name, the first one counts. Parts come in the order of their names.
fn limit(root: &Root, dirs: &[&str], file: &str, key: &str) -> Option<Limit> {
    let places = || dirs.iter().map(|dir| format!("{dir}/{file}"));
    let mut parts = BTreeMap::new();
    for dir in places().map(|place| format!("{place}.d")) {
        for name in root.names(&dir) {
            if name.ends_with(".conf") {
                let path = format!("{dir}/{name}");
                parts.entry(name).or_insert(path);
            }
        }
    }
    let main = places().find(|place| root.exists(place));
    setting(root, main.into_iter().chain(parts.into_values()), key)
}

/// Returns the last value that these files give to a limit.
fn setting(root: &Root, files: impl IntoIterator<Item = String>, key: &str) -> Option<Limit> {
    let mut limit = None;
    for file in files {
        let text = root.read(file).unwrap_or_default();
        let values = text.lines().filter_map(|line| {
            let (found, value) = line.split_once('=')?;
            (found.trim() == key).then(|| value.trim())
        });
        limit = values.rev().find_map(soft_limit).or(limit);
    }
    limit
}

/// Reads `8M`, `infinity`, or both a soft and a hard limit, `8M:infinity`.
fn soft_limit(value: &str) -> Option<Limit> {
    let value = value.split(':').next()?;
    if value == "infinity" {
        return Some(Limit::Unlimited);
    }
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match value.get(digits.len()..)? {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift).map(Limit::Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_systemd_have_units() {
        assert_eq!(soft_limit("infinity"), Some(Limit::Unlimited));
        assert_eq!(soft_limit("8M"), Some(Limit::Bytes(8 << 20)));
        assert_eq!(soft_limit("64K:infinity"), Some(Limit::Bytes(64 << 10)));
        assert_eq!(soft_limit("4096"), Some(Limit::Bytes(4096)));
        assert_eq!(soft_limit("much"), None);
        assert_eq!(soft_limit("99999999T"), None);
    }
}

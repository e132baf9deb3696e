// SPDX-License-Identifier: GPL-2.0
//! Network interfaces: whether they are up and have an address or a route, themselves or by
//! what lies above them (bridges, bonds, VLANs).

use std::{collections::BTreeSet, path::Path};

use super::Use;
use crate::root::Root;

const NET: &str = "/sys/class/net";
/// A flag of interfaces: `ip link set ... up`.
const IFF_UP: u64 = 1;
/// The scope of IPv6 addresses that every interface gives itself.
const LINK: &str = "20";

/// Returns how these interfaces are used.
pub(super) fn uses(root: &Root, names: &[String]) -> Vec<Use> {
    let is_up = |name: &&String| {
        let flags = root.number(Path::new(NET).join(name).join("flags"));
        flags.is_some_and(|flags| flags & IFF_UP != 0)
    };
    names
        .iter()
        .filter(is_up)
        .filter_map(|name| {
            let (carrier, what) = connection(root, name)?;
            let by = if carrier == *name {
                String::new()
            } else {
                format!(" by {carrier}")
            };
            Some(Use::Network(format!(
                "the interface {name} is up and has {what}{by}"
            )))
        })
        .collect()
}

/// Returns which interface has what, of this one and those above it.
fn connection(root: &Root, name: &str) -> Option<(String, &'static str)> {
    let v4 = root.read("/proc/net/route").unwrap_or_default();
    let v6 = root.read("/proc/net/if_inet6").unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut above = vec![name.to_owned()];
    while let Some(name) = above.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        // Destination 0 is the default route.
        let mut routes = fields(&v4).filter(|fields| fields.first() == Some(&name.as_str()));
        let is_default = |fields: &Vec<&str>| fields.get(1) == Some(&"00000000");
        if routes.clone().any(|fields| is_default(&fields)) {
            return Some((name, "the default route"));
        }
        let mut addresses = fields(&v6).filter(|fields| fields.last() == Some(&name.as_str()));
        if routes.next().is_some() || addresses.any(|fields| fields.get(3) != Some(&LINK)) {
            return Some((name, "an address"));
        }
        let entries = root.names(Path::new(NET).join(&name));
        above.extend(
            entries
                .iter()
                .filter_map(|entry| entry.strip_prefix("upper_"))
                .map(str::to_owned),
        );
    }
    None
}

fn fields(text: &str) -> impl Iterator<Item = Vec<&str>> + Clone {
    text.lines().map(|line| line.split_whitespace().collect())
}

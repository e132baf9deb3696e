// SPDX-License-Identifier: GPL-2.0
//! Huge pages: fewer and quicker mappings for programs that use them.

use super::Check;
use crate::{output::size, root::Root};

const TOPIC: &str = "hugepages";
const POOLS: &str = "/sys/kernel/mm/hugepages";

/// Checks each size that the kernel has.
pub(super) fn checks(root: &Root) -> Vec<Check> {
    let mut pools: Vec<_> = root
        .names(POOLS)
        .iter()
        .filter_map(|name| {
            let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            Some((
                kib.parse::<u64>().ok()?.checked_mul(1024)?,
                format!("{POOLS}/{name}"),
            ))
        })
        .collect();
    pools.sort();
    if pools.is_empty() {
        return vec![Check::ok(TOPIC, "The kernel has none.")];
    }
    pools
        .iter()
        .map(|(bytes, dir)| pool(root, *bytes, dir))
        .collect()
}

fn pool(root: &Root, bytes: u64, dir: &str) -> Check {
    let pages = |file| root.number(format!("{dir}/{file}")).unwrap_or_default();
    let (all, free) = (pages("nr_hugepages"), pages("free_hugepages"));
    let name = size(bytes);
    match (all, free) {
        (0, _) => Check::ok(
            TOPIC,
            format!("None of {name} are reserved; DPDK wants some, QEMU can use them."),
        ),
        (all, 0) => Check::warning(
            TOPIC,
            format!("All {all} of {name} are taken."),
            format!("echo {} >{dir}/nr_hugepages", all.saturating_mul(2)),
        ),
        (all, free) => Check::ok(TOPIC, format!("{free} of {all} of {name} are free.")),
    }
}

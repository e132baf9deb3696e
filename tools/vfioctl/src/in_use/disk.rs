// SPDX-License-Identifier: GPL-2.0
//! Disks: whether a file system, swap, or anything else uses them, through whatever lies
//! between (partitions, LVM, encryption, RAID).

use std::{collections::BTreeSet, fs::File, os::unix::fs::OpenOptionsExt, path::Path};

use rustix::io::Errno;

use super::Use;
use crate::root::Root;

const BLOCK: &str = "/sys/class/block";
const BTRFS: &str = "/sys/fs/btrfs";

/// Returns how these disks and partitions are used. `is_claimed` tells whether somebody has
/// the node of one for himself.
pub(super) fn uses(root: &Root, names: &[String], is_claimed: &dyn Fn(&Path) -> bool) -> Vec<Use> {
    let tables = Tables::read(root);
    let mut uses = Vec::new();
    for name in names {
        let visible = visible(name);
        let mut seen = BTreeSet::new();
        let mut above = vec![visible.clone()];
        while let Some(block) = above.pop() {
            if !seen.insert(block.clone()) {
                continue;
            }
            above.extend(root.names(Path::new(BLOCK).join(&block).join("holders")));
            let on = if block == visible {
                block.clone()
            } else {
                format!("{block} on {visible}")
            };
            let found = uses.len();
            uses.extend(
                tables
                    .of(root, &block)
                    .map(|what| Use::Disk(format!("{what} is on {on}"))),
            );
            // The kernel's own answer, which knows more than we do.
            if uses.len() == found && is_claimed(&root.path(Path::new("/dev").join(&block))) {
                uses.push(Use::Disk(format!("something has {on} for itself")));
            }
        }
    }
    // One reason is enough where a better one is known.
    if uses.iter().any(|used| !is_vague(used)) {
        uses.retain(|used| !is_vague(used));
    }
    uses.dedup();
    uses
}

fn is_vague(used: &Use) -> bool {
    matches!(used, Use::Disk(text) if text.starts_with("something"))
}

/// Returns the disk that can be used, where this is one of several paths to it that cannot:
/// `nvme1n1` for `nvme1c0n1`.
fn visible(name: &str) -> String {
    let head = || {
        let (controller, rest) = name.strip_prefix("nvme")?.split_once('c')?;
        let (path, namespace) = rest.split_once('n')?;
        path.parse::<u32>().ok()?;
        Some(format!("nvme{controller}n{namespace}"))
    };
    head().unwrap_or_else(|| name.to_owned())
}

/// Whether somebody has opened a node for himself: a file system, swap, LVM, ZFS, ...
pub(super) fn is_claimed(node: &Path) -> bool {
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_EXCL | libc::O_NONBLOCK)
        .open(node);
    opened.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::BUSY))
}

/// What is in use, as text of the kernel.
struct Tables {
    mounts: String,
    swaps: String,
}

impl Tables {
    fn read(root: &Root) -> Self {
        Self {
            mounts: root.read("/proc/self/mountinfo").unwrap_or_default(),
            swaps: root.read("/proc/swaps").unwrap_or_default(),
        }
    }

    /// Returns what is directly on a block device.
    fn of<'a>(&'a self, root: &'a Root, block: &str) -> impl Iterator<Item = String> + 'a {
        let dir = Path::new(BLOCK).join(block);
        let number = root.read(dir.join("dev")).unwrap_or_default();
        let mut nodes = vec![format!("/dev/{block}")];
        let mapper = root.read(dir.join("dm/name"));
        nodes.extend(mapper.map(|name| format!("/dev/mapper/{name}")));
        let swap = self
            .swaps
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .any(|node| nodes.iter().any(|own| own == node));
        let btrfs = root
            .names(BTRFS)
            .into_iter()
            .any(|id| root.exists(Path::new(BTRFS).join(id).join("devices").join(block)));
        let mounted = self.mounts.lines().filter_map(move |line| {
            let mount = Mount::parse(line)?;
            let is = mount.number == number || nodes.iter().any(|node| node == mount.source);
            is.then(|| format!("the file system {}", mount.point))
        });
        let mut mounted = mounted.peekable();
        // Of several disks of one file system, only one is named where it is mounted.
        let other = (btrfs && mounted.peek().is_none()).then(|| "a btrfs".to_owned());
        mounted.chain(other).chain(swap.then(|| "swap".to_owned()))
    }
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'a> {
    /// The device's number, `major:minor`.
    number: &'a str,
    point: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        Some(Self {
            number: front.next()?,
            point: front.nth(1)?,
            source: back.split(' ').nth(1)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_the_disk_that_can_be_used() {
        assert_eq!(visible("nvme1c0n2"), "nvme1n2");
        assert_eq!(visible("nvme1n2"), "nvme1n2");
        assert_eq!(visible("nvme1n2p1"), "nvme1n2p1");
        assert_eq!(visible("sdc"), "sdc");
    }

    #[test]
    fn who_claims_a_disk_need_not_be_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Root::new(dir.path()).expect("a root");
        let names = ["sda".to_owned(), "sda1".to_owned()];
        assert_eq!(uses(&root, &names, &|_| false), []);
        let uses = uses(&root, &names, &|node| node.ends_with("dev/sda1"));
        assert_eq!(
            uses,
            [Use::Disk("something has sda1 for itself".to_owned())]
        );
    }
}

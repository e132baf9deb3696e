// SPDX-License-Identifier: GPL-2.0
//! Whether the machine itself uses a device, so that taking it away would hurt.
//!
//! Everything that a driver makes of a device, such as disks and network interfaces, lies
//! below the device's directory in sysfs.

mod disk;
mod network;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::{
    device::Device,
    output::joined,
    process::{OpenFiles, Process},
    root::Root,
};

/// A way in which a device is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A disk has data that the machine needs now.
    Disk(String),
    /// A network interface is connected.
    Network(String),
    /// It shows the text console.
    Console,
    /// So many virtual functions would go with its driver.
    VirtualFunctions(u64),
    /// Processes have a node in `/dev` open.
    Node(String, Vec<Process>),
}

impl Use {
    /// Whether nobody can want to take the device away.
    pub(crate) fn is_vital(&self) -> bool {
        matches!(self, Self::Disk(_))
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(how) | Self::Network(how) => f.write_str(how),
            Self::Console => f.write_str("it shows the console of this machine"),
            Self::VirtualFunctions(count) => write!(f, "it has {count} virtual functions"),
            Self::Node(node, users) => write!(f, "{node} is open in {}", joined(users, ", ")),
        }
    }
}

/// Something that a driver made of a device.
struct Part {
    /// What it is: `block`, `net`, `drm`, ...
    class: String,
    /// Its name.
    name: String,
    /// Its node, if it has one.
    node: Option<String>,
}

/// Returns how a device is used, if at all.
pub(crate) fn uses(root: &Root, open: &OpenFiles, device: &Device) -> Vec<Use> {
    let mut parts = Vec::new();
    collect(root, &device.sysfs, &mut parts);
    let names = |class: &str| -> Vec<String> {
        parts
            .iter()
            .filter(|part| part.class == class)
            .map(|part| part.name.clone())
            .collect()
    };
    let mut uses = disk::uses(root, &names("block"), &disk::is_claimed);
    uses.extend(network::uses(root, &names("net")));
    if is_console(root, device) {
        uses.push(Use::Console);
    }
    let functions = root.number(device.sysfs.join("sriov_numvfs"));
    uses.extend(
        functions
            .filter(|count| *count > 0)
            .map(Use::VirtualFunctions),
    );
    for node in parts.into_iter().filter_map(|part| part.node) {
        let users = open.users(&node);
        if !users.is_empty() {
            uses.push(Use::Node(node, users));
        }
    }
    uses
}

/// Finds the parts of a device, whose directories are below its own.
fn collect(root: &Root, dir: &Path, parts: &mut Vec<Part>) {
    let Ok(entries) = fs::read_dir(root.path(dir)) else {
        return;
    };
    let mut dirs: Vec<PathBuf> = entries
        .flatten()
        // Links lead out.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| dir.join(entry.file_name()))
        .collect();
    dirs.sort();
    for dir in dirs {
        if let (Some(class), Some(name)) = (root.link_name(dir.join("subsystem")), dir.file_name())
        {
            let uevent = root.read(dir.join("uevent")).unwrap_or_default();
            let node = uevent
                .lines()
                .find_map(|line| line.strip_prefix("DEVNAME="))
                .map(|name| Path::new("/dev").join(name).display().to_string());
            parts.push(Part {
                class,
                name: name.to_string_lossy().into_owned(),
                node,
            });
        }
        collect(root, &dir, parts);
    }
}

/// Whether the firmware used it as the display, and text goes to a framebuffer.
fn is_console(root: &Root, device: &Device) -> bool {
    const CONSOLES: &str = "/sys/class/vtconsole";
    root.number(device.sysfs.join("boot_vga")) == Some(1)
        && root.names(CONSOLES).iter().any(|name| {
            let dir = Path::new(CONSOLES).join(name);
            let kind = root.read(dir.join("name")).unwrap_or_default();
            kind.contains("frame buffer") && root.number(dir.join("bind")) == Some(1)
        })
}

// SPDX-License-Identifier: GPL-2.0
//! Who has files of VFIO open.
//!
//! A device is held by whoever has its group's node or its own node open, or a file that
//! was got from the group: that has no path, but the kernel tells which device it is.

use serde::Serialize;

use crate::{
    device::Device,
    fdinfo::FdInfo,
    process::{Open, OpenFiles, Process},
    root::Root,
};

/// What a file of VFIO is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "name")]
pub(crate) enum Kind {
    /// `/dev/vfio/vfio`.
    Container,
    /// `/dev/vfio/<n>` or `/dev/vfio/noiommu-<n>`.
    Group(u32),
    /// `/dev/vfio/devices/vfio<n>`.
    Node(String),
    /// A device that was got from its group: its name, if the kernel tells it.
    Device(Option<String>),
    /// `/dev/iommu`, by which device nodes get their memory.
    Iommufd,
}

/// An open file of VFIO.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VfioFile {
    /// Who has it open.
    #[serde(flatten)]
    pub(crate) process: Process,
    /// Its descriptor there.
    pub(crate) fd: u32,
    /// What it is.
    #[serde(flatten)]
    pub(crate) kind: Kind,
    /// What else the kernel tells.
    pub(crate) info: FdInfo,
}

/// All open files of VFIO that could be seen.
#[derive(Clone, Debug)]
pub(crate) struct Holders {
    /// By process and descriptor.
    pub(crate) files: Vec<VfioFile>,
    /// How many processes did not show theirs.
    pub(crate) hidden: usize,
}

impl Holders {
    /// Chooses them among all open files.
    pub(crate) fn among(root: &Root, open: &OpenFiles) -> Self {
        let mut files: Vec<_> = open
            .files
            .iter()
            .filter_map(|file| VfioFile::recognize(root, file))
            .collect();
        files.sort_by_key(|file| (file.process.pid, file.fd));
        Self {
            files,
            hidden: open.hidden,
        }
    }

    /// Returns who holds a device, each once.
    pub(crate) fn of(&self, device: &Device) -> Vec<Process> {
        self.processes(|file| match &file.kind {
            Kind::Group(number) => device.group == Some(*number),
            Kind::Node(name) => device.vfio.as_ref() == Some(name),
            Kind::Device(name) => name.as_ref() == Some(&device.name),
            Kind::Container | Kind::Iommufd => false,
        })
    }

    /// Returns who has the node of a group open.
    pub(crate) fn of_node(&self, group: u32) -> Vec<Process> {
        self.processes(|file| file.kind == Kind::Group(group))
    }

    fn processes(&self, is: impl Fn(&VfioFile) -> bool) -> Vec<Process> {
        let chosen = self.files.iter().filter(|file| is(file));
        let mut all: Vec<_> = chosen.map(|file| file.process.clone()).collect();
        all.sort();
        all.dedup();
        all
    }
}

impl VfioFile {
    fn recognize(root: &Root, open: &Open) -> Option<Self> {
        let mut kind = kind(&open.target)?;
        let path = format!("/proc/{}/fdinfo/{}", open.process.pid, open.fd);
        let info = FdInfo::parse(&root.read(path).unwrap_or_default());
        if let Kind::Device(name) = &mut kind {
            *name = info.device_name().map(str::to_owned);
        }
        Some(Self {
            process: open.process.clone(),
            fd: open.fd,
            kind,
            info,
        })
    }
}

/// Recognizes a file by where its link leads.
fn kind(target: &str) -> Option<Kind> {
    if target == "anon_inode:[vfio-device]" {
        return Some(Kind::Device(None));
    }
    if target == "/dev/iommu" {
        return Some(Kind::Iommufd);
    }
    let name = target.strip_prefix("/dev/vfio/")?;
    if name == "vfio" {
        return Some(Kind::Container);
    }
    if let Some(node) = name.strip_prefix("devices/") {
        return (!node.contains(' ')).then(|| Kind::Node(node.to_owned()));
    }
    let number = name.strip_prefix("noiommu-").unwrap_or(name);
    number.parse().ok().map(Kind::Group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_tell_what_a_file_is() {
        assert_eq!(kind("/dev/vfio/vfio"), Some(Kind::Container));
        assert_eq!(kind("/dev/vfio/12"), Some(Kind::Group(12)));
        assert_eq!(kind("/dev/vfio/noiommu-0"), Some(Kind::Group(0)));
        assert_eq!(
            kind("/dev/vfio/devices/vfio3"),
            Some(Kind::Node("vfio3".to_owned()))
        );
        assert_eq!(kind("anon_inode:[vfio-device]"), Some(Kind::Device(None)));
        assert_eq!(kind("anon_inode:[eventfd]"), None);
        assert_eq!(kind("/dev/null"), None);
    }

    /// The number of a node that is gone may be another group's by now.
    #[test]
    fn nodes_that_are_gone_do_not_count() {
        assert_eq!(kind("/dev/vfio/12 (deleted)"), None);
        assert_eq!(kind("/dev/vfio/devices/vfio3 (deleted)"), None);
    }
}

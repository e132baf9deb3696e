// SPDX-License-Identifier: GPL-2.0
//! A machine made of files in a temporary directory.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

/// A made-up machine. Paths are those that it would have itself.
pub(crate) struct Tree {
    dir: TempDir,
}

/// What the program said.
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A PCI device to be put into a machine.
#[derive(Clone, Copy)]
pub(crate) struct Pci<'a> {
    pub(crate) address: &'a str,
    pub(crate) class: u32,
    pub(crate) driver: &'a str,
    pub(crate) group: Option<u32>,
}

pub(crate) const NETWORK: u32 = 0x02_0000;
pub(crate) const STORAGE: u32 = 0x01_0802;
pub(crate) const DISPLAY: u32 = 0x03_0000;
pub(crate) const BRIDGE: u32 = 0x06_0400;

impl Tree {
    pub(crate) fn new() -> Self {
        let tree = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        tree.file("/proc/self/status", "CapEff:\t0000000000000000\n");
        tree.limit("self", "8388608");
        tree
    }

    /// Where a file of the machine really is.
    pub(crate) fn host_path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// Adds a file, and the directories above it.
    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.host_path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        fs::write(path, text).expect("a file");
        self
    }

    /// Adds a directory.
    pub(crate) fn dir(&self, path: &str) -> &Self {
        fs::create_dir_all(self.host_path(path)).expect("directories");
        self
    }

    /// Adds a link to another path of the machine, as sysfs does: from where it is.
    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        let depth = path.matches('/').count() - 1;
        self.raw_link(
            path,
            &format!("{}{}", "../".repeat(depth), target.trim_start_matches('/')),
        )
    }

    /// Adds a link that leads wherever its text says.
    pub(crate) fn raw_link(&self, path: &str, target: &str) -> &Self {
        let path = self.host_path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        symlink(target, path).expect("a link");
        self
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.host_path(path)).unwrap_or_default()
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.host_path(path).exists()
    }

    /// All files with what is in them, to see that nothing changes.
    pub(crate) fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(dir: &Path, all: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(dir).expect("a directory").flatten() {
                match entry.file_type().expect("a type") {
                    kind if kind.is_dir() => walk(&entry.path(), all),
                    kind if kind.is_file() => {
                        all.push((entry.path(), fs::read(entry.path()).expect("a file")));
                    }
                    _ => all.push((entry.path(), Vec::new())),
                }
            }
        }
        let mut all = Vec::new();
        walk(self.dir.path(), &mut all);
        all.sort();
        all
    }

    /// Adds a PCI device, and returns its directory.
    pub(crate) fn pci(&self, pci: Pci<'_>) -> String {
        let Pci { address, .. } = pci;
        let dir = format!("/sys/devices/pci0000:00/{address}");
        self.file(&format!("{dir}/vendor"), "0x8086\n")
            .file(&format!("{dir}/device"), "0x1521\n")
            .file(&format!("{dir}/class"), &format!("{:#08x}\n", pci.class))
            .file(&format!("{dir}/driver_override"), "(null)\n")
            .dir("/sys/bus/pci")
            .link(&format!("{dir}/subsystem"), "/sys/bus/pci")
            .link(&format!("/sys/bus/pci/devices/{address}"), &dir);
        if !pci.driver.is_empty() {
            let driver = format!("/sys/bus/pci/drivers/{}", pci.driver);
            self.dir(&driver).link(&format!("{dir}/driver"), &driver);
        }
        if let Some(group) = pci.group {
            let group = format!("/sys/kernel/iommu_groups/{group}");
            self.dir(&group)
                .file(&format!("{group}/type"), "DMA-FQ\n")
                .link(&format!("{group}/devices/{address}"), &dir)
                .link(&format!("{dir}/iommu_group"), &group)
                .dir("/sys/class/iommu/dmar0")
                .link(&format!("{dir}/iommu"), "/sys/class/iommu/dmar0");
        }
        dir
    }

    /// Adds a PCI device that `vfio-pci` has, as `vfio<number>`, with both nodes.
    pub(crate) fn vfio(&self, address: &str, group: u32, number: u32) -> String {
        let dir = self.pci(Pci {
            address,
            class: NETWORK,
            driver: "vfio-pci",
            group: Some(group),
        });
        let name = format!("vfio{number}");
        self.file(&format!("{dir}/driver_override"), "vfio-pci\n")
            .dir(&format!("{dir}/vfio-dev/{name}"))
            .link(&format!("{dir}/vfio-dev/{name}/device"), &dir)
            .link(
                &format!("/sys/class/vfio-dev/{name}"),
                &format!("{dir}/vfio-dev/{name}"),
            )
            .dir(&format!("/sys/class/vfio/{group}"))
            .file(&format!("/dev/vfio/{group}"), "")
            .file(&format!("/dev/vfio/devices/{name}"), "");
        dir
    }

    /// Adds something that a driver made of a device: a directory below its own.
    pub(crate) fn part(&self, device: &str, class: &str, below: &str, name: &str) -> String {
        let dir = format!("{device}/{below}/{name}");
        self.dir(&dir)
            .dir(&format!("/sys/class/{class}"))
            .link(&format!("{dir}/subsystem"), &format!("/sys/class/{class}"))
            .link(&format!("/sys/class/{class}/{name}"), &dir);
        dir
    }

    /// Adds a process.
    pub(crate) fn process(&self, pid: u32, comm: &str) -> &Self {
        self.file(&format!("/proc/{pid}/comm"), &format!("{comm}\n"))
            .dir(&format!("/proc/{pid}/fd"))
    }

    /// Gives a process a limit of locked memory.
    pub(crate) fn limit(&self, pid: &str, soft: &str) -> &Self {
        let text =
            format!("Max locked memory         {soft:<20} unlimited            bytes     \n");
        self.file(&format!("/proc/{pid}/limits"), &text)
    }

    /// Lets a process have a file open.
    pub(crate) fn open(&self, pid: u32, fd: u32, target: &str, info: &str) -> &Self {
        self.raw_link(&format!("/proc/{pid}/fd/{fd}"), target).file(
            &format!("/proc/{pid}/fdinfo/{fd}"),
            &format!("pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t1\n{info}"),
        )
    }

    /// Runs the program on this machine.
    pub(crate) fn vfioctl(&self, args: &[&str]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_vfioctl"))
            .arg("--root")
            .arg(self.dir.path())
            .args(args)
            .output()
            .expect("the program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            status: output.status.code().expect("a status"),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// The same with `--json`. What it prints must be JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let said = self.vfioctl(&[args, &["--json"]].concat());
        serde_json::from_str(&said.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", said.out, said.err))
    }
}

impl Said {
    /// It must have succeeded.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// It must have refused, for a reason that has these words.
    #[track_caller]
    pub(crate) fn refused(self, words: &str) {
        assert_eq!(self.status, 2, "{}{}", self.out, self.err);
        assert!(self.err.contains(words), "{}", self.err);
    }
}

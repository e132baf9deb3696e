// SPDX-License-Identifier: GPL-2.0
//! Machines that several tests look at.

use crate::tree::{Pci, Tree, BRIDGE, DISPLAY, NETWORK, STORAGE};

/// A laptop whose IOMMU the kernel does not use.
pub(crate) fn laptop() -> Tree {
    let tree = Tree::new();
    tree.pci(Pci {
        address: "0000:00:02.0",
        class: DISPLAY,
        driver: "i915",
        group: None,
    });
    tree.file("/sys/firmware/acpi/tables/DMAR", "")
        .file("/proc/cmdline", "root=/dev/sda1 ro quiet\n")
        .dir("/sys/kernel/iommu_groups");
    tree
}

/// The port, the network card with two functions, and the first function's interface.
pub(crate) const PORT: &str = "0000:00:01.0";
pub(crate) const NIC: [&str; 2] = ["0000:01:00.0", "0000:01:00.1"];

/// A server with a network card whose two functions share group 12 with a port. Nobody uses
/// the card, although the interface `eth0` is up.
pub(crate) fn server() -> Tree {
    let tree = Tree::new();
    tree.pci(Pci {
        address: PORT,
        class: BRIDGE,
        driver: "pcieport",
        group: Some(12),
    });
    for (address, name) in NIC.into_iter().zip(["eth0", "eth1"]) {
        let device = tree.pci(Pci {
            address,
            class: NETWORK,
            driver: "igb",
            group: Some(12),
        });
        let interface = tree.part(&device, "net", "net", name);
        tree.file(&format!("{interface}/flags"), "0x1003\n");
    }
    tree.dir("/sys/bus/pci/drivers/vfio-pci")
        .file("/sys/bus/pci/drivers_probe", "")
        .file("/proc/cmdline", "quiet intel_iommu=on\n")
        .file("/proc/net/route", "Iface\tDestination\tGateway\tFlags\n")
        .file(
            "/proc/net/if_inet6",
            "fe800000000000005054fffffe123456 02 40 20 80     eth0\n",
        );
    tree
}

/// The device that QEMU has.
pub(crate) const HELD: &str = "0000:03:00.0";

/// A host with a device bound to `vfio-pci` as `vfio0`, in group 7, which process 4242 has,
/// with the files of Rust modules.
pub(crate) fn host() -> Tree {
    let tree = Tree::new();
    let device = tree.vfio(HELD, 7, 0);
    tree.process(4242, "qemu-system-x86")
        .limit("4242", "unlimited")
        .file(
            "/proc/4242/status",
            "Name:\tqemu-system-x86\nVmLck:\t 4194304 kB\nVmPin:\t       0 kB\n\
             CapEff:\t0000000000000000\n",
        )
        .open(
            4242,
            20,
            "/dev/vfio/vfio",
            "vfio-container-backend:\tvfio-iommu-type1\nvfio-mappings:\t12\n\
             vfio-mapped-bytes:\t4295032832\nvfio-pinned-bytes:\t4294967296\n\
             vfio-entries-left:\t65523\nvfio-dirty-tracking:\toff\n",
        )
        .open(
            4242,
            21,
            "/dev/vfio/7",
            "vfio-group:\t7\nvfio-attached:\tcontainer\n",
        )
        .open(
            4242,
            22,
            "anon_inode:[vfio-device]",
            &format!(
                "vfio-device-syspath: {device}\n\
                 vfio-migration-state:\tRUNNING\n"
            ),
        );
    tree
}

/// The disk.
pub(crate) const DISK: &str = "0000:04:00.0";

/// A server whose root file system is on LVM on an NVMe disk in group 9.
pub(crate) fn lvm_root() -> Tree {
    let tree = Tree::new();
    let device = tree.pci(Pci {
        address: DISK,
        class: STORAGE,
        driver: "nvme",
        group: Some(9),
    });
    let controller = tree.part(&device, "nvme", "nvme", "nvme0");
    let disk = format!("{controller}/nvme0n1");
    let partition = format!("{disk}/nvme0n1p2");
    for (dir, number) in [(&disk, "259:0"), (&partition, "259:2")] {
        let name = dir.rsplit('/').next().expect("a name");
        tree.file(&format!("{dir}/dev"), &format!("{number}\n"))
            .dir("/sys/class/block")
            .link(&format!("{dir}/subsystem"), "/sys/class/block")
            .link(&format!("/sys/class/block/{name}"), dir);
    }
    let mapped = "/sys/devices/virtual/block/dm-0";
    tree.file(&format!("{mapped}/dev"), "254:0\n")
        .file(&format!("{mapped}/dm/name"), "vg-root\n")
        .link("/sys/class/block/dm-0", mapped)
        .link(&format!("{partition}/holders/dm-0"), mapped)
        .dir("/sys/bus/pci/drivers/vfio-pci")
        .file(
            "/proc/self/mountinfo",
            "25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n",
        );
    tree
}

// SPDX-License-Identifier: GPL-2.0
//! Devices that `bind` must not take: each way in which one can be in use.

use crate::{
    samples::{lvm_root, server, DISK, NIC},
    tree::{Pci, Tree, DISPLAY},
};

fn bind(tree: &Tree, target: &str, more: &[&str]) -> crate::tree::Said {
    tree.vfioctl(&[&["bind", "--dry-run", target], more].concat())
}

#[test]
fn the_root_file_system_on_lvm() {
    let tree = lvm_root();
    bind(&tree, DISK, &[]).refused("the file system / is on dm-0 on nvme0n1p2");
    // There is no force against that.
    bind(&tree, DISK, &["--force"]).refused("the file system /");
    tree.file("/proc/self/mountinfo", "");
    bind(&tree, DISK, &[]).fine();
}

#[test]
fn a_file_system_that_is_known_by_its_number_only() {
    let tree = lvm_root();
    tree.file(
        "/proc/self/mountinfo",
        "25 1 254:0 / / rw - ext4 /dev/root rw\n",
    );
    bind(&tree, DISK, &[]).refused("the file system / is on dm-0 on nvme0n1p2");
}

#[test]
fn a_file_system_that_is_known_by_its_name_only() {
    let tree = lvm_root();
    // As btrfs shows it: the number is nobody's.
    let mount = "25 1 0:31 /@ /srv rw - btrfs /dev/mapper/vg-root rw\n";
    tree.file("/proc/self/mountinfo", mount);
    bind(&tree, DISK, &[]).refused("the file system /srv is on dm-0");
    let mount = "25 1 0:31 /@ /srv rw - btrfs /dev/nvme0n1p2 rw\n";
    tree.file("/proc/self/mountinfo", mount);
    bind(&tree, DISK, &[]).refused("the file system /srv is on nvme0n1p2");
}

#[test]
fn a_btrfs_of_several_disks() {
    let tree = lvm_root();
    let mount = "25 1 0:31 /@ /srv rw - btrfs /dev/sdx rw\n";
    tree.file("/proc/self/mountinfo", mount);
    bind(&tree, DISK, &[]).fine();
    tree.dir("/sys/fs/btrfs/0e4e/devices/nvme0n1");
    bind(&tree, DISK, &[]).refused("a btrfs is on nvme0n1");
}

#[test]
fn swap() {
    for node in ["/dev/nvme0n1p2", "/dev/dm-0", "/dev/mapper/vg-root"] {
        let tree = lvm_root();
        tree.file("/proc/self/mountinfo", "");
        tree.file(
            "/proc/swaps",
            &format!("Filename Type Size\n{node} partition 8388604 0 -2\n"),
        );
        bind(&tree, DISK, &["--force"]).refused("swap is on");
    }
}

#[test]
fn a_disk_with_several_paths() {
    let tree = lvm_root();
    tree.file(
        "/proc/self/mountinfo",
        "25 1 259:7 / /srv rw - xfs /dev/nvme0n2 rw\n",
    );
    bind(&tree, DISK, &[]).fine();
    // The disk itself is no part of the device, but one path to it is.
    let device = format!("/sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0c0n2");
    tree.link(&format!("{device}/subsystem"), "/sys/class/block")
        .file(
            "/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n2/dev",
            "259:7\n",
        )
        .link(
            "/sys/class/block/nvme0n2",
            "/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n2",
        );
    bind(&tree, DISK, &[]).refused("the file system /srv is on nvme0n2");
}

#[test]
fn an_interface_with_a_link_address_only_is_idle() {
    bind(&server(), NIC[0], &[]).fine();
}

#[test]
fn the_default_route() {
    let tree = server();
    tree.file(
        "/proc/net/route",
        "Iface\tDestination\tGateway\tFlags\neth0\t00000000\t0101A8C0\t0003\n",
    );
    bind(&tree, NIC[0], &[]).refused("the interface eth0 is up and has the default route");
    // The whole group goes, so the other function cannot either, except alone.
    bind(&tree, NIC[1], &[]).refused("0000:01:00.0 is in use");
    bind(&tree, NIC[1], &["--only"]).fine();
    bind(&tree, NIC[0], &["--force"]).fine();
}

#[test]
fn addresses_of_both_kinds() {
    let tree = server();
    tree.file(
        "/proc/net/route",
        "Iface\tDestination\neth1\t0001A8C0\t00000000\t0001\n",
    );
    bind(&tree, NIC[0], &[]).refused("the interface eth1 is up and has an address");
    let tree = server();
    tree.file(
        "/proc/net/if_inet6",
        "20010db8000000000000000000000001 02 40 00 80 eth1\n",
    );
    bind(&tree, NIC[0], &[]).refused("the interface eth1 is up and has an address");
}

#[test]
fn an_interface_that_is_down() {
    let tree = server();
    tree.file(
        "/proc/net/route",
        "Iface\tDestination\neth0\t0001A8C0\t00000000\t0001\n",
    );
    let flags = format!("/sys/devices/pci0000:00/{}/net/eth0/flags", NIC[0]);
    tree.file(&flags, "0x1002\n");
    bind(&tree, NIC[0], &[]).fine();
}

#[test]
fn a_bridge_above_a_bond() {
    let tree = server();
    tree.file(
        "/proc/net/route",
        "Iface\tDestination\nbr0\t00000000\t0101A8C0\t0003\n",
    );
    for (lower, upper) in [("bond0", "br0"), ("br0", "")] {
        let dir = format!("/sys/devices/virtual/net/{lower}");
        tree.dir(&dir)
            .link(&format!("/sys/class/net/{lower}"), &dir);
        if !upper.is_empty() {
            tree.dir(&format!("{dir}/upper_{upper}"));
        }
    }
    bind(&tree, NIC[0], &[]).fine();
    tree.dir(&format!(
        "/sys/devices/pci0000:00/{}/net/eth0/upper_bond0",
        NIC[0]
    ));
    bind(&tree, NIC[0], &[]).refused("eth0 is up and has the default route by br0");
}

#[test]
fn virtual_functions() {
    let tree = server();
    let count = format!("/sys/devices/pci0000:00/{}/sriov_numvfs", NIC[0]);
    tree.file(&count, "0\n");
    bind(&tree, NIC[0], &[]).fine();
    tree.file(&count, "4\n");
    bind(&tree, NIC[0], &[]).refused("it has 4 virtual functions");
}

/// A graphics card with a node, in a group of its own.
fn graphics() -> Tree {
    let tree = Tree::new();
    let device = tree.pci(Pci {
        address: "0000:07:00.0",
        class: DISPLAY,
        driver: "amdgpu",
        group: Some(2),
    });
    let card = tree.part(&device, "drm", "drm", "card0");
    tree.file(
        &format!("{card}/uevent"),
        "MAJOR=226\nMINOR=0\nDEVNAME=dri/card0\n",
    )
    .file(&format!("{device}/boot_vga"), "1\n")
    .file("/sys/class/vtconsole/vtcon0/name", "(S) dummy device\n")
    .file("/sys/class/vtconsole/vtcon0/bind", "1\n")
    .file(
        "/sys/class/vtconsole/vtcon1/name",
        "(M) frame buffer device\n",
    )
    .file("/sys/class/vtconsole/vtcon1/bind", "0\n")
    .dir("/sys/bus/pci/drivers/vfio-pci");
    tree
}

#[test]
fn the_console() {
    let tree = graphics();
    bind(&tree, "07:00.0", &[]).fine();
    tree.file("/sys/class/vtconsole/vtcon1/bind", "1\n");
    bind(&tree, "07:00.0", &[]).refused("it shows the console");
    bind(&tree, "07:00.0", &["--force"]).fine();
    // Another card than that which the firmware used.
    tree.file("/sys/devices/pci0000:00/0000:07:00.0/boot_vga", "0\n");
    bind(&tree, "07:00.0", &[]).fine();
}

#[test]
fn a_node_that_is_open() {
    let tree = graphics();
    tree.process(800, "Xorg")
        .open(800, 12, "/dev/dri/card1", "");
    bind(&tree, "07:00.0", &[]).fine();
    tree.open(800, 13, "/dev/dri/card0", "");
    bind(&tree, "07:00.0", &[]).refused("/dev/dri/card0 is open in 800 (Xorg)");
}

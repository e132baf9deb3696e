// SPDX-License-Identifier: GPL-2.0
//! `why`: each obstacle is named, with what to do.

use crate::{
    samples::{host, laptop, server, HELD, NIC, PORT},
    tree::{Said, Tree},
};

fn why(tree: &Tree, target: &str) -> Said {
    tree.vfioctl(&["why", target])
}

/// It must say both, and that nobody can use the device.
#[track_caller]
fn obstacle(said: &Said, text: &str, todo: &str) {
    assert_eq!(said.status, 1, "{}{}", said.out, said.err);
    let mut lines = said.out.lines();
    let found = lines.any(|line| line.starts_with("! ") && line.contains(text));
    assert!(found, "{text}: {}", said.out);
    assert!(
        lines.next().is_some_and(|line| line.contains(todo)),
        "{todo}: {}",
        said.out
    );
}

/// A device of `vfio-pci` that nobody holds.
fn idle() -> Tree {
    let tree = Tree::new();
    tree.vfio(HELD, 7, 0);
    tree
}

#[test]
fn nothing_is_in_the_way() {
    for target in [HELD, "7", "vfio0"] {
        let text = why(&idle(), target).fine();
        assert!(
            text.starts_with(&format!("{target}: a program can use it now.")),
            "{text}"
        );
        let nodes = "This user may open /dev/vfio/7, /dev/vfio/devices/vfio0.";
        assert!(text.contains(nodes), "{text}");
        assert!(text.contains("may map 8 MiB"), "{text}");
    }
    assert_eq!(idle().json(&["why", "7"])["usable"], true);
}

#[test]
fn the_kernel_does_not_use_its_iommu() {
    let tree = laptop();
    obstacle(
        &why(&tree, "00:02.0"),
        "firmware reports (DMAR)",
        "Add intel_iommu=on",
    );
    tree.file("/proc/cmdline", "quiet intel_iommu=off\n");
    obstacle(
        &why(&tree, "00:02.0"),
        "started with intel_iommu=off",
        "Remove intel_iommu=off",
    );
    assert_eq!(tree.json(&["why", "00:02.0"])["usable"], false);
}

#[test]
fn the_firmware_has_no_iommu() {
    let tree = Tree::new();
    tree.pci(crate::tree::Pci {
        address: "0000:00:02.0",
        class: crate::tree::DISPLAY,
        driver: "i915",
        group: None,
    });
    obstacle(
        &why(&tree, "00:02.0"),
        "the firmware reports no IOMMU",
        "Switch on VT-d",
    );
}

#[test]
fn only_this_device_has_no_iommu() {
    let tree = server();
    tree.pci(crate::tree::Pci {
        address: "0000:00:1f.0",
        class: crate::tree::NETWORK,
        driver: "",
        group: None,
    });
    obstacle(
        &why(&tree, "00:1f.0"),
        "no IOMMU is in front of it",
        "another slot",
    );
}

#[test]
fn a_driver_of_the_kernel_has_it() {
    let said = why(&server(), NIC[0]);
    obstacle(
        &said,
        "igb has 0000:01:00.0, and is no driver for VFIO",
        "vfioctl bind 0000:01:00.0",
    );
    obstacle(
        &said,
        "0000:01:00.1 of the same group",
        "vfioctl bind 0000:01:00.1",
    );
    // The port is no obstacle, and the device itself is named once.
    assert!(!said.out.contains("pcieport"), "{}", said.out);
    assert_eq!(said.out.matches("igb has it").count(), 1, "{}", said.out);
}

#[test]
fn a_device_in_use_is_no_candidate() {
    let tree = server();
    tree.file(
        "/proc/net/route",
        "Iface\tDestination\neth0\t00000000\t0101A8C0\t0003\n",
    );
    obstacle(
        &why(&tree, NIC[0]),
        "eth0 is up and has the default route",
        "End that first",
    );
}

#[test]
fn bridges_are_for_nobody() {
    obstacle(&why(&server(), PORT), "is a bridge", "vfioctl list");
}

#[test]
fn somebody_holds_it() {
    for target in [HELD, "7"] {
        let said = why(&host(), target);
        obstacle(
            &said,
            "Process 4242 (qemu-system-x86) holds it",
            "kill 4242",
        );
    }
}

#[test]
fn the_firmware_wants_memory_mapped() {
    let tree = idle();
    let file = "/sys/kernel/iommu_groups/7/reserved_regions";
    let msi = "0x00000000fee00000 0x00000000feefffff msi\n";
    let usb = "0x00000000000e0000 0x00000000000fffff direct-relaxable\n";
    tree.file(file, &format!("{usb}{msi}"));
    why(&tree, HELD).fine();
    tree.file(
        file,
        &format!("0x00000000000e0000 0x00000000000fffff direct\n{msi}"),
    );
    obstacle(
        &why(&tree, HELD),
        "at 0x00000000000e0000 to 0x00000000000fffff",
        "firmware",
    );
}

#[test]
fn the_node_is_missing() {
    let tree = Tree::new();
    tree.vfio(HELD, 7, 0);
    std::fs::remove_file(tree.host_path("/dev/vfio/7")).expect("a node");
    obstacle(&why(&tree, HELD), "/dev/vfio/7 is not there", "udevadm");
}

#[test]
fn who_may_lock_all_is_told_so() {
    let tree = idle();
    tree.file("/proc/self/status", "CapEff:\t0000000000004000\n");
    assert!(why(&tree, HELD).fine().contains("any amount of memory"));
}

#[test]
fn unprotected_devices_are_named_as_such() {
    let tree = Tree::new();
    let dir = tree.vfio(HELD, 7, 0);
    tree.file("/sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
    assert!(why(&tree, HELD).fine().contains("are emulated"));
    std::fs::remove_dir(tree.host_path("/sys/class/vfio/7")).expect("a node");
    tree.dir("/sys/class/vfio/noiommu-7")
        .file("/dev/vfio/noiommu-7", "");
    assert!(
        why(&tree, HELD)
            .fine()
            .contains("can read and write all memory"),
        "{dir}"
    );
}

// SPDX-License-Identifier: GPL-2.0
//! `list`: what is there, who has it, and whether VFIO can have it.

use serde_json::{json, Value};

use crate::{
    samples::{host, laptop, server, HELD, NIC, PORT},
    tree::{Pci, Tree, NETWORK},
};

fn device(tree: &Tree, name: &str) -> Value {
    tree.json(&["list", name])["devices"][0].clone()
}

#[test]
fn a_device_has_all_that_sysfs_tells() {
    let found = device(&server(), NIC[0]);
    assert_eq!(found["bus"], "pci");
    assert_eq!(found["id"], "8086:1521");
    assert_eq!(found["driver"], "igb");
    assert_eq!(found["driver_override"], Value::Null);
    assert_eq!(found["group"], 12);
    assert_eq!(found["iommu"], "dmar0");
    assert_eq!(found["vfio"], Value::Null);
    assert_eq!(found["holders"], json!([]));
}

#[test]
fn a_device_of_vfio_has_nodes() {
    let found = device(&host(), HELD);
    assert_eq!(found["vfio"], "vfio0");
    assert_eq!(found["node"], "/dev/vfio/devices/vfio0");
    assert_eq!(found["group_node"], "/dev/vfio/7");
    assert_eq!(found["driver_override"], "vfio-pci");
}

#[test]
fn devices_can_be_named_in_three_ways() {
    let tree = host();
    for name in [HELD, "03:00.0", "vfio0"] {
        assert_eq!(device(&tree, name)["name"], HELD, "{name}");
    }
    let members = server().json(&["list", "12"]);
    let names: Vec<_> = members["devices"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|device| device["name"].clone())
        .collect();
    assert_eq!(names, [PORT, NIC[0], NIC[1]]);
    tree.vfioctl(&["list", "00:1f.7"])
        .refused("there is no device 0000:00:1f.7");
    tree.vfioctl(&["list", "8"])
        .refused("there is no IOMMU group 8");
}

#[test]
fn a_driver_of_the_kernel_blocks_the_group() {
    let found = device(&server(), NIC[1]);
    assert_eq!(found["viable"], false);
    let blocker = |address| json!({ "device": address, "driver": "igb" });
    // The port is no obstacle: its driver does no DMA.
    assert_eq!(found["blockers"], json!([blocker(NIC[0]), blocker(NIC[1])]));
}

#[test]
fn no_driver_or_one_without_dma_or_one_for_vfio_does_not_block() {
    let tree = Tree::new();
    tree.vfio("0000:05:00.0", 3, 0);
    for (address, driver) in [
        ("0000:05:00.1", ""),
        ("0000:05:00.2", "pci-stub"),
        ("0000:05:00.3", "pcieport"),
    ] {
        tree.pci(Pci {
            address,
            class: NETWORK,
            driver,
            group: Some(3),
        });
    }
    assert_eq!(device(&tree, "05:00.0")["viable"], true);
    tree.pci(Pci {
        address: "0000:05:00.4",
        class: NETWORK,
        driver: "e1000e",
        group: Some(3),
    });
    assert_eq!(device(&tree, "05:00.0")["viable"], false);
}

#[test]
fn a_variant_driver_is_recognized_by_what_vfio_made() {
    let tree = Tree::new();
    let dir = tree.pci(Pci {
        address: "0000:06:00.1",
        class: NETWORK,
        driver: "mlx5_vfio_pci",
        group: Some(4),
    });
    assert_eq!(device(&tree, "06:00.1")["viable"], false);
    tree.dir(&format!("{dir}/vfio-dev/vfio3"));
    assert_eq!(device(&tree, "06:00.1")["viable"], true);
}

#[test]
fn emulated_devices_are_listed_and_always_viable() {
    const UUID: &str = "f00d0000-0000-4000-8000-000000000001";
    let tree = Tree::new();
    let dir = format!("/sys/devices/virtual/mtty/mtty/{UUID}");
    let group = "/sys/kernel/iommu_groups/20";
    tree.dir("/sys/bus/mdev/drivers/vfio_mdev")
        .link(&format!("{dir}/subsystem"), "/sys/bus/mdev")
        .link(&format!("{dir}/driver"), "/sys/bus/mdev/drivers/vfio_mdev")
        .file(&format!("{group}/name"), "vfio-noiommu\n")
        .link(&format!("{group}/devices/{UUID}"), &dir)
        .link(&format!("{dir}/iommu_group"), group)
        .dir("/sys/class/vfio/20");
    let found = device(&tree, UUID);
    assert_eq!(
        (&found["bus"], &found["group"]),
        (&json!("mdev"), &json!(20))
    );
    assert_eq!(found["viable"], true);
    assert_eq!(found["group_node"], "/dev/vfio/20");
}

#[test]
fn each_way_to_hold_a_device_is_seen() {
    let qemu = json!([{ "pid": 4242, "comm": "qemu-system-x86" }]);
    assert_eq!(device(&host(), HELD)["holders"], qemu);
    let path = format!("vfio-device-syspath: /sys/devices/pci0000:00/{HELD}\n");
    for (target, info) in [
        ("/dev/vfio/7", ""),
        ("/dev/vfio/devices/vfio0", ""),
        ("anon_inode:[vfio-device]", path.as_str()),
    ] {
        let tree = Tree::new();
        tree.vfio(HELD, 7, 0);
        tree.process(1, "init")
            .process(99, "dpdk")
            .open(99, 3, target, info);
        let dpdk = json!([{ "pid": 99, "comm": "dpdk" }]);
        assert_eq!(device(&tree, HELD)["holders"], dpdk, "{target}");
    }
}

#[test]
fn other_files_of_vfio_hold_no_device() {
    let tree = Tree::new();
    tree.vfio(HELD, 7, 0);
    tree.process(99, "dpdk");
    let other = "vfio-device-syspath: /sys/devices/pci0000:00/0000:03:00.1\n";
    for (fd, target) in [
        "/dev/vfio/vfio",
        "/dev/vfio/8",
        "/dev/vfio/devices/vfio1",
        "/dev/iommu",
    ]
    .into_iter()
    .enumerate()
    {
        tree.open(99, fd as u32, target, "");
    }
    tree.open(99, 30, "anon_inode:[vfio-device]", other);
    // Older kernels do not tell which device it is.
    tree.open(99, 31, "anon_inode:[vfio-device]", "");
    assert_eq!(device(&tree, HELD)["holders"], json!([]));
}

#[test]
fn processes_that_cannot_be_seen_are_counted() {
    let tree = host();
    assert_eq!(tree.json(&["list"])["hidden_processes"], 0);
    assert!(!tree.vfioctl(&["list"]).fine().contains("only root"));
    // A file where the directory should be: it cannot be listed, whoever asks.
    tree.file("/proc/5/fd", "");
    assert_eq!(tree.json(&["list"])["hidden_processes"], 1);
    assert!(tree
        .vfioctl(&["list"])
        .fine()
        .contains("1 processes did not show"));
    // That one has ended.
    tree.dir("/proc/6");
    assert_eq!(tree.json(&["list"])["hidden_processes"], 1);
}

#[test]
fn the_table_says_why_not() {
    let text = laptop().vfioctl(&["list"]).fine();
    assert!(text.contains("no: no IOMMU group"), "{text}");
    let text = server().vfioctl(&["list", NIC[0]]).fine();
    assert!(
        text.contains("no: igb has 0000:01:00.0, igb has 0000:01:00.1"),
        "{text}"
    );
    let text = host().vfioctl(&["list"]).fine();
    let line = text
        .lines()
        .find(|line| line.starts_with(HELD))
        .expect("a line");
    for word in [
        "8086:1521",
        "network",
        "vfio-pci",
        "7, devices/vfio0",
        "4242 (qemu-system-x86)",
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }
}

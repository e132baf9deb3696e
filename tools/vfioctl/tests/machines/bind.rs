// SPDX-License-Identifier: GPL-2.0
//! `bind` and `unbind`: which devices they choose, what they would write, and what they
//! refuse. That the kernel then does it is for the tests in the VM.

use serde_json::json;

use crate::{
    samples::{host, laptop, server, HELD, NIC, PORT},
    tree::{Pci, Tree, NETWORK},
};

fn dry(tree: &Tree, args: &[&str]) -> String {
    let before = tree.all();
    let said = tree.vfioctl(&[args, &["--dry-run"]].concat()).fine();
    assert!(tree.all() == before, "a file was changed");
    said
}

#[test]
fn the_whole_group_goes_without_its_bridges() {
    let tree = server();
    let steps = "echo vfio-pci >/sys/bus/pci/devices/0000:01:00.0/driver_override\n\
                 echo 0000:01:00.0 >/sys/bus/pci/devices/0000:01:00.0/driver/unbind\n\
                 echo 0000:01:00.0 >/sys/bus/pci/drivers_probe\n";
    let both = format!("{steps}{}", steps.replace("01:00.0", "01:00.1"));
    for target in ["12", NIC[0], NIC[1]] {
        assert_eq!(dry(&tree, &["bind", target]), both, "{target}");
    }
    // Each once.
    assert_eq!(dry(&tree, &["bind", NIC[0], NIC[1], "12"]), both);
    assert_eq!(dry(&tree, &["bind", "--only", NIC[0]]), steps);
}

#[test]
fn json_has_the_same_steps() {
    let plan = server().json(&["bind", "--only", NIC[0], "--dry-run"]);
    assert_eq!(plan["dry_run"], true);
    assert_eq!(
        plan["changes"],
        json!([{ "device": NIC[0], "from": "igb", "to": "vfio-pci" }])
    );
    assert_eq!(
        plan["steps"][2],
        json!({ "do": "write", "path": "/sys/bus/pci/drivers_probe", "text": NIC[0] })
    );
}

#[test]
fn a_driver_that_is_not_there_is_loaded_once() {
    let tree = server();
    let text = dry(&tree, &["bind", NIC[0], "--driver", "mlx5_vfio_pci"]);
    assert_eq!(
        text.matches("modprobe mlx5_vfio_pci\n").count(),
        1,
        "{text}"
    );
    assert!(text.starts_with("modprobe"), "{text}");
    assert!(!dry(&tree, &["bind", NIC[0]]).contains("modprobe"));
}

#[test]
fn a_device_without_driver_is_taken_from_nobody() {
    let tree = server();
    tree.pci(Pci {
        address: "0000:08:00.0",
        class: NETWORK,
        driver: "",
        group: Some(13),
    });
    let text = dry(&tree, &["bind", "08:00.0"]);
    assert!(
        !text.contains("unbind") && text.contains("drivers_probe"),
        "{text}"
    );
}

#[test]
fn what_is_bound_stays_as_it_is() {
    assert_eq!(
        host().vfioctl(&["bind", HELD]).fine(),
        "nothing to do\ngroup 7: /dev/vfio/7\n"
    );
}

#[test]
fn no_group_no_vfio() {
    let tree = laptop();
    tree.vfioctl(&["bind", "00:02.0", "-n"])
        .refused("has no IOMMU group");
    // Unless the administrator wants it without.
    tree.file(
        "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
        "N\n",
    );
    tree.vfioctl(&["bind", "00:02.0", "-n"])
        .refused("has no IOMMU group");
    tree.file(
        "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
        "Y\n",
    );
    tree.vfioctl(&["bind", "00:02.0", "-n"]).fine();
}

#[test]
fn bridges_are_for_nobody() {
    server()
        .vfioctl(&["bind", PORT, "-n"])
        .refused("is a bridge");
}

#[test]
fn what_a_program_holds_is_left_to_it() {
    let tree = host();
    tree.vfioctl(&["unbind", HELD, "-n"])
        .refused("is held by 4242 (qemu-system-x86)");
    tree.vfioctl(&["bind", HELD, "--driver", "pci-stub", "-n"])
        .refused("is held by 4242");
}

#[test]
fn a_program_with_the_group_can_get_another_device_of_it() {
    let tree = host();
    tree.dir("/sys/bus/pci/drivers/vfio-pci");
    tree.pci(Pci {
        address: "0000:03:00.1",
        class: NETWORK,
        driver: "",
        group: Some(7),
    });
    assert!(dry(&tree, &["bind", "03:00.1"]).contains("echo vfio-pci >"));
}

/// A device of `vfio-pci` that nobody holds.
fn idle() -> Tree {
    let tree = Tree::new();
    tree.vfio(HELD, 7, 0);
    tree
}

#[test]
fn unbinding_forgets_the_driver_and_asks_for_another() {
    let steps = "echo >/sys/bus/pci/devices/0000:03:00.0/driver_override\n\
                 echo 0000:03:00.0 >/sys/bus/pci/devices/0000:03:00.0/driver/unbind\n\
                 echo 0000:03:00.0 >/sys/bus/pci/drivers_probe\n";
    assert_eq!(dry(&idle(), &["unbind", "7"]), steps);
}

#[test]
fn unbinding_leaves_drivers_of_the_kernel_alone() {
    let tree = server();
    assert_eq!(dry(&tree, &["unbind", "12"]), "nothing to do\n");
    // Even if somebody has fixed it to its own driver.
    let only = format!("/sys/devices/pci0000:00/{}/driver_override", NIC[0]);
    tree.file(&only, "igb\n");
    assert_eq!(dry(&tree, &["unbind", "12"]), "nothing to do\n");
}

#[test]
fn unbinding_frees_a_device_that_waits_for_vfio() {
    let tree = server();
    let dir = tree.pci(Pci {
        address: "0000:08:00.0",
        class: NETWORK,
        driver: "",
        group: Some(13),
    });
    assert_eq!(dry(&tree, &["unbind", "08:00.0"]), "nothing to do\n");
    tree.file(&format!("{dir}/driver_override"), "vfio-pci\n");
    let text = dry(&tree, &["unbind", "08:00.0"]);
    assert!(text.starts_with("echo >/sys/bus/pci/devices/0000:08:00.0/driver_override\n"));
    assert!(!text.contains("unbind"), "{text}");
}

/// The files of this tree do not act, so the device never gets its driver.
#[test]
fn a_bind_that_fails_is_undone() {
    let tree = server();
    let dir = tree.pci(Pci {
        address: "0000:08:00.0",
        class: NETWORK,
        driver: "",
        group: Some(13),
    });
    tree.file(&format!("{dir}/driver_override"), "pci-stub\n");
    tree.vfioctl(&["bind", "08:00.0"])
        .refused("vfio-pci did not take 0000:08:00.0");
    assert_eq!(tree.read("/sys/bus/pci/drivers_probe"), "0000:08:00.0\n");
    assert!(tree
        .read(&format!("{dir}/driver_override"))
        .starts_with("pci-stub\n"));
}

// SPDX-License-Identifier: GPL-2.0
//! What is remembered for the next boot, and restored then.

use crate::{
    samples::{host, lvm_root, server, DISK, HELD, NIC},
    tree::{Said, Tree},
};

const STORED: &str = "/etc/driverctl.d/pci-0000:03:00.0";
const NOTE: &str = "nothing here reads that at boot";

/// A device of `vfio-pci` that nobody holds.
fn idle() -> Tree {
    let tree = Tree::new();
    tree.vfio(HELD, 7, 0);
    tree
}

#[test]
fn the_file_is_as_driverctl_has_it() {
    let tree = idle();
    let text = tree.vfioctl(&["bind", "--save", HELD]).fine();
    assert!(text.contains(&format!("{STORED}: written\n")), "{text}");
    assert_eq!(tree.read(STORED), "vfio-pci\n");
}

#[test]
fn somebody_must_read_it_at_boot() {
    assert!(idle()
        .vfioctl(&["bind", "--save", HELD])
        .fine()
        .contains(NOTE));
    assert!(!idle().vfioctl(&["bind", HELD]).fine().contains(NOTE));
    for dir in ["/usr/lib", "/lib", "/etc"] {
        for reader in [
            "udev/rules.d/05-driverctl.rules",
            "systemd/system/vfioctl-restore.service",
        ] {
            let tree = idle();
            tree.file(&format!("{dir}/{reader}"), "");
            let text = tree.vfioctl(&["bind", "--save", HELD]).fine();
            assert!(tree.has(STORED) && !text.contains(NOTE), "{dir}/{reader}");
        }
    }
}

#[test]
fn nothing_is_remembered_unless_asked_for() {
    let tree = idle();
    tree.vfioctl(&["bind", HELD]).fine();
    assert!(!tree.has(STORED));
}

#[test]
fn it_is_stored_once() {
    let tree = idle();
    let dry = ["bind", "--save", "--dry-run", HELD];
    assert_eq!(
        tree.vfioctl(&dry).fine(),
        format!("cat >{STORED} <<'END'\nvfio-pci\nEND\n")
    );
    tree.vfioctl(&["bind", "--save", HELD]).fine();
    assert_eq!(tree.vfioctl(&dry).fine(), "nothing to do\n");
}

#[test]
fn a_dry_run_stores_nothing() {
    let tree = server();
    let text = tree.vfioctl(&["bind", "--save", "--dry-run", "12"]).fine();
    for address in NIC {
        let stored = format!("/etc/driverctl.d/pci-{address}");
        assert!(text.contains(&stored) && !tree.has(&stored), "{text}");
    }
}

#[test]
fn only_what_is_unbound_is_forgotten() {
    let tree = idle();
    tree.vfio("0000:03:00.1", 8, 1);
    tree.vfioctl(&["bind", "--save", "7", "8"]).fine();
    let text = tree.vfioctl(&["unbind", "--save", "-n", "7"]).fine();
    assert!(text.ends_with(&format!("rm {STORED}\n")), "{text}");
    assert!(!text.contains("03:00.1"), "{text}");
    // Without asking for it, all is kept.
    assert!(!tree
        .vfioctl(&["unbind", "-n", "7", "8"])
        .fine()
        .contains("rm "));
}

#[test]
fn devices_that_are_not_there_yet_are_passed_over() {
    let tree = idle();
    tree.file(STORED, "vfio-pci\n")
        .file("/etc/driverctl.d/pci-0000:09:00.1", "vfio-pci\n")
        .file("/etc/driverctl.d/vmbus-1234", "uio_hv_generic\n");
    assert_eq!(tree.vfioctl(&["restore"]).fine(), "nothing to do\n");
    // Unless it is asked for.
    tree.vfioctl(&["restore", "pci-0000:09:00.1"])
        .refused("there is no device");
}

#[test]
fn a_stored_driver_that_the_device_has_is_fine() {
    let tree = host();
    tree.file(STORED, "vfio-pci\n");
    assert_eq!(tree.vfioctl(&["restore"]).fine(), "nothing to do\n");
}

fn restore(tree: &Tree, names: &[&str]) -> Said {
    tree.vfioctl(&[&["restore", "--dry-run"], names].concat())
}

#[test]
fn restoring_gives_one_device_its_driver() {
    let tree = server();
    tree.file("/etc/driverctl.d/pci-0000:01:00.1", "vfio-pci\n");
    let text = restore(&tree, &["pci-0000:01:00.1"]).fine();
    assert!(text.starts_with("echo vfio-pci >/sys/bus/pci/devices/0000:01:00.1/driver_override"));
    assert!(!text.contains("01:00.0"), "{text}");
    assert_eq!(restore(&tree, &[]).fine(), text);
    restore(&tree, &["pci-0000:01:00.0"]).refused("nothing is stored");
    restore(&tree, &["../passwd"]).refused("nothing is stored");
}

#[test]
fn no_driver_at_all_can_be_stored() {
    let tree = server();
    tree.file("/etc/driverctl.d/pci-0000:01:00.1", "none\n");
    let text = restore(&tree, &[]).fine();
    assert!(
        text.contains("echo none >") && text.contains("driver/unbind"),
        "{text}"
    );
    assert!(
        !text.contains("drivers_probe") && !text.contains("modprobe"),
        "{text}"
    );
}

#[test]
fn restoring_spares_what_is_in_use_and_does_the_rest() {
    let tree = lvm_root();
    tree.vfio("0000:05:00.0", 3, 0);
    tree.file(&format!("/etc/driverctl.d/pci-{DISK}"), "vfio-pci\n")
        .file("/etc/driverctl.d/pci-0000:05:00.0", "vfio-pci\n");
    let said = restore(&tree, &[]);
    assert_eq!(said.out, "nothing to do\n");
    said.refused("0000:04:00.0 is in use");
}

// SPDX-License-Identifier: GPL-2.0
//! What is remembered for the next boot, and restored then.

use crate::{
    samples::{host, lvm_root, server, DISK, HELD, NIC},
    tree::{Said, Tree},
};

const STORED: &str = "/etc/driverctl.d/pci-0000:03:00.0";
const RULE: &str = "/etc/udev/rules.d/05-vfioctl.rules";

/// A device of `vfio-pci` that nobody holds.
fn idle() -> Tree {
    let tree = Tree::new();
    tree.vfio(HELD, 7, 0);
    tree
}

#[test]
fn the_file_is_as_driverctl_has_it() {
    let tree = idle();
    tree.vfioctl(&["bind", "--save", HELD]).fine();
    assert_eq!(tree.read(STORED), "vfio-pci\n");
}

#[test]
fn without_driverctl_a_rule_calls_this_program() {
    let tree = idle();
    tree.vfioctl(&["bind", "--save", HELD]).fine();
    let rule = tree.read(RULE);
    assert!(
        rule.contains("RUN+=\"/") && rule.contains("vfioctl restore pci-$kernel\""),
        "{rule}"
    );
    assert!(
        rule.contains("TEST==\"/etc/driverctl.d/pci-$kernel\""),
        "{rule}"
    );
    // Once is enough.
    assert!(tree
        .vfioctl(&["bind", "--save", HELD])
        .fine()
        .starts_with("nothing to do\n"));
}

#[test]
fn driverctl_does_it_where_it_is_installed() {
    for dir in ["/usr/lib", "/lib", "/etc"] {
        let tree = idle();
        tree.file(&format!("{dir}/udev/rules.d/05-driverctl.rules"), "");
        tree.vfioctl(&["bind", "--save", HELD]).fine();
        assert!(tree.has(STORED) && !tree.has(RULE), "{dir}");
    }
}

#[test]
fn nothing_is_remembered_unless_asked_for() {
    let tree = idle();
    tree.vfioctl(&["bind", HELD]).fine();
    assert!(!tree.has(STORED) && !tree.has(RULE));
}

#[test]
fn a_dry_run_shows_what_would_be_stored() {
    let tree = server();
    let text = tree.vfioctl(&["bind", "--save", "--dry-run", "12"]).fine();
    for address in NIC {
        let stored = format!("cat >/etc/driverctl.d/pci-{address} <<'END'\nvfio-pci\nEND\n");
        assert!(text.contains(&stored), "{text}");
    }
    assert!(!tree.has(RULE));
}

#[test]
fn the_last_one_takes_the_rule_with_it() {
    let tree = idle();
    tree.vfio("0000:03:00.1", 8, 1);
    tree.vfioctl(&["bind", "--save", "7", "8"]).fine();
    // Bound to nothing and fixed to nothing, so that only the files are left.
    let text = tree.vfioctl(&["unbind", "--save", "-n", "7"]).fine();
    assert!(text.contains(&format!("rm {STORED}\n")), "{text}");
    assert!(!text.contains(RULE), "{text}");
    let text = tree.vfioctl(&["unbind", "--save", "-n", "7", "8"]).fine();
    assert!(text.ends_with(&format!("rm {RULE}\n")), "{text}");
    // Without asking for it, all is kept.
    assert!(!tree
        .vfioctl(&["unbind", "-n", "7", "8"])
        .fine()
        .contains("rm "));
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

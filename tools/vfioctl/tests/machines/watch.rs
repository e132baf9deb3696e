// SPDX-License-Identifier: GPL-2.0
//! `watch`: what the files of VFIO tell, with modules that tell much or little.

use crate::{
    samples::{host, HELD},
    tree::Tree,
};

/// The words of the line that has these words.
fn cells(text: &str, words: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.contains(words));
    let line = line.unwrap_or_else(|| panic!("{words}: {text}"));
    line.split("  ")
        .map(str::trim)
        .filter(|cell| !cell.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn rust_modules_tell_much() {
    let text = host().vfioctl(&["watch", "--once"]).fine();
    assert_eq!(
        cells(&text, "container "),
        [
            "4242",
            "qemu-system-x86",
            "container",
            "vfio-iommu-type1",
            "12",
            "4.0 GiB",
            "4 GiB",
            "65523",
            "off",
            "4 GiB",
            "0 B",
            "unlimited"
        ]
    );
    assert_eq!(cells(&text, "group 7")[3..5], ["container", "-"]);
    assert_eq!(
        cells(&text, "device ")[2..4],
        [format!("device {HELD}"), "RUNNING".to_owned()]
    );
}

#[test]
fn c_modules_tell_little() {
    let tree = Tree::new();
    let device = tree.vfio(HELD, 7, 0);
    tree.process(99, "dpdk")
        .limit("99", "67108864")
        .file(
            "/proc/99/status",
            "VmLck:\t    2052 kB\nCapEff:\t0000000000000000\n",
        )
        .open(99, 4, "/dev/vfio/vfio", "")
        .open(
            99,
            5,
            "anon_inode:[vfio-device]",
            &format!("vfio-device-syspath: {device}\n"),
        )
        .open(99, 6, "/dev/null", "")
        .file(
            &format!("/sys/kernel/debug/vfio/{HELD}/migration/state"),
            "STOP\n",
        );
    let text = tree.vfioctl(&["watch", "--once"]).fine();
    assert_eq!(
        cells(&text, "container "),
        [
            "99",
            "dpdk",
            "container",
            "-",
            "-",
            "-",
            "-",
            "-",
            "-",
            "2.0 MiB",
            "-",
            "64 MiB"
        ]
    );
    assert_eq!(cells(&text, "device ")[3], "STOP");
    assert!(!text.contains("null"), "{text}");
}

#[test]
fn json_has_the_numbers() {
    let found = host().json(&["watch", "--once"]);
    let file = &found["files"][0];
    assert_eq!(file["kind"], "container");
    assert_eq!(file["pid"], 4242);
    assert_eq!(file["info"]["pinned_bytes"], 4_294_967_296_u64);
    assert_eq!(file["memory"]["limit"], "unlimited");
}

#[test]
fn who_may_lock_all_has_no_limit() {
    let tree = host();
    tree.limit("4242", "8388608");
    let limit = |tree: &Tree| {
        let text = tree.vfioctl(&["watch", "--once"]).fine();
        cells(&text, "group 7").last().cloned()
    };
    assert_eq!(limit(&tree).as_deref(), Some("8 MiB"));
    tree.file("/proc/4242/status", "CapEff:\t0000000000004000\n");
    assert_eq!(limit(&tree).as_deref(), Some("unlimited"));
}

#[test]
fn nobody() {
    let text = Tree::new().vfioctl(&["watch", "--once"]).fine();
    assert_eq!(text, "Nobody has a file of VFIO open.\n");
}

// SPDX-License-Identifier: GPL-2.0
//! `doctor`: each check, on a machine where it is fine and on one where it is not.

use serde_json::Value;

use crate::{
    samples::{laptop, server},
    tree::Tree,
};

/// The results about a topic, as "level: text".
fn checks(tree: &Tree, topic: &str) -> Vec<String> {
    let report = tree.json(&["doctor"]);
    let all = report["checks"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    all.iter()
        .filter(|check| check["topic"] == topic)
        .map(|check| format!("{}: {}", text(&check["level"]), text(&check["text"])))
        .collect()
}

/// One of the results must begin with this.
#[track_caller]
fn says(tree: &Tree, topic: &str, words: &str) {
    let all = checks(tree, topic);
    assert!(
        all.iter().any(|check| check.starts_with(words)),
        "{words}: {all:#?}"
    );
}

/// A server on which all is well.
fn healthy() -> Tree {
    let tree = server();
    tree.file(
        "/proc/interrupts",
        " 16:  0  0  IR-IO-APIC  16-fasteoi  i801\n",
    )
    .file(
        "/dev/kmsg",
        "6,1,2,-;DMAR-IR: Enabled IRQ remapping in x2apic mode\n",
    )
    .limit("self", "unlimited");
    tree
}

#[test]
fn the_status_says_whether_there_is_a_problem() {
    let said = healthy().vfioctl(&["doctor"]);
    assert_eq!(said.status, 0, "{}", said.out);
    assert_eq!(laptop().vfioctl(&["doctor"]).status, 1);
    // Warnings are none.
    let tree = healthy();
    tree.limit("self", "65536");
    assert_eq!(tree.vfioctl(&["doctor"]).status, 0);
}

#[test]
fn iommu() {
    says(&healthy(), "IOMMU", "ok: dmar0 is in use, with 1 groups.");
    says(
        &healthy(),
        "IOMMU",
        "ok: The kernel command line says intel_iommu=on.",
    );
    let tree = laptop();
    says(
        &tree,
        "IOMMU",
        "problem: There is none: the kernel does not use",
    );
    says(&tree, "IOMMU", "ok: The kernel command line says nothing");
    // Without one there is nothing to say of interrupts.
    assert!(checks(&tree, "interrupts").is_empty());
}

#[test]
fn interrupts_by_their_names() {
    let tree = server();
    says(&tree, "interrupts", "ok: Nothing tells");
    tree.file(
        "/proc/interrupts",
        " 16:  0  0  IO-APIC  16-fasteoi  i801\n",
    );
    says(
        &tree,
        "interrupts",
        "problem: The IOMMU does not translate them",
    );
    tree.file(
        "/proc/interrupts",
        " 16:  0  0  IR-PCI-MSI-0000:00:1f.2  eth0\n",
    );
    says(
        &tree,
        "interrupts",
        "ok: The IOMMU translates them: /proc/interrupts",
    );
}

#[test]
fn interrupts_by_other_signs() {
    let tree = server();
    let table = "/sys/kernel/debug/iommu/intel/ir_translation_struct";
    tree.file(
        table,
        "Remapped Interrupt supported on IOMMU: dmar0\n IR table address:10080\n",
    );
    says(
        &tree,
        "interrupts",
        "ok: The IOMMU translates them: debugfs",
    );
    tree.file(table, "Interrupt Remapping is not enabled\n");
    tree.file("/dev/kmsg", "6,1,2,-;AMD-Vi: Interrupt remapping enabled\n");
    says(
        &tree,
        "interrupts",
        "ok: The IOMMU translates them: the kernel log",
    );
    tree.file(
        "/dev/kmsg",
        "4,1,2,-;DMAR-IR: Failed to enable irq remapping. You are\n",
    );
    says(&tree, "interrupts", "problem: ");
}

#[test]
fn interrupts_that_nobody_minds() {
    let tree = server();
    tree.file(
        "/proc/interrupts",
        " 16:  0  0  IO-APIC  16-fasteoi  i801\n",
    );
    for module in ["vfio_iommu_type1", "iommufd"] {
        let file = format!("/sys/module/{module}/parameters/allow_unsafe_interrupts");
        tree.file(&file, "N\n");
        says(&tree, "interrupts", "problem: ");
        tree.file(&file, "Y\n");
        says(&tree, "interrupts", "ok: The IOMMU does not");
        says(
            &tree,
            "interrupts",
            &format!("warning: allow_unsafe_interrupts is set for {module}"),
        );
        tree.file(&file, "N\n");
    }
}

#[test]
fn modules_are_ours_or_not() {
    let tree = healthy();
    says(&tree, "modules", "ok: VFIO is not loaded");
    tree.file("/sys/module/vfio/initstate", "live\n")
        .file("/sys/module/vfio/version", "0.3\n")
        .file("/sys/module/vfio/srcversion", "ABCDEF\n");
    says(&tree, "modules", "ok: vfio is in C or in Rust");
    says(&tree, "modules", "warning: vfio_iommu_type1 is not loaded");
    tree.file(
        "/proc/kallsyms",
        "0 t vfio_open\t[vfio]\n0 t _RNvC1a\t[vfio_pci]\n",
    );
    says(
        &tree,
        "modules",
        "ok: vfio is the kernel's own, in C, version 0.3, source ABCDEF.",
    );
    tree.file(
        "/proc/kallsyms",
        "0 t vfio_open\t[vfio]\n0 t _RNvC1a\t[vfio]\n",
    );
    says(&tree, "modules", "ok: vfio is in Rust");
    tree.file("/sys/module/vfio_iommu_type1/version", "0.2\n");
    says(
        &tree,
        "modules",
        "ok: vfio_iommu_type1 is built into the kernel",
    );
}

#[test]
fn this_user_may_lock_little() {
    let tree = server();
    says(
        &tree,
        "memlock",
        "warning: Programs of this user may lock 8 MiB",
    );
    tree.limit("self", "unlimited");
    says(
        &tree,
        "memlock",
        "ok: Programs of this user may lock unlimited",
    );
    tree.limit("self", "65536");
    tree.file("/proc/self/status", "CapEff:\t000001ffffffffff\n");
    says(&tree, "memlock", "ok: This user may lock any amount");
}

#[test]
fn systemd_has_a_default() {
    let tree = healthy();
    says(&tree, "memlock", "ok: systemd lets a service lock 8 MiB");
    tree.file(
        "/etc/systemd/system.conf",
        "[Manager]\n#DefaultLimitMEMLOCK=1G\n",
    );
    says(&tree, "memlock", "ok: systemd lets a service lock 8 MiB");
    tree.file(
        "/etc/systemd/system.conf.d/vfio.conf",
        "[Manager]\nDefaultLimitMEMLOCK=16G\n",
    );
    says(&tree, "memlock", "ok: systemd lets a service lock 16 GiB");
}

#[test]
fn services_have_limits() {
    let tree = healthy();
    assert!(!checks(&tree, "memlock")
        .iter()
        .any(|check| check.contains("docker")));
    tree.file(
        "/usr/lib/systemd/system/docker.service",
        "[Service]\nLimitNOFILE=infinity\n",
    );
    says(
        &tree,
        "memlock",
        "warning: The service docker may lock 8 MiB",
    );
    // What the administrator adds comes last, wherever the unit is.
    tree.file(
        "/etc/systemd/system/docker.service.d/override.conf",
        "[Service]\nLimitMEMLOCK=infinity\n",
    );
    says(
        &tree,
        "memlock",
        "ok: The service docker may lock unlimited",
    );
    // By name, wherever they are; of one name, that in /etc counts.
    let dir = "usr/lib/systemd/system/docker.service.d";
    tree.file(&format!("/{dir}/zz.conf"), "LimitMEMLOCK=1G\n");
    says(&tree, "memlock", "ok: The service docker may lock 1 GiB");
    tree.file(&format!("/{dir}/override.conf"), "LimitMEMLOCK=2G\n")
        .file(&format!("/{dir}/zz.conf"), "");
    says(
        &tree,
        "memlock",
        "ok: The service docker may lock unlimited",
    );
    // And a unit in /etc stands for that of the package.
    tree.file(
        "/usr/lib/systemd/system/containerd.service",
        "LimitMEMLOCK=infinity\n",
    );
    says(
        &tree,
        "memlock",
        "ok: The service containerd may lock unlimited",
    );
    tree.file(
        "/etc/systemd/system/containerd.service",
        "LimitMEMLOCK=64K\n",
    );
    says(
        &tree,
        "memlock",
        "warning: The service containerd may lock 64 KiB",
    );
    tree.file(
        "/usr/lib/systemd/system/virtqemud.service",
        "LimitMEMLOCK=64M\n",
    );
    says(
        &tree,
        "memlock",
        "ok: The service virtqemud may lock 64 MiB; it raises",
    );
}

#[test]
fn hugepages() {
    let tree = healthy();
    says(&tree, "hugepages", "ok: The kernel has none");
    let pool = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    tree.file(&format!("{pool}/nr_hugepages"), "0\n")
        .file(&format!("{pool}/free_hugepages"), "0\n");
    says(&tree, "hugepages", "ok: None of 2 MiB are reserved");
    tree.file(&format!("{pool}/nr_hugepages"), "512\n");
    says(&tree, "hugepages", "warning: All 512 of 2 MiB are taken");
    tree.file(&format!("{pool}/free_hugepages"), "500\n");
    says(&tree, "hugepages", "ok: 500 of 512 of 2 MiB are free");
}

#[test]
fn messages_that_matter() {
    let tree = healthy();
    says(&tree, "log", "ok: No warnings");
    tree.file(
        "/dev/kmsg",
        "6,1,2,-;vfio_pci: add [1234:11e8]\n SUBSYSTEM=pci\n\
         4,2,3,-;e1000e: link is down\n\
         3,2,3,-;DMAR: DRHD: handling fault status reg 2\n\
         4,2,3,-;vfio-pci 0000:00:05.0: resetting\n\
         4,2,3,-;vfio-pci 0000:00:05.0: reset done\n\
         4,2,3,-;vfio: loading out-of-tree module taints kernel.\n\
         3,3,4,-;DMAR: [DMA Write NO_PASID] Request device [00:03.0] fault addr 0x1000\n\
         4,4,5,-;vfio-pci 0000:00:03.0: odd\n",
    );
    let found = checks(&tree, "log");
    assert_eq!(
        found,
        [
            "warning: DMAR: [DMA Write NO_PASID] Request device [00:03.0] fault addr 0x1000",
            "warning: vfio-pci 0000:00:03.0: odd"
        ]
    );
    // A fault is one at any level.
    tree.file(
        "/dev/kmsg",
        "6,1,2,-;AMD-Vi: Event logged [IO_PAGE_FAULT device=03:00.0]\n",
    );
    says(&tree, "log", "warning: AMD-Vi: Event logged [IO_PAGE_FAULT");
    // The last ones.
    let many: String = (0..9).map(|n| format!("4,{n},5,-;vfio {n}\n")).collect();
    tree.file("/dev/kmsg", &many);
    let found = checks(&tree, "log");
    assert_eq!((found.len(), found[0].as_str()), (5, "warning: vfio 4"));
}

#[test]
fn a_log_that_cannot_be_read() {
    says(&server(), "log", "warning: The kernel log cannot be read");
}

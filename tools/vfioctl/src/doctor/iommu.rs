// SPDX-License-Identifier: GPL-2.0
//! Whether there is an IOMMU, and why not.

use super::Check;
use crate::{group::GROUPS, root::Root};

const TOPIC: &str = "IOMMU";
const IOMMUS: &str = "/sys/class/iommu";

/// The tables by which the firmware tells the kernel of an IOMMU.
const TABLES: [(&str, &str); 3] = [
    ("DMAR", "intel_iommu=on"),
    ("IVRS", "amd_iommu=on"),
    ("VIOT", "iommu=on"),
];

fn command_line(root: &Root) -> Vec<String> {
    let text = root.read("/proc/cmdline").unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The words of the command line that are about the IOMMU.
fn words(root: &Root) -> Vec<String> {
    let is = |word: &String| {
        let key = word.split('=').next().unwrap_or_default();
        key.contains("iommu") || key == "intremap"
    };
    command_line(root).into_iter().filter(is).collect()
}

/// Returns why there is no IOMMU, as a part of a sentence, and what to do.
pub(crate) fn why_none(root: &Root) -> (String, String) {
    const OFF: [&str; 5] = [
        "iommu=off",
        "intel_iommu=off",
        "amd_iommu=off",
        "intel_iommu=igfx_off,off",
        "iommu=soft",
    ];
    let words = words(root);
    if let Some(word) = words.iter().find(|word| OFF.contains(&word.as_str())) {
        return (
            format!("the kernel was started with {word}"),
            format!("Remove {word} from the kernel command line (/etc/default/grub), and reboot."),
        );
    }
    let table = TABLES
        .iter()
        .find(|(table, _)| root.exists(format!("/sys/firmware/acpi/tables/{table}")));
    match table {
        Some((table, word)) => (
            format!("the kernel does not use the IOMMU that the firmware reports ({table})"),
            format!("Add {word} to the kernel command line (/etc/default/grub), and reboot."),
        ),
        None => (
            "the firmware reports no IOMMU".to_owned(),
            "Switch on VT-d or AMD-Vi in the firmware's settings; for a virtual machine, give \
             it an IOMMU."
                .to_owned(),
        ),
    }
}

/// Checks it.
pub(super) fn checks(root: &Root) -> Vec<Check> {
    let iommus = root.names(IOMMUS);
    let groups = root.names(GROUPS).len();
    let words = words(root);
    let words = match words.is_empty() {
        true => "nothing about it".to_owned(),
        false => words.join(" "),
    };
    let line = Check::ok(TOPIC, format!("The kernel command line says {words}."));
    let found = if groups > 0 {
        let which = match iommus.is_empty() {
            true => "One that has no name is".to_owned(),
            false => format!("{} is", iommus.join(", ")),
        };
        Check::ok(TOPIC, format!("{which} in use, with {groups} groups."))
    } else {
        let (text, todo) = why_none(root);
        Check::problem(TOPIC, format!("There is none: {text}."), todo)
    };
    vec![found, line]
}

// SPDX-License-Identifier: GPL-2.0
//! Whether interrupts of devices are kept apart. Otherwise a device that a program has can
//! raise any interrupt of the machine, and VFIO refuses to work.

use super::{messages::Messages, Check};
use crate::root::Root;

const TOPIC: &str = "interrupts";

/// Where modules can be told not to care.
const UNSAFE: [&str; 2] = ["vfio_iommu_type1", "iommufd"];

/// How sure it is that the IOMMU translates interrupts.
enum Remapping {
    On(&'static str),
    Off,
    /// There is no sign of either.
    Unknown,
}

/// Looks for it where this user can.
fn remapping(root: &Root, messages: &Messages) -> Remapping {
    let interrupts = root.read("/proc/interrupts").unwrap_or_default();
    let translated = interrupts
        .split_whitespace()
        .any(|word| word.starts_with("IR-"));
    if translated {
        return Remapping::On("/proc/interrupts shows translated ones");
    }
    let debug = root.read("/sys/kernel/debug/iommu/intel/ir_translation_struct");
    if debug.is_some_and(|text| text.contains("IR table address")) {
        return Remapping::On("debugfs shows their table");
    }
    let says = |words: &[&str]| messages.any(|text| words.iter().any(|word| text.contains(word)));
    if says(&["Enabled IRQ remapping", "Interrupt remapping enabled"]) {
        return Remapping::On("the kernel log says so");
    }
    if says(&[
        "Not enabling interrupt remapping",
        "Failed to enable irq remapping",
    ]) {
        return Remapping::Off;
    }
    // Each interrupt of x86 has a name that would tell.
    match interrupts.contains("PCI-MSI") || interrupts.contains("IO-APIC") {
        true => Remapping::Off,
        false => Remapping::Unknown,
    }
}

/// Checks it.
pub(super) fn checks(root: &Root, messages: &Messages) -> Vec<Check> {
    let unsafe_modules: Vec<_> = UNSAFE
        .into_iter()
        .filter(|module| {
            let path = format!("/sys/module/{module}/parameters/allow_unsafe_interrupts");
            root.read(path).as_deref() == Some("Y")
        })
        .collect();
    let mut checks = vec![match remapping(root, messages) {
        Remapping::On(how) => Check::ok(TOPIC, format!("The IOMMU translates them: {how}.")),
        Remapping::Unknown => Check::ok(
            TOPIC,
            "Nothing tells whether the IOMMU translates them; where it does not, the log says so \
             when a program begins to use VFIO.",
        ),
        Remapping::Off if unsafe_modules.is_empty() => Check::problem(
            TOPIC,
            "The IOMMU does not translate them, so VFIO refuses all devices (EPERM).",
            "Switch on interrupt remapping (or x2APIC) in the firmware's settings, and remove \
             intremap=off from the kernel command line.",
        ),
        Remapping::Off => Check::ok(TOPIC, "The IOMMU does not translate them."),
    }];
    if !unsafe_modules.is_empty() {
        checks.push(Check::warning(
            TOPIC,
            format!(
                "allow_unsafe_interrupts is set for {}: a program with a device may raise any \
                 interrupt.",
                unsafe_modules.join(", ")
            ),
            "Remove the option from /etc/modprobe.d and the kernel command line, unless all \
             programs that have devices are trusted.",
        ));
    }
    checks
}

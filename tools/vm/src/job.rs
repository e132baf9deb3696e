// SPDX-License-Identifier: GPL-2.0
//! What the VM does: a shell script of `run NAME SECONDS COMMAND...` lines.

use std::fmt::Write;

/// The device that the kernel's own tests drive: an igb on the root bus.
const IGB: &str = "0000:00:05.0";

/// A debug kernel under emulation is slower by about this factor.
const DEBUG_FACTOR: u64 = 6;

/// A list of programs with time limits.
pub(crate) struct Job {
    script: String,
    factor: u64,
}

/// The variants of the kernel's tests that use groups and containers. The
/// others go through iommufd, which these modules do not serve yet; MMIO
/// mappings are likewise to come, so vfio_dma_mapping_mmio_test is not run.
const MODES: [&str; 2] = ["vfio_type1_iommu", "vfio_type1v2_iommu"];

impl Job {
    fn new(factor: u64) -> Self {
        Self {
            script: String::new(),
            factor,
        }
    }

    /// Our selftests and, unless a pattern selects some, the kernel's own.
    pub(crate) fn tests(pattern: Option<&str>, debug: bool) -> Self {
        let mut job = Self::new(if debug { DEBUG_FACTOR } else { 1 });
        // SLOW stretches the limit that each test has.
        let slow = format!("env SLOW={} vfio-selftests", job.factor);
        job.run(
            "selftests",
            600,
            &format!("{slow} {}", pattern.map(quote).unwrap_or_default()),
        );
        if pattern.is_some() {
            return job;
        }
        let memory = ["", "_hugetlb_2mb", "_hugetlb_1gb"].map(|m| format!("_anonymous{m}"));
        let options = |suffixes: &[&str]| {
            let mut options = String::new();
            for mode in MODES {
                for suffix in suffixes {
                    let _ = write!(options, "-v {mode}{suffix} ");
                }
            }
            options
        };
        let mapping = [memory[0].as_str(), &memory[1], &memory[2], ""];
        let tokens = ["_same_uuid", "_diff_uuid", "_null_uuid"];

        job.line(&format!("bind_vfio_pci {IGB}"));
        job.run(
            "kernel: dma_mapping",
            120,
            &format!("vfio_dma_mapping_test {}{IGB}", options(&mapping)),
        );
        for mode in MODES {
            job.run(
                &format!("kernel: pci_device {mode}"),
                60,
                &format!("vfio_pci_device_test.{mode} {IGB}"),
            );
        }
        job.run(
            "kernel: init_perf",
            60,
            &format!("vfio_pci_device_init_perf_test {}{IGB}", options(&[""])),
        );
        job.line(&format!("bind_vfio_pci {IGB} enable_sriov"));
        job.run(
            "kernel: sriov_uapi",
            180,
            &format!("vfio_pci_sriov_uapi_test {}{IGB}", options(&tokens)),
        );
        job
    }

    /// The demonstration.
    pub(crate) fn demo() -> Self {
        let mut job = Self::new(1);
        job.run("demo", 120, "vfio-demo");
        job
    }

    /// One command.
    pub(crate) fn exec(command: &[String]) -> Self {
        let mut job = Self::new(1);
        job.run("exec", 600, &command.join(" "));
        job
    }

    /// The script, for the VM's init.
    pub(crate) fn script(&self) -> &str {
        &self.script
    }

    fn run(&mut self, name: &str, seconds: u64, command: &str) {
        let seconds = seconds * self.factor;
        self.line(&format!("run {} {seconds} {command}", quote(name)));
    }

    fn line(&mut self, line: &str) {
        self.script.push_str(line);
        self.script.push('\n');
    }
}

/// A word as a shell reads it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_pattern_leaves_the_kernels_tests_out() {
        assert!(!Job::tests(Some("F0"), false).script().contains("kernel:"));
        assert!(Job::tests(None, false).script().contains("kernel:"));
    }

    #[test]
    fn a_debug_kernel_gets_more_time() {
        assert!(Job::tests(None, false)
            .script()
            .contains("'selftests' 600 "));
        assert!(Job::tests(None, true)
            .script()
            .contains("'selftests' 3600 "));
    }
}

// SPDX-License-Identifier: GPL-2.0
//! What the VM does: a shell script of `run NAME SECONDS COMMAND...` lines.

use vfio_selftests::part::Part;

/// The device that the kernel's own tests drive: an igb on the root bus.
const IGB: &str = "0000:00:05.0";

/// A debug kernel under emulation is slower by about this factor.
const DEBUG_FACTOR: u64 = 6;

/// A list of programs with time limits.
pub(crate) struct Job {
    script: String,
    factor: u64,
}

/// What the command line says of the tests.
#[derive(clap::Args)]
pub(crate) struct Choice {
    /// How much of them
    #[arg(long, value_enum, default_value = "vm")]
    scope: Scope,
    /// Only our tests whose name contains this, and none of the kernel's
    #[arg(long)]
    pattern: Option<String>,
    /// Only one part of our tests, as in 1/2; the kernel's belong to the last one
    #[arg(long)]
    part: Option<Part>,
    /// Also what takes many minutes
    #[arg(long)]
    long: bool,
}

impl Choice {
    /// A word that tells the log of these tests from that of others, which may run at the
    /// same time.
    pub(crate) fn name(&self) -> String {
        let mut name = "test".to_owned();
        if self.pattern.is_some() {
            name.push_str("-some");
        } else if self.scope == Scope::Border {
            name.push_str("-border");
        }
        if let Some(part) = self.part {
            name.push_str(&format!("-{}", part.to_string().replace('/', "of")));
        }
        name
    }
}

/// Which of the tests run in the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scope {
    /// Our rows and the kernel's own tests.
    Vm,
    /// Our rows only.
    Rows,
    /// Only those of our rows that depend on both modules at once.
    Border,
}

/// The variants of the kernel's tests that use groups and containers, for the
/// one test that has no option to choose: without, it goes through iommufd.
const GROUP_MODES: [&str; 2] = ["vfio_type1_iommu", "vfio_type1v2_iommu"];

impl Job {
    fn new(factor: u64) -> Self {
        Self {
            script: String::new(),
            factor,
        }
    }

    /// Our selftests and, unless `scope` or a pattern leaves them out, the
    /// kernel's own; that of device drivers, which takes as long as all others,
    /// only if `long`. It gives each of its tests 30 seconds, which an emulated
    /// debug kernel cannot keep with any modules.
    pub(crate) fn tests(choice: &Choice, debug: bool) -> Self {
        let mut job = Self::new(if debug { DEBUG_FACTOR } else { 1 });
        // SLOW stretches the limit that each test has.
        let mut command = format!("env SLOW={} vfio-selftests", job.factor);
        if choice.scope == Scope::Border {
            command.push_str(" --border");
        }
        if let Some(part) = choice.part {
            command.push_str(&format!(" --part {part}"));
        }
        if let Some(pattern) = &choice.pattern {
            command.push(' ');
            command.push_str(&quote(pattern));
        }
        job.run("selftests", 600, &command);
        if choice.pattern.is_some() || choice.scope != Scope::Vm {
            return job;
        }
        if choice.part.is_some_and(|part| !part.is_last()) {
            return job;
        }
        job.line(&format!("bind_vfio_pci {IGB}"));
        let mut kernel = |name: &str, seconds, command: &str| {
            job.run(
                &format!("kernel: {name}"),
                seconds,
                &format!("{command} {IGB}"),
            );
        };
        kernel("dma_mapping", 180, "vfio_dma_mapping_test");
        kernel("dma_mapping_mmio", 120, "vfio_dma_mapping_mmio_test");
        kernel("iommufd_setup", 60, "vfio_iommufd_setup_test");
        kernel("pci_device", 60, "vfio_pci_device_test");
        for mode in GROUP_MODES {
            let program = format!("vfio_pci_device_test.{mode}");
            kernel(&format!("pci_device {mode}"), 60, &program);
        }
        kernel("init_perf", 120, "vfio_pci_device_init_perf_test");
        if choice.long && !debug {
            kernel("driver", 1800, "vfio_pci_driver_test");
        }
        job.line(&format!("bind_vfio_pci {IGB} enable_sriov"));
        job.run(
            "kernel: sriov_uapi",
            300,
            &format!("vfio_pci_sriov_uapi_test {IGB}"),
        );
        job
    }

    /// The demonstration.
    pub(crate) fn demo() -> Self {
        let mut job = Self::new(1);
        job.run("demo", 120, "vfio-demo");
        job
    }

    /// The benchmark. The limit is by the guest's clock, in which an instruction
    /// takes a nanosecond.
    pub(crate) fn bench(long: bool, only: Option<&str>) -> Self {
        let mut job = Self::new(1);
        let mut command = "vfio-bench".to_owned();
        if long {
            command.push_str(" --long");
        }
        if let Some(only) = only {
            command.push_str(" --only ");
            command.push_str(&quote(only));
        }
        job.run("bench", 3600, &command);
        job
    }

    /// Programs of a distribution, in its root file system.
    pub(crate) fn clients(steps: &[String]) -> Self {
        let mut job = Self::new(1);
        job.line(include_str!("../guest/distribution.sh"));
        job.line("enter_distribution");
        for step in steps {
            let command = format!("chroot /distribution /srv/guest.sh {}", quote(step));
            job.run(step, 1200, &command);
        }
        job.line("leave_distribution");
        job
    }

    /// One command.
    pub(crate) fn exec(command: &[String], debug: bool) -> Self {
        let mut job = Self::new(if debug { DEBUG_FACTOR } else { 1 });
        let command = format!("env SLOW={} {}", job.factor, command.join(" "));
        job.run("exec", 600, &command);
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

    fn tests(words: &str) -> String {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            choice: Choice,
            #[arg(long)]
            debug: bool,
        }
        let words = ["vm"].into_iter().chain(words.split_whitespace());
        let cli = <Cli as clap::Parser>::parse_from(words);
        Job::tests(&cli.choice, cli.debug).script().to_owned()
    }

    #[test]
    fn only_a_whole_run_or_its_last_part_has_the_kernels_tests() {
        for words in ["", "--long", "--scope vm", "--part 2/2"] {
            assert!(tests(words).contains("kernel:"), "{words}");
        }
        for words in [
            "--pattern F0",
            "--scope rows",
            "--scope border",
            "--part 1/2",
        ] {
            assert!(!tests(words).contains("kernel:"), "{words}");
        }
    }

    #[test]
    fn the_selftests_choose_their_rows() {
        let first = |words| tests(words).lines().next().unwrap().to_owned();
        assert!(first("--scope rows").ends_with("vfio-selftests"));
        assert!(first("--scope border --pattern F1").ends_with("vfio-selftests --border 'F1'"));
        assert!(first("--part 2/3").ends_with("vfio-selftests --part 2/3"));
    }

    #[test]
    fn clients_run_where_they_belong() {
        let job = Job::clients(&["qemu".to_owned(), "dpdk".to_owned()]);
        let commands: Vec<&str> = job
            .script()
            .lines()
            .filter(|line| line.starts_with("run "))
            .collect();
        let chroot = "chroot /distribution /srv/guest.sh";
        assert_eq!(
            commands,
            [
                format!("run 'qemu' 1200 {chroot} 'qemu'"),
                format!("run 'dpdk' 1200 {chroot} 'dpdk'"),
            ]
        );
    }

    #[test]
    fn a_debug_kernel_gets_more_time() {
        assert!(tests("").contains("'selftests' 600 "));
        assert!(tests("--debug").contains("'selftests' 3600 "));
        let exec = |debug| {
            Job::exec(&["program".to_owned()], debug)
                .script()
                .to_owned()
        };
        assert_eq!(exec(false), "run 'exec' 600 env SLOW=1 program\n");
        assert_eq!(exec(true), "run 'exec' 3600 env SLOW=6 program\n");
    }
}

// SPDX-License-Identifier: GPL-2.0
//! One boot: builds the image, follows the two serial lines, counts.

use std::{
    fs::File,
    io::{LineWriter, Write},
    path::{Path, PathBuf},
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use vfio_bench::{table::Table, Measurement};

use crate::{
    image::Image,
    job::Job,
    ktap::{Parser, Totals},
    qemu::{Iommu, Machine, Share, Source, Vm},
    watch::Watch,
};

/// Everything that one boot needs.
pub(crate) struct Boot {
    /// The kernel's build tree.
    pub(crate) kernel: PathBuf,
    /// Where our modules are, if they are wanted.
    pub(crate) rust: Option<PathBuf>,
    /// Directories of static programs that go to `/bin`.
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) impl_name: String,
    pub(crate) iommu: Iommu,
    pub(crate) cpus: u32,
    /// What the guest does.
    pub(crate) job: Job,
    /// Further words for the kernel command line.
    pub(crate) words: Vec<String>,
    /// Use the machine that counts instructions.
    pub(crate) counting: bool,
    /// Directories of the host that the guest sees.
    pub(crate) shares: Vec<Share>,
    /// How long the guest may take for what is not a program: to boot, to go
    /// from one program to the next, to unload and to look for leaks.
    pub(crate) between: Duration,
    pub(crate) log: PathBuf,
    /// Show the kernel's boot messages as well.
    pub(crate) verbose: bool,
}

/// How a boot went.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) totals: Totals,
    /// What failed, in words, splats included.
    pub(crate) failures: Vec<String>,
    /// What the benchmark measured.
    pub(crate) table: Table,
    /// What lockdep knew at the end, if the kernel has it: see `lockdep`.
    pub(crate) lockdep: String,
}

impl Outcome {
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        self.totals.failed += 1;
        self.failures.push(what.into());
    }
}

impl Boot {
    /// Boots, runs everything, and says how it went.
    pub(crate) fn run(&self) -> Result<Outcome> {
        if let Some(dir) = self.log.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let initramfs = self.log.with_extension("cpio");
        self.image(&initramfs)?;
        let mut words = self.words.clone();
        words.push(format!("impl={}", self.impl_name));
        let bzimage = self.kernel.join("arch/x86/boot/bzImage");
        let vm = Vm::start(&Machine {
            iommu: self.iommu,
            cpus: self.cpus,
            bzimage: &bzimage,
            initramfs: &initramfs,
            words,
            counting: self.counting,
            shares: &self.shares,
        })?;
        let outcome = self.follow(&vm);
        drop(vm);
        std::fs::remove_file(&initramfs)?;
        outcome
    }

    fn image(&self, path: &Path) -> Result<()> {
        let mut image = Image::create(path)?;
        image.kernel_modules(&self.kernel)?;
        if let Some(dir) = &self.rust {
            image.rust_modules(dir)?;
        }
        for dir in &self.programs {
            image.programs(dir)?;
        }
        let config = self.kernel.join(".config");
        image.file("/boot/config", &config)?;
        image.bytes("/job", self.job.script().as_bytes())?;
        image.finish()
    }

    /// Reads both serial lines until the guest is done, dead or out of time.
    fn follow(&self, vm: &Vm) -> Result<Outcome> {
        let log = File::create(&self.log).with_context(|| self.log.display().to_string())?;
        // By lines, so that the log of a run that was killed is whole.
        let mut log = LineWriter::new(log);
        let mut watch = Watch::new()?;
        let mut guest = Guest::new(self.between);
        while !guest.wedged {
            let left = guest.deadline.saturating_duration_since(Instant::now());
            match vm.lines().recv_timeout(left) {
                Ok((Source::Kernel, line)) => {
                    writeln!(log, "{line}")?;
                    let splat = watch.line(&line);
                    if splat {
                        let running = guest.running.as_deref().unwrap_or("no program");
                        let what = format!("kernel splat ({running}): {line}");
                        guest.outcome.fail(what);
                    }
                    if self.verbose || guest.ready || splat {
                        println!("{line}");
                    }
                }
                Ok((Source::Program, line)) => {
                    writeln!(log, "{line}")?;
                    guest.line(&line)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    guest.outcome.fail("the guest is stuck: the VM was stopped");
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        log.flush()?;
        Ok(guest.finish())
    }
}

/// What is known of the guest from its own lines.
struct Guest {
    outcome: Outcome,
    between: Duration,
    /// When it must have said its next word.
    deadline: Instant,
    /// The running program and the parser of its results.
    running: Option<String>,
    parser: Option<Parser>,
    ready: bool,
    done: bool,
    /// A program said that nothing can be tested any more.
    wedged: bool,
}

impl Guest {
    fn new(between: Duration) -> Self {
        Self {
            outcome: Outcome::default(),
            between,
            deadline: Instant::now() + between,
            running: None,
            parser: None,
            ready: false,
            done: false,
            wedged: false,
        }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        if let Some(measurement) = Measurement::of_line(line) {
            let measurement = measurement.with_context(|| format!("understand {line}"))?;
            println!("{measurement}");
            self.outcome.table.add(measurement);
            return Ok(());
        }
        let Some(word) = line.strip_prefix("##vm ") else {
            println!("{line}");
            if let Some(parser) = &mut self.parser {
                parser.line(line);
            }
            // What follows would only hang on the same lock.
            if line.starts_with("Bail out!") {
                self.outcome.fail(line);
                self.wedged = true;
            }
            return Ok(());
        };
        let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
        self.deadline = Instant::now() + self.between;
        match verb {
            "ready" => {
                self.ready = true;
                println!("==> guest ready: {rest}");
            }
            "begin" => {
                let (limit, name) = rest.split_once(' ').unwrap_or(("0", rest));
                println!("==> {name}");
                self.deadline += Duration::from_secs(limit.parse().unwrap_or(0));
                self.running = Some(name.to_owned());
                self.parser = Some(Parser::new()?);
            }
            "end" => {
                let (name, status) = rest.rsplit_once(' ').unwrap_or((rest, "1"));
                self.end(name, status.parse().unwrap_or(1));
            }
            "step" => println!("==> {rest}"),
            "lockdep" => self.outcome.lockdep += rest,
            "fail" => self.outcome.fail(rest),
            "done" => self.done = true,
            _ => println!("{line}"),
        }
        Ok(())
    }

    fn end(&mut self, name: &str, status: i32) {
        self.running = None;
        if let Some(parser) = self.parser.take() {
            let (totals, failures) = parser.finish(name, status);
            println!("==> {name}: {totals}");
            self.outcome.totals += totals;
            let named = failures.iter().map(|f| format!("{name}: {f}"));
            self.outcome.failures.extend(named);
        }
    }

    fn finish(mut self) -> Outcome {
        if let Some(name) = self.running.take() {
            // Count what came; the program itself did not end.
            self.end(&name, 1);
        }
        if !self.done {
            self.outcome.fail("the guest did not come to its end");
        }
        self.outcome
    }
}

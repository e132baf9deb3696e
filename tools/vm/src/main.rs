// SPDX-License-Identifier: GPL-2.0
//! Boots the test VM with the C or the Rust modules and runs programs in it.
//!
//! `make` calls it with the paths of what it has built; see the top Makefile.
//! A run is a kernel, an initramfs (`image`), a machine (`qemu`) and a list of
//! programs (`job`). Their output is counted (`ktap`), and the kernel's log is
//! searched for what a healthy kernel does not say (`watch`).

mod bench;
mod host;
mod image;
mod job;
mod ktap;
mod lockdep;
mod plot;
mod qemu;
mod run;
mod watch;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use job::{Choice, Job};
use qemu::{Iommu, Share};
use run::{Boot, Outcome};

#[derive(Parser)]
#[command(about = "Boots the rust_vfio test VM and runs programs in it")]
struct Cli {
    #[command(flatten)]
    machine: MachineArgs,
    #[command(subcommand)]
    command: Command,
}

/// What is booted; the same for all commands.
#[derive(Args)]
struct MachineArgs {
    /// Build tree of the kernel to boot
    #[arg(long, value_name = "DIR")]
    kernel: PathBuf,
    /// Directory with our built modules
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// Which modules to load: c, rust, rust-core or rust-type1
    #[arg(long = "impl", default_value = "rust", value_name = "IMPL",
          value_parser = ["c", "rust", "rust-core", "rust-type1"])]
    impl_name: String,
    /// The IOMMU that the machine has
    #[arg(long, value_enum, default_value = "intel")]
    iommu: Iommu,
    /// How many CPUs the machine has; one, whatever this says, for the benchmark
    #[arg(long, default_value_t = 2, value_name = "N")]
    cpus: u32,
    /// Directory of static programs for the guest's /bin (may be given again)
    #[arg(long, value_name = "DIR")]
    programs: Vec<PathBuf>,
    /// Directory for the log and the initramfs
    #[arg(long, value_name = "DIR")]
    scratch: PathBuf,
    /// The kernel checks itself and is slower: longer limits
    #[arg(long)]
    debug: bool,
    /// Word for the kernel command line (may be given again)
    #[arg(long = "word", value_name = "WORD")]
    words: Vec<String>,
    /// Show the kernel's boot messages as well
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Runs our selftests, then the kernel's own in their group modes
    Test {
        #[command(flatten)]
        choice: Choice,
        /// What `cargo test` printed on the host; its results are added
        #[arg(long, value_name = "FILE")]
        host: Option<PathBuf>,
    },
    /// Runs the demonstration
    Demo,
    /// Compares what the C and the Rust modules take, in one boot
    Bench {
        /// Also what takes many minutes
        #[arg(long)]
        long: bool,
        /// Only rows whose name contains this
        #[arg(long, value_name = "ROWS")]
        only: Option<String>,
        /// Fail if a target is missed
        #[arg(long)]
        check: bool,
        /// Where the table goes
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Draw pictures of it here
        #[arg(long, value_name = "DIR")]
        plot: Option<PathBuf>,
    },
    /// Runs programs of a distribution, as it packages them
    Clients {
        /// Its root file system
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// What it gets besides in /srv: guest.sh does what is wanted
        #[arg(long, value_name = "DIR")]
        files: PathBuf,
        /// What is wanted, by name
        #[arg(required = true)]
        steps: Vec<String>,
    },
    /// Runs one command in the guest
    Exec {
        /// The command, as the guest's shell reads it
        #[arg(required = true, trailing_var_arg = true)]
        words: Vec<String>,
    },
}

impl MachineArgs {
    /// A boot that does `job`.
    fn boot(&self, name: &str, job: Job) -> Boot {
        // The benchmark loads what it wants by itself.
        let counting = name == "bench";
        let mut words = self.words.clone();
        if counting {
            words.push("load=no".to_owned());
        }
        // A debug kernel takes longer to boot, and to look for leaks at the end.
        let between = Duration::from_secs(if self.debug { 400 } else { 90 });
        Boot {
            kernel: self.kernel.clone(),
            rust: self.modules.clone(),
            programs: self.programs.clone(),
            impl_name: self.impl_name.clone(),
            iommu: self.iommu,
            cpus: self.cpus,
            between,
            job,
            words,
            counting,
            shares: Vec::new(),
            log: self.scratch.join(format!("{name}-{}.log", self.impl_name)),
            verbose: self.verbose,
        }
    }
}

/// Prints the failures again and the one line that everybody looks at.
fn report(outcome: &Outcome, log: &std::path::Path) -> ExitCode {
    for failure in &outcome.failures {
        println!("FAILED: {failure}");
    }
    println!("log: {}", log.display());
    println!("{}", outcome.totals);
    if outcome.totals.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn main() -> Result<ExitCode> {
    let Cli { machine, command } = Cli::parse();
    let (name, job) = match &command {
        Command::Test { choice, .. } => (choice.name(), Job::tests(choice, machine.debug)),
        Command::Demo => ("demo".to_owned(), Job::demo()),
        Command::Bench { long, only, .. } => {
            ("bench".to_owned(), Job::bench(*long, only.as_deref()))
        }
        Command::Clients { steps, .. } => ("clients".to_owned(), Job::clients(steps)),
        Command::Exec { words } => ("exec".to_owned(), Job::exec(words, machine.debug)),
    };
    let mut boot = machine.boot(&name, job);
    if let Command::Clients { root, files, .. } = &command {
        boot.shares = [("root", root), ("files", files)]
            .map(|(tag, dir)| Share {
                tag,
                dir: dir.clone(),
            })
            .into();
    }
    let mut outcome = boot.run()?;
    lockdep::save(&outcome.lockdep, &boot.log)?;
    if let Command::Test {
        host: Some(host), ..
    } = &command
    {
        host::add(&mut outcome, host)?;
    }
    let status = report(&outcome, &boot.log);
    if let Command::Bench {
        check, out, plot, ..
    } = &command
    {
        if let Some(dir) = plot {
            plot::draw(&outcome.table, dir)?;
        }
        let verdict = bench::report(&outcome.table, out)?;
        if *check && verdict.missed > 0 {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(status)
}

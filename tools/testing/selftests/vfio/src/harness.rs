// SPDX-License-Identifier: GPL-2.0
//! Runs tests, each in a process of its own, and reports in KTAP.
//!
//! Why not a harness from crates.io as it is: `libtest-mimic`, the usual one,
//! prints the format of `cargo test`, runs tests as threads of one process and
//! has no time limit. Kernel tests want KTAP, tests that give up capabilities
//! or fork need processes, and a kernel that hangs must cost one test and not
//! the run. So `libtest-mimic` reads the command line (what people know from
//! `cargo test` works here), and the rest is this module: `process` runs one
//! test, `ktap` prints.
//!
//! A program for the test VM gives [`main`] its rows, and a function that is called in the
//! process of each test before the test begins: whatever a test that was killed has left
//! behind, it gives back.

mod ktap;
mod process;

use std::{
    env, fmt,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use libtest_mimic::Arguments;

use crate::part::Part;

/// What a test returns. Failed assertions are panics, as everywhere.
pub type TestResult = anyhow::Result<()>;

/// Which modules are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impl {
    /// The kernel's own.
    C,
    /// Both of ours.
    Rust,
    /// Our core, the kernel's backend.
    RustCore,
    /// The kernel's core, our backend.
    RustType1,
}

impl Impl {
    /// The value of `IMPL` in the environment.
    pub fn get() -> Self {
        match env::var("IMPL").as_deref() {
            Ok("rust") => Self::Rust,
            Ok("rust-core") => Self::RustCore,
            Ok("rust-type1") => Self::RustType1,
            _ => Self::C,
        }
    }

    /// Whether the core is ours.
    fn core_is_rust(self) -> bool {
        matches!(self, Self::Rust | Self::RustCore)
    }

    /// Whether the backend is ours.
    pub fn type1_is_rust(self) -> bool {
        matches!(self, Self::Rust | Self::RustType1)
    }
}

pub use crate::config::slow;

/// The cases to try: all, or every second one if the kernel is slow.
pub fn cases<T>(all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let step = if slow() > 1 { 2 } else { 1 };
    all.into_iter().step_by(step)
}

/// Which modules a row speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// All of them, which is the rule.
    Everywhere,
    /// Only our core: the row is a defect of the C core, tagged `[L]`, or it is about
    /// something that only ours does.
    OnlyRustCore,
    /// Only our backend, likewise.
    OnlyRustType1,
}

/// One test.
#[derive(Clone, Copy)]
pub struct Row {
    /// Begins with the contract row.
    pub name: &'static str,
    /// Does it.
    pub run: fn() -> TestResult,
    /// Where it is expected to pass.
    pub holds: Holds,
    /// Its result depends on how the core and the backend work together, so it
    /// is worth running when one of the two is ours and the other is not.
    pub border: bool,
    /// After this time it counts as hanging.
    pub limit: Duration,
}

impl Row {
    const LIMIT: Duration = Duration::from_secs(60);

    /// A test with the usual time limit, that holds everywhere.
    pub const fn new(name: &'static str, run: fn() -> TestResult) -> Self {
        Self {
            name,
            run,
            holds: Holds::Everywhere,
            border: false,
            limit: Self::LIMIT,
        }
    }

    /// The same for a row of the border between the two modules.
    pub const fn at_the_border(self) -> Self {
        Self {
            border: true,
            ..self
        }
    }

    /// The same with a time limit in seconds.
    pub const fn limit(self, seconds: u64) -> Self {
        Self {
            limit: Duration::from_secs(seconds),
            ..self
        }
    }

    /// The same for a row tagged `[L]`.
    pub const fn holds(self, holds: Holds) -> Self {
        Self { holds, ..self }
    }

    /// Why it cannot be expected to pass here.
    fn excused(&self) -> Option<&'static str> {
        let loaded = Impl::get();
        match self.holds {
            Holds::OnlyRustCore if !loaded.core_is_rust() => {
                Some("the C core does not do this: see the contract")
            }
            Holds::OnlyRustType1 if !loaded.type1_is_rust() => {
                Some("the C backend does not do this: see the contract")
            }
            _ => None,
        }
    }
}

/// Lists the tests of a file: names of functions, each with what differs from
/// the usual, as in `rows![F001_a, F002_b.limit(300)]`.
#[macro_export]
macro_rules! rows {
    ($($name:ident $(.$method:ident($($arg:expr),*))*),* $(,)?) => {
        &[$($crate::harness::Row::new(stringify!($name), $name) $(.$method($($arg),*))*),*]
    };
}
pub use crate::rows;

/// What a test returns where its subject cannot exist.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Ends a test without a verdict. Only for what this VM cannot have.
pub fn skip<T>(reason: impl Into<String>) -> anyhow::Result<T> {
    Err(Skip(reason.into()).into())
}

/// How a test ended.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail,
    Skip(String),
    /// It failed in a way that leaves the machine unusable.
    Stuck,
}

/// The command line: that of `cargo test`, and what only this program has.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    test: Arguments,
    /// Only rows that depend on the core and the backend at once
    #[arg(long)]
    border: bool,
    /// Only one part of all that, as in 1/2
    #[arg(long, default_value_t)]
    part: Part,
}

/// Runs what the command line asks for, each test after `tidy`.
pub fn main(rows: Vec<Row>, tidy: fn() -> TestResult) -> ExitCode {
    let cli = Cli::parse();
    let chosen = rows.into_iter().filter(|row| is_chosen(&cli, row));
    // A closed pipe, as with `| head`, ends the program quietly.
    match run(&cli.test, &cli.part.choose(chosen), tidy) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs or lists tests; whether all is well.
fn run(args: &Arguments, rows: &[Row], tidy: fn() -> TestResult) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    if args.list {
        for row in rows {
            writeln!(out, "{}: test", row.name)?;
        }
        return Ok(true);
    }
    if rows.is_empty() {
        writeln!(io::stderr(), "no test has such a name; --list shows them")?;
        return Ok(false);
    }
    let mut report = ktap::Report::begin(out, rows.len())?;
    for row in rows {
        let (verdict, output) = match row.excused() {
            Some(reason) => (Verdict::Skip(reason.to_owned()), Vec::new()),
            None => process::run(row, tidy),
        };
        report.result(row.name, &verdict, &output)?;
        if verdict == Verdict::Stuck {
            report.bail_out("a test hangs in the kernel and cannot be killed")?;
            break;
        }
    }
    report.end()
}

/// Whether the command line asks for this test.
fn is_chosen(cli: &Cli, row: &Row) -> bool {
    let args = &cli.test;
    let fits = |pattern: &str| match args.exact {
        true => row.name == pattern,
        false => row.name.contains(pattern),
    };
    let wanted = args
        .filter
        .as_ref()
        .is_none_or(|list| list.split(',').any(fits));
    wanted && (row.border || !cli.border) && !args.skip.iter().any(|pattern| fits(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(args: &[&str], name: &'static str) -> bool {
        is_chosen(&cli(args), &Row::new(name, || Ok(())))
    }

    fn cli(args: &[&str]) -> Cli {
        Cli::parse_from(["program"].iter().chain(args))
    }

    #[test]
    fn a_filter_is_a_list_of_parts_of_names() {
        assert!(chosen(&[], "F003_version"));
        assert!(chosen(&["F00"], "F003_version"));
        assert!(chosen(&["R01,F003"], "F003_version"));
        assert!(!chosen(&["R01,F004"], "F003_version"));
        assert!(!chosen(&["--exact", "F003"], "F003_version"));
        assert!(chosen(&["--exact", "F003_version"], "F003_version"));
        assert!(!chosen(&["--skip", "version"], "F003_version"));
    }

    #[test]
    fn border_leaves_out_what_one_module_decides() {
        let inside = Row::new("F003_version", || Ok(()));
        let border = inside.at_the_border();
        assert!(is_chosen(&cli(&[]), &border));
        assert!(is_chosen(&cli(&["--border"]), &border));
        assert!(!is_chosen(&cli(&["--border"]), &inside));
        assert!(!is_chosen(&cli(&["--border", "F004"]), &border));
    }

    #[test]
    // As the names of rows are.
    #[expect(non_snake_case)]
    fn rows_carry_their_names_and_what_differs() {
        fn F001_one() -> TestResult {
            Ok(())
        }
        fn F002_two() -> TestResult {
            Ok(())
        }
        let rows: &[Row] = rows![F001_one, F002_two.limit(5).holds(Holds::OnlyRustCore)];
        assert_eq!(rows[0].name, "F001_one");
        assert_eq!(rows[0].holds, Holds::Everywhere);
        assert_eq!(rows[1].limit, Duration::from_secs(5));
        assert_eq!(rows[1].holds, Holds::OnlyRustCore);
    }
}

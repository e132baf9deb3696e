// SPDX-License-Identifier: GPL-2.0
//! `vfioctl`: for those who run machines on which programs use VFIO.
//!
//! It reads sysfs and procfs, and so works with the C modules as well as with ours. A
//! command reads the [`machine`], which consists of [`device`]s, [`group`]s and
//! [`holders`]; [`viability`] and [`in_use`] are the rules that say what can be had;
//! [`bind`] and
//! [`restore`] make a [`plan`] of [`change`]s, which consist of [`step`]s. All files are reached through a [`root`], so that the
//! tests can show made-up machines to the whole program.

mod bind;
mod change;
mod cli;
mod device;
mod doctor;
mod fdinfo;
mod generate;
mod group;
mod holders;
mod in_use;
mod list;
mod machine;
mod output;
mod plan;
mod process;
mod remember;
mod restore;
mod root;
mod step;
mod viability;
mod watch;
mod why;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use cli::{Cli, Command};
use output::Format;
use root::Root;

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing to complain of.
    Fine,
    /// Something is in the way.
    Trouble,
}

fn run(cli: Cli) -> Result<Verdict> {
    let root = Root::new(&cli.root)?;
    let format = if cli.json { Format::Json } else { Format::Text };
    match cli.command {
        Command::List { target } => list::run(&root, format, target.as_deref())?,
        Command::Bind(args) => bind::bind(&root, format, &args)?,
        Command::Unbind(args) => bind::unbind(&root, format, &args)?,
        Command::Restore { names, dry_run } => restore::run(&root, format, &names, dry_run)?,
        Command::Why { target } => return why::run(&root, format, &target),
        Command::Watch { interval, once } => watch::run(&root, format, interval, once)?,
        Command::Doctor => return doctor::run(&root, format),
        Command::Generate { dir } => generate::run(&dir)?,
    }
    Ok(Verdict::Fine)
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Trouble) => ExitCode::from(1),
        Err(error) => {
            eprintln!("vfioctl: {error:#}");
            ExitCode::from(2)
        }
    }
}

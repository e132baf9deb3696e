// SPDX-License-Identifier: GPL-2.0
//! Moves the state of a VFIO device to another one of the same kind, as a virtual machine
//! monitor does, and tells how much was moved and for how long no device was running.
//!
//! Both devices must be bound to their driver for VFIO, and nobody else may have them
//! open. The target goes on afterwards, until this program ends.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use vfio_selftests::{
    container::Container,
    migrate::{migrate, Phase, Plan, Progress},
    target::{Named, Target},
    uapi,
};

/// Moves the state of a VFIO device to another one.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The device to move, by its name on its bus, such as `0000:00:03.0`.
    source: String,
    /// The device that goes on.
    target: String,
    /// Save the running device in so many rounds at most.
    #[arg(long, value_name = "N", default_value_t = Plan::default().rounds)]
    rounds: u32,
    /// Stop the device when so many bytes are left.
    #[arg(long, value_name = "BYTES", default_value_t = Plan::default().threshold)]
    threshold: u64,
    /// Give up at this point, to see that the source goes on.
    #[arg(long, value_name = "PHASE")]
    give_up: Option<When>,
    /// Tell only the result.
    #[arg(long, short)]
    quiet: bool,
}

/// A point of a move.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// While the source is running.
    PreCopy,
    /// While it is stopped.
    StopCopy,
    /// When everything is there.
    Resume,
}

impl When {
    fn is(self, phase: Phase) -> bool {
        matches!(
            (self, phase),
            (Self::PreCopy, Phase::PreCopy(_))
                | (Self::StopCopy, Phase::StopCopy)
                | (Self::Resume, Phase::Resume)
        )
    }
}

/// A phase in words.
fn words(phase: Phase) -> String {
    match phase {
        Phase::Check => "looking at both devices".to_owned(),
        Phase::PreCopy(round) => format!("running, round {round}"),
        Phase::StopCopy => "stopped".to_owned(),
        Phase::Resume => "resuming".to_owned(),
    }
}

fn run(args: &Args) -> Result<()> {
    let (source, target) = (Named::find(&args.source)?, Named::find(&args.target)?);
    let container = Container::open().context("open the container")?;
    let groups = [source.join(&container)?, target.join(&container)?];
    container
        .set_iommu(uapi::TYPE1v2_IOMMU)
        .context("choose the IOMMU backend")?;
    let open = |group: usize, device: &Named| {
        groups[group]
            .device(device.name())
            .with_context(|| format!("open {}", device.name()))
    };
    let (from, to) = (open(0, &source)?, open(1, &target)?);

    let plan = Plan {
        rounds: args.rounds,
        threshold: args.threshold,
    };
    let mut last = None;
    let watch = |progress: Progress| {
        if !args.quiet && last.replace(progress.phase) != Some(progress.phase) {
            let left = progress.left.map(|left| format!(", {left} left"));
            println!(
                "{}: {} bytes moved{}",
                words(progress.phase),
                progress.moved,
                left.unwrap_or_default()
            );
        }
        !args.give_up.is_some_and(|when| when.is(progress.phase))
    };
    let moved = migrate(&from, &to, plan, watch)
        .with_context(|| format!("{} goes on as it was", args.source))?;
    println!(
        "{} moved to {}: {} bytes in {} rounds while it was running, {} while it was stopped, \
         downtime {:.3} ms",
        args.source,
        args.target,
        moved.running,
        moved.rounds,
        moved.stopped,
        moved.downtime.as_secs_f64() * 1000.0
    );
    Ok(())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vfio-migrate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

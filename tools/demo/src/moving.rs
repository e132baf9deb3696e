// SPDX-License-Identifier: GPL-2.0
//! A device whose driver is written in Rust computes, moves to another one while it does,
//! and goes on there.

use anyhow::{ensure, Result};
use vfio_selftests::{
    migrate::{migrate, Phase, Plan},
    module,
    sample::{self, Register, Registers, MEMORY, MODULE},
    target::Target,
    uapi,
};

use crate::{report::say, stations::bytes};

/// Whether the driver is there, which is not part of what is installed.
pub(crate) fn is_possible() -> bool {
    module::file(MODULE).exists()
}

/// Moves device 0 to device 1.
pub(crate) fn move_device() -> Result<()> {
    module::load(MODULE, "")?;
    let source = sample::device(0)?.open(uapi::TYPE1v2_IOMMU)?;
    let target = sample::device(1)?.open(uapi::TYPE1v2_IOMMU)?;
    let (first, second) = (
        Registers::of(&source.device)?,
        Registers::of(&target.device)?,
    );
    first.set(Register::On, 1)?;
    while first.get(Register::Steps)? < 1000 {}
    let mut last = None;
    let moved = migrate(
        &source.device,
        &target.device,
        Plan::default(),
        |progress| {
            if last.replace(progress.phase) != Some(progress.phase) {
                let what = match progress.phase {
                    Phase::Check => "looking at both",
                    Phase::PreCopy(_) => "it computes and is being saved",
                    Phase::StopCopy => "it is stopped; the rest follows",
                    Phase::Resume => "the other one takes it all",
                };
                say!("{what}: {} bytes moved", progress.moved);
            }
            true
        },
    )?;
    say!(
        "{} bytes in {} rounds while it ran, {} while it was stopped, for {:.1} ms",
        moved.running,
        moved.rounds,
        moved.stopped,
        moved.downtime.as_secs_f64() * 1000.0
    );
    let arrived = second.get(Register::Steps)?;
    while second.get(Register::Steps)? < arrived + 1000 {}
    second.set(Register::On, 0)?;
    let steps = second.get(Register::Steps)?;
    ensure!(
        second.memory()? == sample::memory_after(steps),
        "after {steps} steps its memory is another one than it must be"
    );
    say!(
        "after {steps} steps, at both places, all {} of its memory are as they must be",
        bytes(MEMORY as u64)
    );
    drop((source, target));
    module::unload(MODULE)?;
    Ok(())
}

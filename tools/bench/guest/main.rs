// SPDX-License-Identifier: GPL-2.0
//! Does the same work on the kernel's C modules and on ours, and tells what it
//! took. Runs as root in the benchmark's VM (`make bench`), whose clock counts
//! instructions, and in which nothing is loaded yet.
//!
//! All memory is allocated once, before any module is loaded, so that both
//! pin the very same pages. [`rows`] has the work, [`modules`] changes the
//! modules below it, [`floor`] measures what all of them must do, [`log`] tells
//! the numbers to the runner.

mod clock;
#[path = "../../testing/selftests/vfio/fixture/client.rs"]
#[allow(dead_code, unused_imports)] // The user side of the tests' driver can do more.
mod fixture;
mod floor;
mod log;
mod modules;
mod rows;
mod stage;

use anyhow::{bail, Result};
use vfio_bench::By;
use vfio_selftests::config;

use crate::{floor::Floor, log::Log, rows::Size, stage::Stage};

fn main() -> Result<()> {
    let mut size = Size::Normal;
    let mut only = String::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (&word[..], words.len()) {
            ("--long", _) => size = Size::Long,
            ("--only", 1..) => only = words.next().unwrap_or_default(),
            _ => bail!("usage: vfio-bench [--long] [--only ROWS]"),
        }
    }
    clock::prepare()?;
    let stage = Stage::set()?;
    for by in [By::C, By::Rust] {
        modules::load(by)?;
        rows::run(&Log::new(by, &only), &stage, size)?;
        if by == By::Rust && config::has("IOMMUFD")? {
            rows::iommufd(&Log::new(By::Iommufd, &only), &stage)?;
        }
        modules::unload()?;
    }
    rows::floor(&Log::new(By::Floor, &only), &stage, &Floor::open()?)
}

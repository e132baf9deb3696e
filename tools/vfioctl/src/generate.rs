// SPDX-License-Identifier: GPL-2.0
//! Man pages and completions, for packages.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::{generate_to, Shell};
use clap_mangen::Man;

use crate::cli::Cli;

/// Writes `vfioctl.8`, a page for each command, and the files of three shells.
pub(crate) fn run(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "vfioctl", dir)?;
    }
    // Gives the commands their full names, `vfioctl-list`.
    command.build();
    let pages = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    for page in pages.chain([&command]) {
        Man::new(page.clone())
            .section("8")
            .generate_to(dir)
            .with_context(|| format!("write a man page into {}", dir.display()))?;
    }
    Ok(())
}

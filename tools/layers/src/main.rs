// SPDX-License-Identifier: GPL-2.0
//! `layers [directory]`: checks the tree in a directory, by default the current one, and prints
//! what is wrong. The exit status is 0 only if nothing is.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;

/// Prints what is wrong; true if nothing is.
fn check(top: &Path) -> Result<bool> {
    let report = layers::check(top)?;
    for finding in &report.findings {
        println!("{finding}");
    }
    for line in &report.summary {
        println!("{line}");
    }
    println!("{} findings", report.findings.len());
    Ok(report.findings.is_empty())
}

fn main() -> ExitCode {
    let top = env::args_os()
        .nth(1)
        .map_or(PathBuf::from("."), PathBuf::from);
    match check(&top) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Without a backtrace: it is a place in a file that is wrong, not this program.
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

// SPDX-License-Identifier: GPL-2.0
//! What the benchmark leaves: a table on the screen and in a file.

use std::path::Path;

use anyhow::{Context, Result};
use vfio_bench::table::{Table, Verdict};

/// Prints the table, what was missed and how many targets were met, and writes
/// the table to a file.
pub(crate) fn report(table: &Table, out: &Path) -> Result<Verdict> {
    let verdict = table.verdict();
    std::fs::write(out, format!("{table}\n\n{verdict}\n"))
        .with_context(|| format!("write {}", out.display()))?;
    println!("{table}");
    for missed in table.missed() {
        println!("MISSED: {missed}");
    }
    println!("table: {}", out.display());
    println!("{verdict}");
    Ok(verdict)
}

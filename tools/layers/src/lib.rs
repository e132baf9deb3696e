// SPDX-License-Identifier: GPL-2.0
//! Checks that the kernel modules are built in layers, as docs/architecture.md says.
//!
//! The steps: read all files ([`source`]); follow the `mod` items of both crates ([`modules`]), and
//! note what each module defines, imports and mentions ([`names`], [`walk`]); find out what that
//! means ([`resolve`]), so which file uses which ([`links`]); compare it with the tables ([`table`],
//! [`checks`]).
//!
//! A dependency is seen where it is written down as a path, and where a method is called that is in
//! another file than its type. Other calls of methods are not seen: whoever has a value got it from
//! a function or field that has its type, and somebody has named that.

mod cfg;
mod checks;
mod links;
mod modules;
mod names;
mod report;
mod resolve;
mod source;
mod table;
mod walk;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{anyhow, Context, Result};

use checks::{circles, direction, marks, rooms, types};
use links::Dependencies;
use modules::Crate;
pub use report::{Finding, Report};
use report::{DIRECTORY, DOCUMENT};
use source::Sources;
use table::Tables;

/// Checks the tree at `top`.
pub fn check(top: &Path) -> Result<Report> {
    let document = fs::read_to_string(top.join(DOCUMENT)).with_context(|| DOCUMENT.to_owned())?;
    let tables = Tables::parse(&document).map_err(|e| anyhow!("{DOCUMENT}:{e:#}"))?;
    let sources = Sources::read(&top.join(DIRECTORY))?;
    let crates = tables
        .plans
        .iter()
        .map(|plan| Crate::read(plan.root, &sources))
        .collect::<Result<Vec<_>>>()?;
    let built: Vec<_> = tables.plans.iter().zip(&crates).collect();

    let mut findings = BTreeSet::new();
    let mut summary = Vec::new();
    rooms::check(&sources, &built, &mut findings);
    for (plan, krate) in &built {
        let dependencies = Dependencies::find(krate);
        direction::check(plan, &dependencies, &mut findings);
        circles::check(&dependencies, &mut findings);
        marks::raw(plan, &dependencies, &mut findings);
        summary.push(format!(
            "{}: {} files in {} rooms, {} uses of one file by another",
            plan.module,
            krate.files().len(),
            plan.rooms.len(),
            dependencies.uses.len()
        ));
    }
    types::check(&built, &tables.twice, &mut findings)?;
    summary.push(marks::unsafe_sites(&sources, &built, &mut findings));
    Ok(Report { findings, summary })
}

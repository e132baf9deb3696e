// SPDX-License-Identifier: GPL-2.0
//! One name for one type: in the modules, and in the crate for drivers, whose readers are others.
//!
//! Definitions of which no configuration compiles two are one type. Others are allowed if the
//! table of such names has them, with the reason.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::{
    cfg::Condition,
    modules::Crate,
    report::{Finding, Place},
    table::{Plan, Twice},
};

/// Where a name is defined, and under which conditions: several if the file is part of several
/// modules.
type Definitions<'a> = BTreeMap<(&'a str, usize), Vec<&'a Condition>>;

pub(crate) fn check(
    built: &[(&Plan, &Crate)],
    twice: &[Twice],
    out: &mut BTreeSet<Finding>,
) -> Result<()> {
    // Who reads one of these reads the other names of it.
    let mut names: BTreeMap<(bool, &str), Definitions<'_>> = BTreeMap::new();
    for (plan, krate) in built {
        for module in &krate.modules {
            for defined in &module.names.types {
                let places = names.entry((plan.is_module(), &defined.name)).or_default();
                let place = places.entry((&module.file, defined.line));
                place.or_default().push(&defined.condition);
            }
        }
    }
    for ((_, name), places) in &names {
        let pairs = conflicts(places)?;
        let files: BTreeSet<_> = pairs.iter().flat_map(|(a, b)| [a.0, b.0]).collect();
        let allowed = twice.iter().find(|allowed| allowed.name == **name);
        let listed = |file| allowed.is_some_and(|a| a.files.iter().any(|other| other == file));
        let mut reported = BTreeSet::new();
        for (first, second) in pairs {
            if !(listed(first.0) && listed(second.0)) && reported.insert(second) {
                let (file, line) = first;
                let what = format!("`{name}` is also a type in rust_vfio/{file}:{line}");
                out.insert(Place::source(second.0, second.1).finding(what));
            }
        }
        for file in allowed.map_or(&[][..], |allowed| &allowed.files) {
            if !files.contains(&**file) {
                stale(name, file, allowed, out);
            }
        }
    }
    for allowed in twice {
        if !names.keys().any(|(_, name)| *name == allowed.name) {
            stale(&allowed.name, &allowed.files[0], Some(allowed), out);
        }
    }
    Ok(())
}

/// Reports a file in the table that has no type of which there is a second one.
fn stale(name: &str, file: &str, entry: Option<&Twice>, out: &mut BTreeSet<Finding>) {
    let what = format!("`{file}` has no `{name}` of which there is a second one");
    let line = entry.map_or(1, |entry| entry.line);
    out.insert(Place::table(line).finding(what));
}

/// A definition: its file and line.
type Definition<'a> = (&'a str, usize);

/// Returns the pairs of definitions that a configuration can compile both.
fn conflicts<'a>(places: &Definitions<'a>) -> Result<Vec<(Definition<'a>, Definition<'a>)>> {
    let mut found = Vec::new();
    for (&first, ours) in places {
        for (&second, theirs) in places.range(first..).skip(1) {
            let mut exclusive = true;
            for (a, b) in ours.iter().flat_map(|a| theirs.iter().map(move |b| (a, b))) {
                exclusive &= a.excludes(b)?;
            }
            if !exclusive {
                found.push((first, second));
            }
        }
    }
    Ok(found)
}

// SPDX-License-Identifier: GPL-2.0
//! What only marked rooms may do: name raw bindings, and contain `unsafe` as they like.

use std::collections::BTreeSet;

use crate::{
    links::Dependencies,
    modules::Crate,
    report::{Finding, Place},
    source::Sources,
    table::Plan,
};

/// How many `unsafe` sites there may be in a thousand lines, in all rooms without the mark
/// together.
const UNSAFE_PER_1000: usize = 3;

/// Checks that raw bindings are named in rooms with the mark only.
pub(crate) fn raw(plan: &Plan, dependencies: &Dependencies, out: &mut BTreeSet<Finding>) {
    for (file, raw) in &dependencies.raw {
        let Some((room, _)) = plan.room(file) else {
            continue;
        };
        if !room.raw {
            let what = format!(
                "`{}` is not marked `raw`, but names raw bindings: `{}`{}",
                room.name,
                raw.first.text,
                match raw.places {
                    1 => String::new(),
                    places => format!(" (the first of {places} places)"),
                }
            );
            out.insert(Place::source(file, raw.first.line).finding(what));
        }
    }
}

/// Checks how many `unsafe` sites there are in rooms without the mark, and returns a line that says
/// how many.
pub(crate) fn unsafe_sites(
    sources: &Sources,
    built: &[(&Plan, &Crate)],
    out: &mut BTreeSet<Finding>,
) -> String {
    let files: BTreeSet<&str> = built.iter().flat_map(|(_, krate)| krate.files()).collect();
    let counted: Vec<_> = files
        .into_iter()
        .filter(|file| {
            let mut rooms = built.iter().filter_map(|(plan, _)| plan.room(file));
            !rooms.any(|(room, _)| room.may_be_unsafe)
        })
        .map(|file| (file, &sources.rust[file]))
        .collect();
    let lines: usize = counted.iter().map(|(_, source)| source.lines).sum();
    let sites: usize = counted.iter().map(|(_, s)| s.unsafe_lines.len()).sum();
    if sites * 1000 > lines * UNSAFE_PER_1000 {
        for (file, source) in counted {
            if let Some(first) = source.unsafe_lines.first() {
                let what = format!(
                    "{} of the {sites} unsafe sites outside of rooms marked `unsafe`, in lines {:?}",
                    source.unsafe_lines.len(),
                    source.unsafe_lines
                );
                out.insert(Place::source(file, *first).finding(what));
            }
        }
    }
    format!(
        "{sites} unsafe sites in {lines} lines outside of rooms marked `unsafe`: \
         {} per 100, {} at most",
        hundredths(sites, lines),
        hundredths(UNSAFE_PER_1000, 1000),
    )
}

/// Returns `part` per hundred of `whole`, with two digits, rounded up: what is too much also looks
/// like that.
fn hundredths(part: usize, whole: usize) -> String {
    let value = (part * 10_000).div_ceil(whole.max(1));
    format!("{}.{:02}", value / 100, value % 100)
}

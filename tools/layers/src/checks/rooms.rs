// SPDX-License-Identifier: GPL-2.0
//! Every file is in a room of each module that it is part of, and every path of the tables leads to
//! files.

use std::collections::BTreeSet;

use crate::{
    modules::Crate,
    report::{Finding, Place},
    source::Sources,
    table::Plan,
};

/// The crate that re-exports what bindgen generates: Kbuild compiles it by itself.
const BINDINGS_CRATE: &str = "vfio_bindings.rs";

pub(crate) fn check(sources: &Sources, built: &[(&Plan, &Crate)], out: &mut BTreeSet<Finding>) {
    let mut used = BTreeSet::new();
    for file in sources.paths() {
        let rooms: Vec<_> = built
            .iter()
            .filter_map(|(plan, _)| plan.room(file))
            .collect();
        used.extend(rooms.iter().map(|(room, path)| (room.line, *path)));
        if rooms.is_empty() {
            out.insert(Place::source(file, 1).finding("this file is in no room".to_owned()));
        }
        let followed = built
            .iter()
            .any(|(_, krate)| krate.files().contains(&**file));
        if file.ends_with(".rs") && !followed && !file.ends_with(BINDINGS_CRATE) {
            let what = "no `mod` leads to this file, so it is not checked".to_owned();
            out.insert(Place::source(file, 1).finding(what));
        }
    }
    for (plan, krate) in built {
        for file in krate.files() {
            let elsewhere = built.iter().any(|(other, _)| other.room(file).is_some());
            if plan.room(file).is_none() && elsewhere {
                let what = format!("this file is part of {}, but in no room of it", plan.module);
                out.insert(Place::source(file, 1).finding(what));
            }
        }
        for room in &plan.rooms {
            for path in &room.paths {
                if !used.contains(&(room.line, path)) {
                    let what = format!("room `{}`: `{path}` is no file's place", room.name);
                    out.insert(Place::table(room.line).finding(what));
                }
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0
//! A room uses lower layers, and of its own layer only itself.

use std::{cmp::Ordering, collections::BTreeSet};

use crate::{
    links::Dependencies,
    report::{Finding, Place},
    table::Plan,
};

pub(crate) fn check(plan: &Plan, dependencies: &Dependencies, out: &mut BTreeSet<Finding>) {
    for ((from, to), link) in dependencies.all() {
        // What is in no room is reported by itself.
        let (Some((user, _)), Some((used, _))) = (plan.room(from), plan.room(to)) else {
            continue;
        };
        let why = match used.layer.cmp(&user.layer) {
            Ordering::Greater => "a higher layer",
            Ordering::Equal if used.line != user.line => "another room of the same layer",
            Ordering::Equal | Ordering::Less => continue,
        };
        let what = format!(
            "`{}` in layer {} uses {to} of `{}` in layer {}, {why}: `{}`",
            user.name, user.layer, used.name, used.layer, link.text
        );
        out.insert(Place::source(from, link.line).finding(what));
    }
}

// SPDX-License-Identifier: GPL-2.0
//! No file uses itself by way of others, not even inside of a room.

use std::{collections::BTreeSet, fmt::Write};

use petgraph::{
    algo::{astar, tarjan_scc},
    graphmap::DiGraphMap,
};

use crate::{
    links::Dependencies,
    report::{Finding, Place},
};

/// Reports short circles, so many that each file which is in one is in one of these.
pub(crate) fn check(dependencies: &Dependencies, out: &mut BTreeSet<Finding>) {
    let edges = dependencies.uses.keys();
    let graph: DiGraphMap<&str, ()> = edges.map(|(from, to)| (&**from, &**to)).collect();
    for mut files in tarjan_scc(&graph) {
        if files.len() < 2 {
            continue;
        }
        files.sort_unstable();
        let mut shown: BTreeSet<&str> = BTreeSet::new();
        for &file in &files {
            if shown.contains(file) {
                continue;
            }
            if let Some(circle) = shortest(&graph, file) {
                shown.extend(&circle);
                out.insert(finding(dependencies, &circle, files.len()));
            }
        }
    }
}

/// Returns a shortest way from a file back to itself, without repeating the file at the end.
fn shortest<'a>(graph: &DiGraphMap<&'a str, ()>, file: &'a str) -> Option<Vec<&'a str>> {
    let ways = graph.neighbors(file).filter_map(|next| {
        let way = astar(graph, next, |end| end == file, |_| 1, |_| 0);
        way.map(|(_, way)| way)
    });
    let mut way = ways.min_by_key(Vec::len)?;
    way.rotate_right(1);
    Some(way)
}

fn finding(dependencies: &Dependencies, circle: &[&str], all: usize) -> Finding {
    let mut what = format!(
        "a circle of {} files, of {all} that use each other in circles",
        circle.len()
    );
    let next = circle.iter().cycle().skip(1);
    let mut first = 1;
    for (at, (&from, &to)) in circle.iter().zip(next).enumerate() {
        let link = &dependencies.uses[&(from.to_owned(), to.to_owned())];
        if at == 0 {
            first = link.line;
        }
        let _ = write!(
            what,
            "\n    {from}:{} uses {to}: `{}`",
            link.line, link.text
        );
    }
    Place::source(circle[0], first).finding(what)
}

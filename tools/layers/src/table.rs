// SPDX-License-Identifier: GPL-2.0
//! The tables of docs/architecture.md that say what is checked.
//!
//! They stand between two comments. A table of rooms comes after a line that names its module; a
//! table of names that stand for several types has other columns. Own code, because a parser of
//! Markdown gives no line numbers of cells, and these tables are strict: no `|` in a cell.

use anyhow::{bail, ensure, Context, Result};

/// Where the tables begin and end.
const BEGIN: &str = "<!-- layers: begin -->";
const END: &str = "<!-- layers: end -->";

const ROOMS: [&str; 4] = ["Layer", "Room", "Files", "What it is"];
const TWICE: [&str; 3] = ["Name", "Files", "Why there are several"];

/// The modules, the crate for drivers, and the files of their crate roots.
pub(crate) const MODULES: [(&str, &str); 3] = [
    ("vfio.ko", "rust_vfio.rs"),
    ("vfio_iommu_type1.ko", "rust_type1.rs"),
    ("vfio", "rust_driver.rs"),
];

/// A room: files of one layer that belong together.
pub(crate) struct Room {
    /// A higher layer uses lower ones.
    pub(crate) layer: u32,
    pub(crate) name: String,
    /// Below `rust_vfio/`; a directory ends with `/`.
    pub(crate) paths: Vec<String>,
    /// It may name raw bindings.
    pub(crate) raw: bool,
    /// Its `unsafe` sites are not counted.
    pub(crate) may_be_unsafe: bool,
    /// The line of the table.
    pub(crate) line: usize,
}

/// The rooms of a module.
pub(crate) struct Plan {
    pub(crate) module: &'static str,
    /// The file of the crate root.
    pub(crate) root: &'static str,
    pub(crate) rooms: Vec<Room>,
}

impl Plan {
    /// Returns whether it is a module, and not a crate that other modules contain.
    pub(crate) fn is_module(&self) -> bool {
        self.module.ends_with(".ko")
    }

    /// Returns the room of a file, and the path in the table by which it is there: the longest one
    /// that the path of the file begins with.
    pub(crate) fn room(&self, file: &str) -> Option<(&Room, &str)> {
        let paths = self.rooms.iter().flat_map(|room| {
            let paths = room.paths.iter();
            paths.map(move |path| (room, path.as_str()))
        });
        paths
            .filter(|(_, path)| file == *path || path.ends_with('/') && file.starts_with(path))
            .max_by_key(|(_, path)| path.len())
    }
}

/// A name that may stand for several types.
pub(crate) struct Twice {
    pub(crate) name: String,
    /// The files that define it.
    pub(crate) files: Vec<String>,
    /// The line of the table.
    pub(crate) line: usize,
}

/// All tables.
pub(crate) struct Tables {
    /// In the order of [`MODULES`].
    pub(crate) plans: Vec<Plan>,
    pub(crate) twice: Vec<Twice>,
}

impl Tables {
    /// Reads the tables of a document. Errors begin with the line.
    pub(crate) fn parse(document: &str) -> Result<Self> {
        let mut plans = MODULES.map(|(module, root)| Plan {
            module,
            root,
            rooms: Vec::new(),
        });
        let mut twice = Vec::new();
        let mut above = "";
        let lines = (1..).zip(document.lines());
        let mut lines = lines.skip_while(|(_, l)| *l != BEGIN).peekable();
        ensure!(lines.next().is_some(), "1: there is no line `{BEGIN}`");
        loop {
            let Some((number, text)) = lines.next() else {
                bail!("1: there is no line `{END}`");
            };
            if text == END {
                break;
            }
            if !text.starts_with('|') {
                if !text.trim().is_empty() {
                    above = text;
                }
                continue;
            }
            let header = cells(text);
            // The line of dashes.
            lines.next();
            let mut rows = Vec::new();
            while let Some((number, text)) = lines.next_if(|(_, text)| text.starts_with('|')) {
                let row = cells(text);
                ensure!(
                    row.len() == header.len(),
                    "{number}: {} cells, but {} columns",
                    row.len(),
                    header.len()
                );
                rows.push((number, row));
            }
            if header == ROOMS {
                let named = |plan: &&mut Plan| above.contains(&format!("`{}`", plan.module));
                let plan = plans.iter_mut().find(named);
                let plan = plan.with_context(|| {
                    format!("{number}: the line above the table names no module in backquotes")
                })?;
                for (number, row) in rows {
                    let room = room(number, &row).with_context(|| format!("{number}"))?;
                    plan.add(room).with_context(|| format!("{number}"))?;
                }
            } else if header == TWICE {
                for (line, row) in rows {
                    let name = quoted(row[0]).with_context(|| format!("{line}"))?;
                    ensure!(!row[2].is_empty(), "{line}: the reason is missing");
                    twice.push(Twice {
                        name: name.concat(),
                        files: quoted(row[1]).with_context(|| format!("{line}"))?,
                        line,
                    });
                }
            } else {
                bail!("{number}: the columns are neither {ROOMS:?} nor {TWICE:?}");
            }
        }
        for plan in &plans {
            let module = plan.module;
            ensure!(
                !plan.rooms.is_empty(),
                "1: no table of rooms for `{module}`"
            );
        }
        Ok(Self {
            plans: plans.into(),
            twice,
        })
    }
}

impl Plan {
    fn add(&mut self, room: Room) -> Result<()> {
        for path in &room.paths {
            if let Some(other) = self.rooms.iter().find(|old| old.paths.contains(path)) {
                bail!("`{path}` is in `{}` already", other.name);
            }
        }
        self.rooms.push(room);
        Ok(())
    }
}

/// Reads a row of a table of rooms.
fn room(line: usize, row: &[&str]) -> Result<Room> {
    let mut new = Room {
        layer: row[0]
            .parse()
            .with_context(|| format!("`{}` is no number of a layer", row[0]))?,
        name: row[1].trim_matches('`').to_owned(),
        paths: quoted(row[2])?,
        raw: false,
        may_be_unsafe: false,
        line,
    };
    if let Some(rest) = row[3].strip_prefix('[') {
        let (marks, _) = rest.split_once(']').context("`[` without `]`")?;
        for mark in marks.split(',') {
            match mark.trim() {
                "raw" => new.raw = true,
                "unsafe" => new.may_be_unsafe = true,
                other => bail!("`{other}` is none of the marks `raw` and `unsafe`"),
            }
        }
    }
    Ok(new)
}

/// Returns the cells of a row.
fn cells(row: &str) -> Vec<&str> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|');
    row.split('|').map(str::trim).collect()
}

/// Returns what is in backquotes in a list separated by commas.
fn quoted(cell: &str) -> Result<Vec<String>> {
    cell.split(',')
        .map(|part| {
            let part = part.trim();
            let inside = part.strip_prefix('`').and_then(|p| p.strip_suffix('`'));
            inside
                .filter(|inside| !inside.is_empty())
                .map(str::to_owned)
                .with_context(|| format!("{part:?} is not in backquotes"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "text\n<!-- layers: begin -->\nFirst `vfio.ko`:\n\n\
        | Layer | Room | Files | What it is |\n|---|---|---|---|\n\
        | 1 | all | `rust_vfio.rs`, `a/`, `a/b/` | [raw] everything |\n\
        | 0 | low | `a/b.rs` | [raw, unsafe] |\n\n\
        Then `vfio_iommu_type1.ko`:\n\n\
        | Layer | Room | Files | What it is |\n|---|---|---|---|\n\
        | 1 | all | `rust_type1.rs` | No `unsafe` |\n\n\
        At last `vfio`:\n\n\
        | Layer | Room | Files | What it is |\n|---|---|---|---|\n\
        | 1 | all | `rust_driver.rs` | A crate |\n\n\
        | Name | Files | Why there are several |\n|---|---|---|\n\
        | `T` | `a.rs`, `b.rs` | because |\n\
        <!-- layers: end -->\n";

    #[test]
    fn rooms_and_names_are_read() {
        let after = "| Layer | of | another | kind |\n";
        let tables = Tables::parse(&format!("{GOOD}{after}")).unwrap();
        let [core, type1, driver] = &tables.plans[..] else {
            panic!("three plans");
        };
        assert_eq!((core.module, core.rooms.len()), ("vfio.ko", 2));
        assert_eq!((core.rooms[0].layer, core.rooms[0].line), (1, 7));
        assert!(core.rooms[0].raw && !core.rooms[0].may_be_unsafe);
        assert!(core.rooms[1].raw && core.rooms[1].may_be_unsafe);
        assert!(!type1.rooms[0].raw && !type1.rooms[0].may_be_unsafe);
        assert!(core.is_module() && !driver.is_module());
        assert_eq!(tables.twice[0].files, ["a.rs", "b.rs"]);
    }

    #[test]
    fn the_longest_path_wins() {
        let tables = Tables::parse(GOOD).unwrap();
        let of = |file| {
            tables.plans[0]
                .room(file)
                .map(|(room, path)| (room.layer, path))
        };
        assert_eq!(of("a/x.rs"), Some((1, "a/")));
        assert_eq!(of("a/b/x.rs"), Some((1, "a/b/")));
        assert_eq!(of("a/b.rs"), Some((0, "a/b.rs")));
        assert_eq!(of("a.rs"), None);
    }

    #[test]
    fn what_is_not_strict_is_refused() {
        for (good, bad, message) in [
            ("layers: begin", "begin", "there is no line"),
            ("layers: end", "end", "there is no line"),
            ("First `vfio.ko`", "First vfio.ko", "names no module"),
            (
                "At last `vfio`",
                "At last `vfio.ko`",
                "no table of rooms for `vfio`",
            ),
            ("[raw] ", "[war] ", "`war` is none of the marks"),
            ("[raw] ", "[raw ", "without `]`"),
            ("| 0 | low", "| low", "cells"),
            ("| 0 | low", "| x | low", "no number of a layer"),
            ("`a/b.rs`", "a/b.rs", "not in backquotes"),
            ("`a/b.rs`", "`a/`", "is in `all` already"),
            ("| because |", "| |", "reason"),
            ("| Why there are several |", "| Why |", "columns"),
        ] {
            assert!(GOOD.contains(good));
            let error = Tables::parse(&GOOD.replace(good, bad)).err().unwrap();
            let error = format!("{error:#}");
            assert!(error.contains(message), "{bad}: {error}");
        }
    }
}

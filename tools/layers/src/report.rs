// SPDX-License-Identifier: GPL-2.0
//! What the check says.

use std::{collections::BTreeSet, fmt};

/// The document with the tables.
pub(crate) const DOCUMENT: &str = "docs/architecture.md";
/// The directory of the modules.
pub(crate) const DIRECTORY: &str = "rust_vfio";

/// A line of a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    file: String,
    line: usize,
}

impl Place {
    /// A line of the modules.
    pub(crate) fn source(file: &str, line: usize) -> Self {
        Self {
            file: format!("{DIRECTORY}/{file}"),
            line,
        }
    }

    /// A line of the tables.
    pub(crate) fn table(line: usize) -> Self {
        Self {
            file: DOCUMENT.to_owned(),
            line,
        }
    }

    pub(crate) fn finding(self, what: String) -> Finding {
        Finding { place: self, what }
    }
}

/// Something that is not as it must be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    place: Place,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line } = &self.place;
        write!(f, "{file}:{line}: {}", self.what)
    }
}

/// The outcome of all checks.
#[derive(Debug)]
pub struct Report {
    /// What is wrong.
    pub findings: BTreeSet<Finding>,
    /// How much was looked at, in a few lines.
    pub summary: Vec<String>,
}

// SPDX-License-Identifier: GPL-2.0
//! What the benchmark measured, as the program in the VM tells it to the runner
//! on the host, and the table that the runner makes of it.

pub mod table;

use serde::{Deserialize, Serialize};

/// Begins a line of the program that holds a [`Measurement`].
pub const MARK: &str = "##bench ";

/// Whose work was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The kernel's own modules.
    C,
    /// Our modules.
    Rust,
    /// The kernel's iommufd, asked in its own way and not as a container.
    Iommufd,
    /// Nothing but the kernel functions that nobody can do without.
    Floor,
}

/// What must be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// At most this many times what C has.
    Ratio(f64),
    /// At most this, whatever C has.
    Bound(f64),
    /// Nothing: the row is there to compare others with.
    None,
}

/// A picture of many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chart {
    /// What a request takes, by the bytes that it is about.
    Size,
    /// What a request takes, by the number of mappings that there are.
    Mappings,
}

/// Where a row is in a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Which picture.
    pub chart: Chart,
    /// What is done: each has a line of its own.
    pub verb: String,
    /// How far to the right.
    pub x: f64,
}

/// A row of the table, as far as it is known before anything is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The work.
    pub work: String,
    /// What one of the numbers stands for: `call`, `mapping`, `bytes a page`.
    pub unit: String,
    /// What our modules must reach.
    pub target: Target,
    /// Where it is drawn, if anywhere.
    pub point: Option<Point>,
}

/// One number of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Where it belongs.
    pub row: Row,
    /// Whose it is.
    pub by: By,
    /// The number, or why there is none.
    pub value: Result<f64, String>,
    /// How often the IOMMU was told to forget what it caches, if that was counted.
    pub flushes: Option<f64>,
}

impl Measurement {
    /// The line that tells it.
    pub fn line(&self) -> serde_json::Result<String> {
        Ok(format!("{MARK}{}", serde_json::to_string(self)?))
    }

    /// Reads a line. `None` if it holds none.
    pub fn of_line(line: &str) -> Option<serde_json::Result<Self>> {
        line.strip_prefix(MARK).map(serde_json::from_str)
    }
}

/// For people who watch.
impl std::fmt::Display for Measurement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            row,
            by,
            value,
            flushes,
        } = self;
        let value = table::cell(value);
        write!(f, "{by:?}: {}, per {}: {value}", row.work, row.unit)?;
        match flushes {
            Some(flushes) => write!(f, ", {} flushes", table::count(*flushes)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        for value in [Ok(12.5), Err("EFAULT".to_owned())] {
            let measurement = Measurement {
                row: Row {
                    work: "map".to_owned(),
                    unit: "call".to_owned(),
                    target: Target::Ratio(0.9),
                    point: None,
                },
                by: By::Rust,
                value,
                flushes: Some(0.5),
            };
            let line = measurement.line().unwrap();
            assert_eq!(
                Measurement::of_line(&line).unwrap().unwrap(),
                measurement,
                "{line}"
            );
        }
        assert!(Measurement::of_line("ok 1 - something else").is_none());
    }
}

// SPDX-License-Identifier: GPL-2.0
//! The table: what C, ours, iommufd and the floor took, and whether that will do.

use std::fmt;

use comfy_table::{presets::ASCII_MARKDOWN, CellAlignment, Table as Cells};

use crate::{By, Chart, Measurement, Row, Target};

/// What somebody took for a row.
#[derive(Clone, Debug)]
struct Cost {
    value: Result<f64, String>,
    flushes: Option<f64>,
}

/// What is known of one row.
#[derive(Clone, Debug)]
struct Line {
    row: Row,
    c: Option<Cost>,
    rust: Option<Cost>,
    iommufd: Option<Cost>,
    floor: Option<Cost>,
}

/// All rows, in the order in which they were first heard of.
#[derive(Clone, Debug, Default)]
pub struct Table {
    lines: Vec<Line>,
}

/// A line of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What is done.
    pub verb: String,
    /// Who does it.
    pub by: By,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// How many targets were met and missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Reached.
    pub met: usize,
    /// Not reached, or not measured.
    pub missed: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} met, {} missed", self.met, self.missed)
    }
}

/// A number as good as none differs by less than half of the last digit that
/// the table shows.
const SLACK: f64 = 0.005;

/// What may not have come.
fn place(cost: &Option<Cost>) -> String {
    cost.as_ref()
        .map_or_else(|| "-".to_owned(), |cost| cell(&cost.value))
}

/// The number, if there is one.
fn number(cost: &Option<Cost>) -> Option<f64> {
    cost.as_ref()?.value.as_ref().ok().copied()
}

/// Flushes, if they were counted.
fn flushes(cost: &Option<Cost>) -> Option<f64> {
    cost.as_ref()?.flushes
}

impl Line {
    /// Ours by C's.
    fn ratio(&self) -> Option<f64> {
        match (number(&self.c), number(&self.rust)) {
            (Some(c), Some(rust)) if c > 0.0 => Some(rust / c),
            _ => None,
        }
    }

    /// Whether the target is reached. Where iommufd does the same work, ours must not
    /// take more than that either; and never may there be more flushes than in C.
    fn met(&self) -> bool {
        let ahead = match (number(&self.rust), number(&self.iommufd)) {
            (Some(rust), Some(iommufd)) => rust / iommufd < 1.0 + SLACK,
            _ => true,
        };
        let good = ahead && self.reached() && !self.flushes_more();
        good || self.row.target == Target::None
    }

    fn flushes_more(&self) -> bool {
        match (flushes(&self.c), flushes(&self.rust)) {
            (Some(c), Some(rust)) => rust >= c + SLACK,
            _ => false,
        }
    }

    fn reached(&self) -> bool {
        match self.row.target {
            Target::Ratio(most) => self.ratio().is_some_and(|ratio| ratio < most + SLACK),
            Target::Bound(most) => number(&self.rust).is_some_and(|rust| rust < most + SLACK),
            Target::None => true,
        }
    }

    /// Flushes of C, ours and iommufd, as far as there is something to tell.
    fn flushes(&self) -> String {
        let all = [&self.c, &self.rust, &self.iommufd].map(flushes);
        if all.iter().flatten().all(|flushes| *flushes == 0.0) {
            return "-".to_owned();
        }
        let last = if all[2].is_some() { 3 } else { 2 };
        let words = all[..last].iter().map(|flushes| match flushes {
            Some(flushes) => count(*flushes),
            None => "-".to_owned(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn cells(&self) -> [String; 10] {
        [
            self.row.work.clone(),
            self.row.unit.clone(),
            place(&self.c),
            place(&self.rust),
            place(&self.iommufd),
            place(&self.floor),
            match (self.row.target, self.ratio()) {
                (Target::Ratio(_), Some(ratio)) => format!("{ratio:.2}"),
                _ => "-".to_owned(),
            },
            match self.row.target {
                Target::Ratio(most) => format!("{most:.2}"),
                Target::Bound(most) => format!("{most:.2} for Rust"),
                Target::None => "-".to_owned(),
            },
            self.flushes(),
            match self.row.target {
                Target::None => "-",
                _ if self.met() => "met",
                _ => "**missed**",
            }
            .to_owned(),
        ]
    }
}

impl Table {
    /// Takes a number in.
    pub fn add(&mut self, measurement: Measurement) {
        let Measurement {
            row,
            by,
            value,
            flushes,
        } = measurement;
        let at = self
            .lines
            .iter()
            .position(|line| line.row == row)
            .unwrap_or_else(|| {
                self.lines.push(Line {
                    row,
                    c: None,
                    rust: None,
                    iommufd: None,
                    floor: None,
                });
                self.lines.len() - 1
            });
        let line = &mut self.lines[at];
        let place = match by {
            By::C => &mut line.c,
            By::Rust => &mut line.rust,
            By::Iommufd => &mut line.iommufd,
            By::Floor => &mut line.floor,
        };
        *place = Some(Cost { value, flushes });
    }

    /// The lines of a picture, as far as something was measured.
    pub fn curves(&self, chart: Chart) -> Vec<Curve> {
        let mut curves: Vec<Curve> = Vec::new();
        for line in &self.lines {
            let Some(point) = line.row.point.as_ref().filter(|it| it.chart == chart) else {
                continue;
            };
            for (by, cost) in [
                (By::C, &line.c),
                (By::Rust, &line.rust),
                (By::Iommufd, &line.iommufd),
            ] {
                let Some(value) = number(cost) else {
                    continue;
                };
                let same = |curve: &&mut Curve| curve.verb == point.verb && curve.by == by;
                match curves.iter_mut().find(same) {
                    Some(curve) => curve.points.push((point.x, value)),
                    None => curves.push(Curve {
                        verb: point.verb.clone(),
                        by,
                        points: vec![(point.x, value)],
                    }),
                }
            }
        }
        for curve in &mut curves {
            curve.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        curves
    }

    /// How it went.
    pub fn verdict(&self) -> Verdict {
        let lines = self.lines.iter();
        let (met, missed): (Vec<_>, Vec<_>) = lines
            .filter(|line| line.row.target != Target::None)
            .partition(|line| line.met());
        Verdict {
            met: met.len(),
            missed: missed.len(),
        }
    }

    /// What was missed, in words.
    pub fn missed(&self) -> impl Iterator<Item = String> + '_ {
        self.lines.iter().filter(|line| !line.met()).map(|line| {
            let [work, unit, c, rust, iommufd, _, ratio, target, flushes, _] = line.cells();
            format!(
                "{work} ({unit}): C {c}, Rust {rust}, iommufd {iommufd}, ratio {ratio}, \
                 at most {target}, flushes {flushes}"
            )
        })
    }
}

/// As a table in Markdown, which reads well on a terminal as well.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cells = Cells::new();
        cells.load_preset(ASCII_MARKDOWN);
        cells.set_header([
            "Work", "Per", "C", "Rust", "iommufd", "Floor", "Rust/C", "At most", "Flushes",
            "Target",
        ]);
        for line in &self.lines {
            cells.add_row(line.cells());
        }
        for column in cells.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{cells}")
    }
}

/// A number as people read it.
pub(crate) fn cell(value: &Result<f64, String>) -> String {
    match value {
        Err(why) => format!("fails: {why}"),
        Ok(value) if *value < 100.0 => format!("{value:.2}"),
        Ok(value) => grouped(&format!("{value:.0}")),
    }
}

/// How often something happened, on average.
pub(crate) fn count(times: f64) -> String {
    match times.fract() {
        0.0 => grouped(&format!("{times:.0}")),
        _ => cell(&Ok(times)),
    }
}

/// Digits in groups of three.
pub fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Point;

    fn table(target: Target, c: Result<f64, &str>, rust: Result<f64, &str>) -> Table {
        let mut table = Table::default();
        for (by, value) in [(By::C, c), (By::Rust, rust)] {
            table.add(Measurement {
                row: Row {
                    work: "map".to_owned(),
                    unit: "call".to_owned(),
                    target,
                    point: None,
                },
                by,
                value: value.map_err(str::to_owned),
                flushes: None,
            });
        }
        table
    }

    fn met(target: Target, c: Result<f64, &str>, rust: Result<f64, &str>) -> bool {
        table(target, c, rust).verdict() == Verdict { met: 1, missed: 0 }
    }

    #[test]
    fn ratios() {
        assert!(met(Target::Ratio(0.9), Ok(100.0), Ok(90.0)));
        assert!(!met(Target::Ratio(0.9), Ok(100.0), Ok(91.0)));
        // The same code twice differs by something.
        assert!(met(Target::Ratio(1.0), Ok(10_000.0), Ok(10_049.0)));
    }

    #[test]
    fn rows_without_a_target_do_not_count() {
        for rust in [Err("EFAULT"), Ok(3.0)] {
            let mut table = table(Target::None, Ok(2.0), rust);
            table.add(Measurement {
                row: table.lines[0].row.clone(),
                by: By::Iommufd,
                value: Ok(1.0),
                flushes: None,
            });
            assert_eq!(table.verdict(), Verdict::default());
            assert_eq!(table.missed().count(), 0);
        }
    }

    #[test]
    fn bounds_do_not_ask_for_c() {
        assert!(met(Target::Bound(2.0), Ok(1.0), Ok(2.0)));
        assert!(met(Target::Bound(2.0), Err("EFAULT"), Ok(2.0)));
        assert!(!met(Target::Bound(2.0), Ok(8.0), Ok(3.0)));
    }

    #[test]
    fn what_fails_misses() {
        assert!(!met(Target::Ratio(1.0), Ok(1.0), Err("EFAULT")));
        assert!(!met(Target::Ratio(1.0), Err("EFAULT"), Ok(1.0)));
        let table = table(Target::Ratio(1.0), Ok(1.0), Err("EFAULT"));
        assert!(table.to_string().contains("fails: EFAULT"));
        assert_eq!(table.missed().count(), 1);
    }

    #[test]
    fn iommufd_must_not_be_faster() {
        for (iommufd, verdict) in [(100.0, 1), (89.0, 0)] {
            let mut table = table(Target::Ratio(0.9), Ok(100.0), Ok(90.0));
            table.add(Measurement {
                row: table.lines[0].row.clone(),
                by: By::Iommufd,
                value: Ok(iommufd),
                flushes: None,
            });
            assert_eq!(table.verdict().met, verdict, "{table}");
        }
    }

    #[test]
    fn curves_are_sorted() {
        let mut all = Table::default();
        for (x, value) in [(1024.0, 3.0), (1.0, 2.0)] {
            let mut new = table(Target::Ratio(0.9), Ok(5.0), Ok(value));
            let mut line = new.lines.remove(0);
            line.row.point = Some(Point {
                chart: Chart::Size,
                verb: "map".to_owned(),
                x,
            });
            all.lines.push(line);
        }
        assert!(all.curves(Chart::Mappings).is_empty());
        let curves = all.curves(Chart::Size);
        assert_eq!(curves[0].points, [(1.0, 5.0), (1024.0, 5.0)]);
        assert_eq!((curves[1].by, &curves[1].verb[..]), (By::Rust, "map"));
        assert_eq!(curves[1].points, [(1.0, 2.0), (1024.0, 3.0)]);
    }

    #[test]
    fn more_flushes_than_c_miss() {
        for (rust, verdict) in [(3.0, 1), (2.5, 1), (4.0, 0)] {
            let mut table = table(Target::Ratio(0.9), Ok(100.0), Ok(90.0));
            table.lines[0].c.as_mut().unwrap().flushes = Some(3.0);
            table.lines[0].rust.as_mut().unwrap().flushes = Some(rust);
            assert_eq!(table.verdict().met, verdict, "{table}");
        }
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(cell(&Ok(7_940_123.0)), "7 940 123");
        assert_eq!(cell(&Ok(123.0)), "123");
        assert_eq!(cell(&Ok(16.25)), "16.25");
        assert_eq!(count(16_384.0), "16 384");
        assert_eq!(count(1.0), "1");
        assert_eq!(count(0.5), "0.50");
    }
}

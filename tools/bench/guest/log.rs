// SPDX-License-Identifier: GPL-2.0
//! Repeats work, takes the least of what it took, and tells that to the runner.

use anyhow::{Context, Result};
use rustix::io::Errno;
use vfio_bench::{By, Chart, Measurement, Point, Row, Target};

use crate::clock;

/// How often work is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// Once for its flushes, and then four times.
    Usual,
    /// Once for its flushes, and then once: for work that takes long.
    Few,
    /// Once, without flushes: for work that takes very long.
    One,
}

/// A row to be measured.
pub(crate) struct Spec {
    row: Row,
    count: f64,
}

/// A row in which each round is one `unit`, and that must not take more than C.
pub(crate) fn row(work: impl Into<String>, unit: &str) -> Spec {
    Spec {
        row: Row {
            work: work.into(),
            unit: unit.to_owned(),
            target: Target::Ratio(1.0),
            point: None,
        },
        count: 1.0,
    }
}

impl Spec {
    /// Each round is this many units.
    pub(crate) fn of(mut self, count: usize) -> Self {
        self.count = count as f64;
        self
    }

    /// It must not take more than this part of what C takes.
    pub(crate) fn ratio(mut self, most: f64) -> Self {
        self.row.target = Target::Ratio(most);
        self
    }

    /// It is drawn there as well.
    pub(crate) fn plotted(mut self, chart: Chart, verb: &str, x: usize) -> Self {
        self.row.point = Some(Point {
            chart,
            verb: verb.to_owned(),
            x: x as f64,
        });
        self
    }

    /// Whatever it takes.
    pub(crate) fn without_target(mut self) -> Self {
        self.row.target = Target::None;
        self
    }

    /// It must not take more than this, whatever C takes.
    pub(crate) fn bound(mut self, most: f64) -> Self {
        self.row.target = Target::Bound(most);
        self
    }
}

/// Where the numbers of some modules go.
pub(crate) struct Log {
    by: By,
    only: String,
}

impl Log {
    /// For rows whose work contains `only`.
    pub(crate) fn new(by: By, only: &str) -> Self {
        Self {
            by,
            only: only.to_owned(),
        }
    }

    /// Whether a row is wanted.
    pub(crate) fn wants(&self, spec: &Spec) -> bool {
        spec.row.work.contains(&self.only)
    }

    /// Whether one of some rows that belong together is wanted.
    pub(crate) fn wants_any(&self, rows: &[Spec]) -> bool {
        rows.iter().any(|row| self.wants(row))
    }

    /// Measures rows that belong together: a round tells one number for each.
    /// All are if one of them is wanted. Work that fails is told as such, and does
    /// not end the benchmark.
    pub(crate) fn measure<const N: usize>(
        &self,
        rows: [Spec; N],
        round: impl FnMut() -> Result<[u64; N]>,
    ) -> Result<()> {
        self.measure_rounds(rows, Rounds::Usual, round)
    }

    /// The same with another number of rounds.
    pub(crate) fn measure_rounds<const N: usize>(
        &self,
        rows: [Spec; N],
        rounds: Rounds,
        mut round: impl FnMut() -> Result<[u64; N]>,
    ) -> Result<()> {
        if !self.wants_any(&rows) {
            return Ok(());
        }
        let mut flushes = None;
        let least = (|| {
            if rounds != Rounds::One {
                // The floor has a clock of its own.
                flushes = match self.by {
                    By::Floor => round().map(|_| None),
                    _ => clock::counting_flushes(&mut round).map(Some),
                }?;
            }
            let mut least = round()?;
            if rounds == Rounds::Usual {
                for _ in 1..4 {
                    for (least, new) in least.iter_mut().zip(round()?) {
                        *least = (*least).min(new);
                    }
                }
            }
            Ok(least)
        })();
        for (at, spec) in rows.into_iter().enumerate() {
            let value = least.as_ref().map(|least| least[at] as f64 / spec.count);
            let flushes = flushes.map(|flushes| flushes[at] as f64 / spec.count);
            self.tell_all(spec, value, flushes)?;
        }
        Ok(())
    }

    /// Tells one number, or why there is none.
    pub(crate) fn tell(&self, spec: Spec, value: Result<f64, &anyhow::Error>) -> Result<()> {
        self.tell_all(spec, value, None)
    }

    fn tell_all(
        &self,
        spec: Spec,
        value: Result<f64, &anyhow::Error>,
        flushes: Option<f64>,
    ) -> Result<()> {
        let value = value.map_err(|error| {
            println!("# {}: {error:#}", spec.row.work);
            why(error)
        });
        let line = Measurement {
            row: spec.row,
            by: self.by,
            value,
            flushes,
        }
        .line()
        .context("write a measurement")?;
        println!("{line}");
        Ok(())
    }
}

/// The errors that are likely, by their names.
const NAMES: [(Errno, &str); 9] = [
    (Errno::FAULT, "EFAULT"),
    (Errno::INVAL, "EINVAL"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOENT, "ENOENT"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::NOTTY, "ENOTTY"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::PERM, "EPERM"),
];

/// An error in one word, if possible.
fn why(error: &anyhow::Error) -> String {
    let Some(errno) = error.downcast_ref::<Errno>() else {
        return format!("{error:#}");
    };
    match NAMES.iter().find(|(known, _)| known == errno) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("error {}", errno.raw_os_error()),
    }
}

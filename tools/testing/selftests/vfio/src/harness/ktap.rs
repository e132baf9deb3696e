// SPDX-License-Identifier: GPL-2.0
//! KTAP, the kernel's format for test results
//! (`Documentation/dev-tools/ktap.rst`).

use std::io::{self, Write};

use super::Verdict;

/// A report that is being written, line by line as results come.
pub(super) struct Report<W> {
    out: W,
    number: usize,
    planned: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl<W: Write> Report<W> {
    /// Begins a report of that many tests.
    pub(super) fn begin(mut out: W, planned: usize) -> io::Result<Self> {
        writeln!(out, "KTAP version 1\n1..{planned}")?;
        out.flush()?;
        Ok(Self {
            out,
            number: 0,
            planned,
            passed: 0,
            failed: 0,
            skipped: 0,
        })
    }

    /// Adds a result. What a test that failed has said comes before it.
    pub(super) fn result(&mut self, name: &str, verdict: &Verdict, said: &[u8]) -> io::Result<()> {
        self.number += 1;
        let number = self.number;
        match verdict {
            Verdict::Pass => {
                self.passed += 1;
                writeln!(self.out, "ok {number} {name}")?;
            }
            Verdict::Skip(reason) => {
                self.skipped += 1;
                writeln!(self.out, "ok {number} {name} # SKIP {}", one_line(reason))?;
            }
            Verdict::Fail | Verdict::Stuck => {
                self.failed += 1;
                for line in String::from_utf8_lossy(said).lines() {
                    writeln!(self.out, "# {}", line.trim_end())?;
                }
                writeln!(self.out, "not ok {number} {name}")?;
            }
        }
        self.out.flush()
    }

    /// Gives up before all tests ran.
    pub(super) fn bail_out(&mut self, reason: &str) -> io::Result<()> {
        writeln!(self.out, "Bail out! {reason}")?;
        self.out.flush()
    }

    /// Ends the report; whether all tests ran and none failed.
    pub(super) fn end(mut self) -> io::Result<bool> {
        let Self {
            passed,
            failed,
            skipped,
            ..
        } = self;
        writeln!(
            self.out,
            "# Totals: pass:{passed} fail:{failed} skip:{skipped}"
        )?;
        self.out.flush()?;
        Ok(self.failed == 0 && self.number == self.planned)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_plan_results_and_totals() {
        let mut out = Vec::new();
        let mut report = Report::begin(&mut out, 3).unwrap();
        report.result("a", &Verdict::Pass, b"noise").unwrap();
        report
            .result("b", &Verdict::Skip("no\ndevice".into()), b"")
            .unwrap();
        report
            .result("c", &Verdict::Fail, b"left: 1\nright: 2\n")
            .unwrap();
        assert!(!report.end().unwrap());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "KTAP version 1\n1..3\nok 1 a\nok 2 b # SKIP no device\n# left: 1\n# right: 2\n\
             not ok 3 c\n# Totals: pass:1 fail:1 skip:1\n"
        );
    }

    #[test]
    fn a_report_that_ends_early_is_no_success() {
        let mut out = Vec::new();
        let mut report = Report::begin(&mut out, 2).unwrap();
        report.result("a", &Verdict::Pass, b"").unwrap();
        assert!(!report.end().unwrap());
    }
}

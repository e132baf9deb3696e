// SPDX-License-Identifier: GPL-2.0
//! Counts test results in TAP and KTAP output.
//!
//! A result with results nested below it (indented by two spaces more) is a
//! summary and not a test. A plan that promises more tests than came is as
//! many failures; so is a program that ends badly without a failed test.
//!
//! Own code, because the published TAP parsers know neither KTAP's nesting nor
//! output of the program under test between the lines.

use std::ops::AddAssign;

use regex::Regex;

/// Passed, failed, skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The plan and the results seen on one level of nesting.
#[derive(Default)]
struct Level {
    indent: usize,
    planned: Option<usize>,
    results: usize,
}

/// The results of one program.
pub(crate) struct Parser {
    result: Regex,
    plan: Regex,
    levels: Vec<Level>,
    totals: Totals,
    failures: Vec<String>,
}

impl Parser {
    pub(crate) fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            result: Regex::new(r"^( *)(not )?ok \d+(?: -)?\s*(.*)$")?,
            plan: Regex::new(r"^( *)1\.\.(\d+)")?,
            levels: Vec::new(),
            totals: Totals::default(),
            failures: Vec::new(),
        })
    }

    /// Takes the next line of output.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(plan) = self.plan.captures(line) {
            let planned = plan[2].parse().ok();
            self.level(plan[1].len()).planned = planned;
        } else if let Some(result) = self.result.captures(line) {
            let indent = result[1].len();
            // Closing deeper levels: if there were any, this is their summary.
            let summary = self.close_below(indent);
            self.level(indent).results += 1;
            if summary {
                return;
            }
            let text = &result[3];
            if result.get(2).is_some() {
                self.fail(text.to_owned());
            } else if text.to_ascii_uppercase().contains("# SKIP") {
                self.totals.skipped += 1;
            } else {
                self.totals.passed += 1;
            }
        }
    }

    /// Ends the program. `status` is its exit status.
    pub(crate) fn finish(mut self, name: &str, status: i32) -> (Totals, Vec<String>) {
        while let Some(level) = self.levels.pop() {
            self.missing(&level);
        }
        // 4 is how a kernel selftest says that it was skipped as a whole.
        if status == 4 && self.totals == Totals::default() {
            self.totals.skipped += 1;
        } else if status != 0 && self.totals.failed == 0 {
            self.fail(format!("{name}: exit status {status}"));
        } else if self.totals == Totals::default() {
            // A program without results, such as the demo, is one test.
            self.totals.passed += 1;
        }
        (self.totals, self.failures)
    }

    fn fail(&mut self, what: String) {
        self.totals.failed += 1;
        self.failures.push(what);
    }

    fn level(&mut self, indent: usize) -> &mut Level {
        if self.levels.last().is_none_or(|last| last.indent < indent) {
            self.levels.push(Level {
                indent,
                ..Level::default()
            });
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    /// Closes the levels that are indented more; true if one held results.
    fn close_below(&mut self, indent: usize) -> bool {
        let mut had_results = false;
        while self.levels.last().is_some_and(|last| last.indent > indent) {
            if let Some(level) = self.levels.pop() {
                had_results |= level.results > 0;
                self.missing(&level);
            }
        }
        had_results
    }

    fn missing(&mut self, level: &Level) {
        for number in level.results..level.planned.unwrap_or(0) {
            self.fail(format!(
                "test {} was planned and did not report",
                number + 1
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Parser, Totals};

    fn count(text: &str, status: i32) -> Totals {
        let mut parser = Parser::new().unwrap();
        text.lines().for_each(|line| parser.line(line));
        parser.finish("program", status).0
    }

    fn totals(passed: usize, failed: usize, skipped: usize) -> Totals {
        Totals {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn flat() {
        let text = "TAP version 13\n1..3\n# note\nok 1 a.b\nnot ok 2 c\nok 3 d # SKIP no device\n";
        assert_eq!(count(text, 1), totals(1, 1, 1));
    }

    #[test]
    fn nested_summaries_are_not_tests() {
        let text = "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 a\n  not ok 2 b\n\
                    not ok 1 first\n  1..1\n  ok 1 c\nok 2 second\n";
        assert_eq!(count(text, 1), totals(2, 1, 0));
    }

    #[test]
    fn missing_results_fail() {
        assert_eq!(count("1..3\nok 1 a\n", 0), totals(1, 2, 0));
        assert_eq!(count("1..1\n  1..2\n  ok 1 a\n", 0), totals(1, 2, 0));
    }

    #[test]
    fn exit_status_counts() {
        assert_eq!(count("1..1\nok 1 a\n", 137), totals(1, 1, 0));
        assert_eq!(count("1..1\nnot ok 1 a\n", 1), totals(0, 1, 0));
        assert_eq!(count("hello\n", 0), totals(1, 0, 0));
        assert_eq!(count("", 4), totals(0, 0, 1));
    }
}

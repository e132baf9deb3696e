// SPDX-License-Identifier: GPL-2.0
//! The results of the tests that ran on the host, from what `cargo test` said.

use std::path::Path;

use anyhow::{Context, Result};

use crate::run::Outcome;

/// Adds the results in `log`, whose last line is `exit status N`.
pub(crate) fn add(outcome: &mut Outcome, log: &Path) -> Result<()> {
    let text = std::fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    count(outcome, &text);
    Ok(())
}

fn count(outcome: &mut Outcome, text: &str) {
    // "test result: ok. 11 passed; 0 failed; 0 ignored; ..."
    let mut failed = 0;
    for line in text
        .lines()
        .filter(|line| line.starts_with("test result: "))
    {
        let words: Vec<&str> = line.split([' ', ';']).collect();
        let number = |what: &str| -> usize {
            let at = words.iter().position(|word| *word == what);
            at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok())
                .unwrap_or(0)
        };
        outcome.totals.passed += number("passed");
        outcome.totals.skipped += number("ignored");
        failed += number("failed");
    }
    for _ in 0..failed {
        outcome.fail("a test on the host");
    }
    // A crate that does not compile has no results at all.
    if failed == 0 && !text.trim_end().ends_with("exit status 0") {
        outcome.fail("the tests on the host did not build");
    }
}

#[cfg(test)]
mod tests {
    use super::count;
    use crate::run::Outcome;

    #[test]
    fn results_add_up() {
        let line = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        let mut outcome = Outcome::default();
        count(&mut outcome, &format!("{line}\n{line}\nexit status 0\n"));
        assert_eq!(outcome.totals.to_string(), "6 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn what_does_not_build_fails() {
        let mut outcome = Outcome::default();
        count(&mut outcome, "error: could not compile\nexit status 101\n");
        assert_eq!(outcome.totals.failed, 1);
    }
}

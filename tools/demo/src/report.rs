// SPDX-License-Identifier: GPL-2.0
//! What the reader sees: numbered steps, and a table of them at the end.
//!
//! The table is TAP, so that the VM's runner can count the steps.

use anyhow::Result;

/// The steps that were done so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Title, and the error if it went wrong.
    steps: Vec<(&'static str, Option<String>)>,
}

/// Prints a line that belongs to the running step.
macro_rules! say {
    ($($arg:tt)*) => { println!("     {}", format_args!($($arg)*)) };
}
pub(crate) use say;

impl Report {
    /// Does a step, and tells how it went. `about` explains it, in lines of less
    /// than 75 characters.
    pub(crate) fn step<T>(
        &mut self,
        title: &'static str,
        about: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        println!("\n[{:2}] {title}", self.steps.len() + 1);
        about.lines().for_each(|line| say!("{line}"));
        let result = work();
        let error = result.as_ref().err().map(|error| format!("{error:#}"));
        match &error {
            None => say!("-> ok"),
            Some(error) => say!("-> FAILED: {error}"),
        }
        self.steps.push((title, error));
        result
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("\nReport");
        for (number, (title, error)) in (1..).zip(&self.steps) {
            match error {
                None => println!("ok {number:<2} - {title}"),
                Some(error) => println!("not ok {number} - {title}: {error}"),
            }
        }
        match self.steps.last() {
            Some((_, None)) => println!("All {} steps went as they must.", self.steps.len()),
            _ => println!("The demonstration stopped there; nothing after it was tried."),
        }
    }
}

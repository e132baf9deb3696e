// SPDX-License-Identifier: GPL-2.0
//! `vfioctl doctor`: whether the machine has what VFIO needs.

mod hugepages;
mod interrupts;
mod iommu;
mod memlock;
mod messages;
mod modules;

use anyhow::Result;
use serde::Serialize;

use crate::{group::GROUPS, output::Format, root::Root, Verdict};

pub(crate) use iommu::why_none as no_iommu;

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Problem,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    /// What it is about.
    topic: &'static str,
    level: Level,
    /// What was found, in a sentence.
    text: String,
    /// What to do.
    todo: Option<String>,
}

impl Check {
    fn ok(topic: &'static str, text: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Ok,
            text: text.into(),
            todo: None,
        }
    }

    fn warning(topic: &'static str, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Warning,
            text: text.into(),
            todo: Some(todo.into()),
        }
    }

    fn problem(topic: &'static str, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            ..Self::warning(topic, text, todo)
        }
    }

    fn text(&self) -> String {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        };
        let todo = self.todo.iter();
        let todo: String = todo.map(|todo| format!("\n{:21}-> {todo}", "")).collect();
        format!("{level:<9}{:<12}{}{todo}", self.topic, self.text)
    }
}

/// All results.
#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
}

/// Makes all checks.
pub(crate) fn run(root: &Root, format: Format) -> Result<Verdict> {
    let messages = messages::Messages::read(root);
    let mut checks = iommu::checks(root);
    // Without an IOMMU nothing can translate interrupts.
    if !root.names(GROUPS).is_empty() {
        checks.extend(interrupts::checks(root, &messages));
    }
    checks.extend(modules::checks(root));
    checks.extend(memlock::checks(root));
    checks.extend(hugepages::checks(root));
    checks.extend(messages.checks());
    let report = Report { checks };
    format.print(&report, || {
        let texts: Vec<_> = report.checks.iter().map(Check::text).collect();
        texts.join("\n")
    })?;
    let has_problem = |check: &Check| check.level == Level::Problem;
    Ok(match report.checks.iter().any(has_problem) {
        true => Verdict::Trouble,
        false => Verdict::Fine,
    })
}

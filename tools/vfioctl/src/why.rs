// SPDX-License-Identifier: GPL-2.0
//! `vfioctl why`.

mod rules;

use anyhow::Result;
use serde::Serialize;

use crate::{
    machine::{Machine, Target},
    output::Format,
    root::Root,
    Verdict,
};

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// Whether it keeps VFIO from the device.
    in_the_way: bool,
    /// What it is, in a sentence.
    text: String,
    /// What to do: a command, or a sentence.
    todo: Option<String>,
}

impl Finding {
    fn fine(text: impl Into<String>) -> Self {
        Self {
            in_the_way: false,
            text: text.into(),
            todo: None,
        }
    }

    fn obstacle(text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            in_the_way: true,
            text: text.into(),
            todo: Some(todo.into()),
        }
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    target: &'a str,
    /// Whether a program of this user can open it now.
    usable: bool,
    findings: Vec<Finding>,
}

impl Answer<'_> {
    fn text(&self) -> String {
        let verdict = if self.usable { "can" } else { "cannot" };
        let mut lines = vec![format!("{}: a program {verdict} use it now.", self.target)];
        for finding in &self.findings {
            let mark = if finding.in_the_way { '!' } else { ' ' };
            lines.push(format!("{mark} {}", finding.text));
            lines.extend(finding.todo.iter().map(|todo| format!("      {todo}")));
        }
        lines.join("\n")
    }
}

/// Explains.
pub(crate) fn run(root: &Root, format: Format, name: &str) -> Result<Verdict> {
    let machine = Machine::read(root);
    let findings = match machine.find(name)? {
        Target::Device(device) => rules::device(root, &machine, device),
        Target::Group(group) => rules::group(root, &machine, group),
    };
    let answer = Answer {
        target: name,
        usable: findings.iter().all(|finding| !finding.in_the_way),
        findings,
    };
    format.print(&answer, || answer.text())?;
    Ok(match answer.usable {
        true => Verdict::Fine,
        false => Verdict::Trouble,
    })
}

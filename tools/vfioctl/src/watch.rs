// SPDX-License-Identifier: GPL-2.0
//! `vfioctl watch`: a table of open files of VFIO.

use std::{thread, time::Duration};

use anyhow::Result;
use serde::Serialize;

use crate::{
    holders::{Holders, Kind, VfioFile},
    output::{or_dash, size, table, Format},
    process::{Limit, Memory, OpenFiles},
    root::Root,
};

/// Moves to the first place of a terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// One file, and the memory of the process that has it.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    file: VfioFile,
    memory: Memory,
}

/// What was seen at one time.
#[derive(Debug, Serialize)]
struct Picture {
    files: Vec<Line>,
    hidden_processes: usize,
}

impl Line {
    fn read(root: &Root, mut file: VfioFile) -> Self {
        let memory = Memory::of(root, &file.process.pid.to_string());
        // The C modules show the state of a device there, if debugfs is mounted.
        if let (Kind::Device(Some(name)), None) = (&file.kind, &file.info.migration_state) {
            let path = format!("/sys/kernel/debug/vfio/{name}/migration/state");
            file.info.migration_state = root.read(path);
        }
        Self { file, memory }
    }

    fn cells(&self) -> Vec<String> {
        let info = &self.file.info;
        let device = info.device_name();
        let what = match &self.file.kind {
            Kind::Container => "container".to_owned(),
            Kind::Group(number) => format!("group {number}"),
            Kind::Node(name) => format!("device {} ({name})", device.unwrap_or("?")),
            Kind::Device(_) => format!("device {}", device.unwrap_or("?")),
            Kind::Iommufd => "iommufd".to_owned(),
        };
        let state = match &info.busy {
            Some(_) => Some("busy"),
            None => [&info.backend, &info.attached, &info.migration_state]
                .into_iter()
                .find_map(|state| state.as_deref()),
        };
        let limit = match (self.memory.exempt, self.memory.limit) {
            (true, _) => Some(Limit::Unlimited),
            (false, limit) => limit,
        };
        vec![
            self.file.process.pid.to_string(),
            self.file.process.comm.clone(),
            what,
            or_dash(state),
            or_dash(info.mappings),
            or_dash(info.mapped_bytes.map(size)),
            or_dash(info.pinned_bytes.map(size)),
            or_dash(info.entries_left),
            or_dash(info.dirty_tracking.as_ref()),
            or_dash(self.memory.locked_bytes.map(size)),
            or_dash(self.memory.pinned_bytes.map(size)),
            or_dash(limit),
        ]
    }
}

impl Picture {
    fn take(root: &Root) -> Self {
        let holders = Holders::among(root, &OpenFiles::read(root));
        Self {
            files: holders
                .files
                .into_iter()
                .map(|file| Line::read(root, file))
                .collect(),
            hidden_processes: holders.hidden,
        }
    }

    fn text(&self) -> String {
        const HEADER: [&str; 12] = [
            "PID", "COMMAND", "FILE", "STATE", "MAPPINGS", "MAPPED", "PINNED", "LEFT", "DIRTY",
            "VmLck", "VmPin", "LIMIT",
        ];
        let mut text = match self.files.is_empty() {
            true => "Nobody has a file of VFIO open.".to_owned(),
            false => table(&HEADER, self.files.iter().map(Line::cells)),
        };
        if self.hidden_processes > 0 {
            text += &format!(
                "\n\n{} processes did not show their files: only root sees all.",
                self.hidden_processes
            );
        }
        text
    }
}

/// Shows the table once, or until the program is ended.
pub(crate) fn run(root: &Root, format: Format, interval: u64, once: bool) -> Result<()> {
    loop {
        let picture = Picture::take(root);
        if once {
            return format.print(&picture, || picture.text());
        }
        format.print_one_of_many(&picture, || format!("{CLEAR}{}", picture.text()))?;
        thread::sleep(Duration::from_secs(interval));
    }
}

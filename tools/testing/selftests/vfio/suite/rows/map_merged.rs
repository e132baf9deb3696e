// SPDX-License-Identifier: GPL-2.0
//! Pages of equal content, which the kernel merges into one (KSM): row F197.

use std::path::{Path, PathBuf};

use anyhow::Context;
use vfio_selftests::{container::READ_WRITE, memory::Memory, sysfs, target::wait_for, uapi, PAGE};

use super::{
    map::IOVA,
    map_cow::{at, Bench, LEN},
};
use crate::{
    check::Books,
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F197_merged_before_mapping.limit(120),
    F197_merging_while_mapped.limit(120),
];

const PAGES: usize = 4;

/// The kernel's thread that merges pages, at work.
struct Merger(());

impl Merger {
    fn file(name: &str) -> PathBuf {
        Path::new("/sys/kernel/mm/ksm").join(name)
    }

    fn start() -> anyhow::Result<Self> {
        if !Self::file("run").exists() {
            return skip("this kernel merges no pages");
        }
        sysfs::write(Self::file("pages_to_scan"), "1000")?;
        sysfs::write(Self::file("sleep_millisecs"), "1")?;
        sysfs::write(Self::file("run"), "1")?;
        Ok(Self(()))
    }

    /// Waits until it has looked at all pages some more times.
    fn wait_for_scans(&self, times: u64) -> TestResult {
        let scans = || sysfs::read_number(Self::file("full_scans"));
        let before = scans()?;
        wait_for("more scans", || {
            scans().is_ok_and(|now| now >= before + times)
        })
    }
}

impl Drop for Merger {
    fn drop(&mut self) {
        // Each page gets its own copy again, and the thread sleeps.
        for what in ["2", "0"] {
            if let Err(error) = sysfs::write(Self::file("run"), what) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Some pages of equal content, which may be merged.
fn equal_pages() -> anyhow::Result<Memory> {
    let memory = Memory::anonymous(PAGES * PAGE)?;
    memory.fill(1);
    memory
        .advise_part(0, memory.len(), rustix::mm::Advice::LinuxMergeable)
        .context("let them be merged")?;
    Ok(memory)
}

/// How many different frames there are.
fn different(mut frames: Vec<u64>) -> usize {
    frames.sort_unstable();
    frames.dedup();
    frames.len()
}

/// Process and device have the same pages, and each page is one of its own.
fn apart(bench: &Bench, memory: &Memory, flags: u32) -> TestResult {
    memory.write(0, &[2; LEN]);
    assert_eq!(bench.finds(at(0))?, 2);
    assert_eq!(bench.finds(at(1))?, 1);
    if flags == READ_WRITE {
        bench.writes(at(1), 3)?;
        assert_eq!(memory.read(PAGE, LEN), [3; LEN]);
        assert_eq!(memory.read(2 * PAGE, LEN), [1; LEN]);
        memory.write(PAGE, &[1; LEN]);
    }
    memory.write(0, &[1; LEN]);
    Ok(())
}

fn F197_merged_before_mapping() -> TestResult {
    let bench = Bench::new()?;
    let merger = Merger::start()?;
    for flags in [uapi::DMA_MAP_FLAG_READ, READ_WRITE] {
        let memory = equal_pages()?;
        wait_for("the pages to be merged", || {
            memory.frames().is_ok_and(|frames| different(frames) == 1)
        })?;
        let books = Books::open()?;
        bench
            .container()
            .map_part(&memory, 0, memory.len(), IOVA, flags)?;
        books.say(PAGES as i64, PAGES as i64);
        let frames = memory.frames()?;
        assert_eq!(different(frames.clone()), PAGES, "some are still merged");
        apart(&bench, &memory, flags)?;
        merger.wait_for_scans(3)?;
        assert_eq!(memory.frames()?, frames, "they are merged again");
        bench.container().unmap(IOVA, memory.len() as u64)?;
        books.say(0, 0);
        // Now they are.
        wait_for("the pages to be merged again", || {
            memory.frames().is_ok_and(|frames| different(frames) == 1)
        })?;
    }
    Ok(())
}

fn F197_merging_while_mapped() -> TestResult {
    let bench = Bench::new()?;
    for flags in [uapi::DMA_MAP_FLAG_READ, READ_WRITE] {
        let memory = equal_pages()?;
        let frames = memory.frames()?;
        bench
            .container()
            .map_part(&memory, 0, memory.len(), IOVA, flags)?;
        let merger = Merger::start()?;
        merger.wait_for_scans(3)?;
        assert_eq!(memory.frames()?, frames);
        apart(&bench, &memory, flags)?;
        bench.container().unmap(IOVA, memory.len() as u64)?;
    }
    Ok(())
}

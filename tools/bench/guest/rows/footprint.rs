// SPDX-License-Identifier: GPL-2.0
//! What the kernel remembers of mappings, in bytes: what the slab caches and
//! the area for large allocations grow by. Page tables are not in it; they are
//! the same for everybody.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::{Memory, HUGE_2M},
    sysfs, PAGE,
};

use crate::{
    log::{row, Log, Spec},
    stage::{Open, Stage, IOVA, SMALL},
};

/// Enough of them that a page more or less does not matter.
const HUGE_MAPPINGS: usize = 4096;
/// The same memory several times, for the same reason.
const SMALL_MAPPINGS: usize = 16;

/// What a page may take: a byte, and the mapping's part.
const PAGE_BYTES: f64 = 1.1;

/// Bytes that the kernel has allocated for itself, without what it keeps for
/// later.
fn allocated() -> Result<f64> {
    // Time to free what waits for it.
    thread::sleep(Duration::from_millis(200));
    for cache in sysfs::list("/sys/kernel/slab") {
        // Some are other names of the same.
        if !cache.is_symlink() {
            sysfs::write(cache.join("shrink"), "1")?;
        }
    }
    // Adds what each processor has counted for itself.
    sysfs::read("/proc/sys/vm/stat_refresh")?;
    let text = sysfs::read("/proc/meminfo")?;
    let kib = |key: &str| -> Result<f64> {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
            .with_context(|| format!("no {key} in /proc/meminfo"))
    };
    Ok((kib("Slab")? + kib("VmallocUsed")?) * 1024.0)
}

/// Maps so many parts of memory of `size` bytes each, and tells what that added.
fn measure(
    log: &Log,
    spec: Spec,
    units: usize,
    memory: &Memory,
    size: usize,
    count: usize,
) -> Result<()> {
    if !log.wants(&spec) {
        return Ok(());
    }
    let open = Open::edu()?;
    let fill = |container: &Container| {
        (0..count).try_for_each(|n| {
            let at = n * size;
            container.map_part(
                memory,
                at % memory.len(),
                size,
                IOVA + at as u64,
                READ_WRITE,
            )
        })
    };
    let value = (|| {
        // Page tables and whatever else stays are there after the first time.
        fill(open.container())?;
        open.container().unmap_all()?;
        // Asking takes memory too, the first time.
        allocated()?;
        let before = allocated()?;
        fill(open.container())?;
        let after = allocated()?;
        Ok((after - before) / units as f64)
    })();
    log.tell(spec, value.as_ref().copied())
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    measure(
        log,
        row(
            "memory for a mapping of a 2 MiB huge page",
            "mapping, bytes",
        ),
        HUGE_MAPPINGS,
        &stage.hugetlb,
        HUGE_2M,
        HUGE_MAPPINGS,
    )?;
    measure(
        log,
        row("memory for 64 MiB of scattered 4 KiB pages", "page, bytes").bound(PAGE_BYTES),
        SMALL_MAPPINGS * SMALL / PAGE,
        &stage.scattered,
        SMALL,
        SMALL_MAPPINGS,
    )
}

// SPDX-License-Identifier: GPL-2.0
//! The clock: how many instructions the machine has executed. In a round that
//! counts flushes it is how often the kernel has told the IOMMU to forget what it
//! caches, and so the same code of a row tells both.
//!
//! The kernel tells the IOMMU by writing to [`TAIL`]. A watchpoint of the processor
//! counts that, and takes a thousand instructions each time; so it is there only in
//! rounds that do not count instructions.

use std::{
    arch::x86_64::_rdtsc,
    sync::{
        atomic::{AtomicBool, Ordering},
        Mutex, OnceLock,
    },
};

use anyhow::{Context, Result};
use perf_event::{events::Breakpoint, Builder, Counter};
use vfio_selftests::sysfs;

/// The register of an Intel IOMMU that says how far its queue of commands goes: where it
/// is, from the first register on. The kernel waits until what it has added is done.
const TAIL: u64 = 0x88;

/// Where that is.
static FOUND: OnceLock<u64> = OnceLock::new();

/// Whether the clock counts flushes now.
static COUNTING: AtomicBool = AtomicBool::new(false);
/// What counts them then.
static FLUSHES: Mutex<Option<Counter>> = Mutex::new(None);

/// Instructions since the machine was started, or flushes.
fn now() -> u64 {
    if COUNTING.load(Ordering::Relaxed) {
        return flushes();
    }
    // QEMU with `-icount shift=0` lets each instruction take a nanosecond, and the
    // counter of a processor count these.
    // SAFETY: Every x86-64 processor has this instruction.
    unsafe { _rdtsc() }
}

#[cold]
fn flushes() -> u64 {
    let mut counter = FLUSHES.lock().expect("nobody panics with it");
    let counter = counter.as_mut().expect("there is one while it counts");
    counter.read().expect("read a counter")
}

/// The instructions that some work took, or its flushes.
pub(crate) fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<u64, E> {
    let start = now();
    let result = work();
    let end = now();
    result.map(|_| end - start)
}

/// Does work in which [`timed`] tells flushes.
pub(crate) fn counting_flushes<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    /// Also ends it when something panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            COUNTING.store(false, Ordering::Relaxed);
        }
    }
    let tail = *FOUND.get().context("nothing was prepared")?;
    let mut builder = Builder::new(Breakpoint::write(tail, 4));
    // Whoever does it: the work may leave something to a thread of the kernel.
    builder.exclude_kernel(false).any_pid().one_cpu(0);
    let mut counter = builder.build().context("count flushes")?;
    counter.enable().context("count flushes")?;
    *FLUSHES.lock().expect("nobody panics with it") = Some(counter);
    COUNTING.store(true, Ordering::Relaxed);
    let _end = End;
    let result = work();
    *FLUSHES.lock().expect("nobody panics with it") = None;
    result
}

/// Finds out where the kernel has [`TAIL`].
pub(crate) fn prepare() -> Result<()> {
    let registers = sysfs::read("/sys/class/iommu/dmar0/intel-iommu/address")?;
    // Root is told the true addresses.
    sysfs::write("/proc/sys/kernel/kptr_restrict", "1")?;
    let areas = sysfs::read("/proc/vmallocinfo")?;
    let here = format!("phys=0x{registers:0>16}");
    let start = areas
        .lines()
        .find(|area| area.contains(&here))
        .and_then(|area| area.strip_prefix("0x")?.split_once('-'))
        .with_context(|| format!("no mapping of {registers} in:\n{areas}"))?
        .0;
    let start = u64::from_str_radix(start, 16)?;
    FOUND.get_or_init(|| start + TAIL);
    Ok(())
}

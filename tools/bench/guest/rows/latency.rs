// SPDX-License-Identifier: GPL-2.0
//! How long a thread waits for an access to a device while another one maps and unmaps
//! much memory.
//!
//! There is one processor, so each access needs it first. The thread that accesses has
//! a real-time priority and sleeps until an access is due; the timer's interrupt wakes
//! it. What passes from then until the access is done is its latency: the interrupt, the
//! longest stretch in which the thread that maps cannot be interrupted or replaced, the
//! change of threads, and the access.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{ensure, Result};
use rustix::{
    thread::{clock_nanosleep_absolute, ClockId, Timespec},
    time::clock_gettime,
};
use vfio_selftests::{device::Device, pci, uapi};

use crate::{
    log::{row, Log, Spec},
    stage::{Attached, Open, Stage, IOVA},
};

/// Accesses of each kind.
const ACCESSES: usize = 1000;
/// Nanoseconds from one to the next, which are instructions. A prime, so that accesses
/// meet the other thread anywhere.
const PERIOD: u64 = 300_007;

/// What half of the accesses may take, by what C takes: it varies by so much.
const MEDIAN: f64 = 1.02;
/// How late an access may be. Pinning 256 pages, with interrupts off, takes nearly as long.
const LONGEST: f64 = 60_000.0;

/// A kind of access, by its place in the file of the device.
struct Access {
    name: &'static str,
    offset: u64,
}

fn accesses(device: &Device) -> Result<[Access; 2]> {
    pci::Config::of(device)?.enable()?;
    Ok([
        Access {
            name: "read 4 bytes of configuration",
            offset: device.region(uapi::PCI_CONFIG_REGION_INDEX)?.head.offset,
        },
        Access {
            name: "read 4 bytes of a BAR",
            offset: device.region(uapi::PCI_BAR0_REGION_INDEX)?.head.offset,
        },
    ])
}

fn rows(access: &Access) -> [Spec; 2] {
    let named = |which| {
        let name = format!("{} while another thread maps, {which} of 1000", access.name);
        row(name, "access")
    };
    [
        named("median").ratio(MEDIAN),
        named("longest").bound(LONGEST),
    ]
}

/// Nanoseconds on the clock that sleeping threads are woken by.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Sleeps until then.
fn sleep_until(due: u64) -> Result<()> {
    let due = Timespec {
        tv_sec: (due / 1_000_000_000) as i64,
        tv_nsec: (due % 1_000_000_000) as i64,
    };
    Ok(clock_nanosleep_absolute(ClockId::Monotonic, &due)?)
}

/// Lets the calling thread run before all that have no real-time priority.
fn prefer() -> Result<()> {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: The structure is only read.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &param) };
    ensure!(result == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}

/// Accesses the device again and again, and tells how late each access was done, in order of
/// length.
fn late(device: &Device, access: &Access) -> Result<Vec<u64>> {
    prefer()?;
    let mut times = Vec::with_capacity(ACCESSES);
    let mut due = now();
    for _ in 0..ACCESSES {
        due += PERIOD;
        sleep_until(due)?;
        device.read::<4>(access.offset)?;
        times.push(now() - due);
    }
    times.sort_unstable();
    Ok(times)
}

/// Measures both kinds while `work` is done again and again.
fn measure(log: &Log, device: &Device, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    for access in accesses(device)? {
        let rows = rows(&access);
        if !log.wants_any(&rows) {
            continue;
        }
        work()?;
        let done = AtomicBool::new(false);
        let times = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let times = late(device, &access);
                done.store(true, Ordering::Relaxed);
                times
            });
            while !done.load(Ordering::Relaxed) {
                work()?;
            }
            thread.join().expect("it does not panic")
        })?;
        let [median, longest] = rows;
        log.tell(median, Ok(times[ACCESSES / 2] as f64))?;
        log.tell(longest, Ok(times[ACCESSES - 1] as f64))?;
    }
    Ok(())
}

pub(super) fn iommufd(log: &Log, stage: &Stage) -> Result<()> {
    let Attached {
        iommufd,
        ioas,
        device,
        ..
    } = &Attached::edu()?;
    let memory = &stage.scattered;
    measure(log, device, || {
        iommufd.map(*ioas, memory, IOVA)?;
        iommufd.unmap(*ioas, IOVA, memory.len() as u64)?;
        Ok(())
    })
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let open = Open::edu()?;
    let memory = &stage.scattered;
    measure(log, &open.session.device, || {
        open.container().map(memory, IOVA)?;
        open.container().unmap_all()?;
        Ok(())
    })
}

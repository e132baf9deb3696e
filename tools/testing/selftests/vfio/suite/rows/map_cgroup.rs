// SPDX-License-Identifier: GPL-2.0
//! Processes whose memory is limited (cgroups): row F185.

use rustix::process::getpid;
use vfio_selftests::{
    cgroup::Cgroup,
    container::READ_WRITE,
    memory::Memory,
    process::Child,
    target::{wait_for, Target},
    uapi, PAGE,
};

use super::{map::IOVA, map_cow::Bench};
use crate::{
    bench,
    check::{pinned_pages, Books},
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F185_mapped_memory_is_charged,
    F185_killed_for_want_of_memory.limit(120),
    F185_killed_in_a_container_of_others.limit(120),
];

const MIB: usize = 1 << 20;

/// A group of processes of which no process is in yet.
fn cgroup(name: &str) -> anyhow::Result<Cgroup> {
    match Cgroup::create(name)? {
        Some(cgroup) => Ok(cgroup),
        None => skip("this kernel does not limit memory"),
    }
}

/// Memory that mapping brings in counts as that of the process.
fn F185_mapped_memory_is_charged() -> TestResult {
    const SIZE: usize = 16 * MIB;
    let cgroup = cgroup("charged")?;
    let edu = bench::bound_edu()?;
    Child::fork(|| {
        cgroup.add(getpid())?;
        let session = edu.open(uapi::TYPE1v2_IOMMU)?;
        let memory = Memory::anonymous(SIZE)?;
        let before = cgroup.current()?;
        // With page tables of the process, and what the kernel needs to know; and
        // not exactly, as each processor has a stock of charges.
        let all = (SIZE - MIB) as u64..(SIZE + 2 * MIB) as u64;
        session.container.map(&memory, IOVA)?;
        let more = cgroup.current()?.saturating_sub(before);
        assert!(all.contains(&more), "{more} bytes more");
        // It stays charged as long as the device has it.
        drop(memory);
        let more = cgroup.current()?.saturating_sub(before);
        assert!(all.contains(&more), "{more} bytes more when it is gone");
        assert_eq!(session.container.unmap_all()?, SIZE as u64);
        wait_for("pages to be given back", || {
            cgroup
                .current()
                .is_ok_and(|now| now < before + (SIZE / 8) as u64)
        })?;
        Ok(())
    })?
    .join()
}

/// A process that maps more than it may have is killed. Of what it had mapped
/// until then nothing is left, and the device is free.
fn F185_killed_for_want_of_memory() -> TestResult {
    let cgroup = cgroup("killed")?;
    cgroup.limit(24 * MIB as u64)?;
    let edu = bench::bound_edu()?;
    let books = Books::open()?;
    for pages in ["small", "transparent huge"] {
        let kills = cgroup.events("oom_kill")?;
        let child = Child::fork(|| {
            cgroup.add(getpid())?;
            let session = edu.open(uapi::TYPE1v2_IOMMU)?;
            let memory = Memory::reserve(64 * MIB)?;
            memory.place_anonymous(0, 64 * MIB)?;
            if pages != "small" {
                let advice = rustix::mm::Advice::LinuxHugepage;
                memory.advise_part(0, 64 * MIB, advice)?;
            }
            session.container.map(&memory, IOVA)?;
            anyhow::bail!("mapped more than there is")
        })?;
        let status = child.wait()?;
        assert_eq!(status.terminating_signal(), Some(libc::SIGKILL), "{pages}");
        assert_eq!(cgroup.events("oom_kill")?, kills + 1, "{pages}");
        wait_for("the pages to be let go", || {
            pinned_pages().is_ok_and(|now| now == books.pinned_before())
        })?;
        books.say_in(pages, 0, 0);
        let session = edu.open(uapi::TYPE1v2_IOMMU)?;
        let memory = Memory::anonymous(PAGE)?;
        session.container.map(&memory, IOVA)?;
        books.say_in(pages, 1, 1);
    }
    books.say(0, 0);
    Ok(())
}

/// The container is that of others too, who go on using it.
fn F185_killed_in_a_container_of_others() -> TestResult {
    let cgroup = cgroup("guest")?;
    cgroup.limit(24 * MIB as u64)?;
    let bench = Bench::new()?;
    let container = bench.container();
    let mine = Memory::anonymous(4 * PAGE)?;
    mine.fill(1);
    container.map(&mine, IOVA)?;
    let avail = container.info()?.dma_avail();
    let books = Books::open()?;
    for round in 0..3 {
        let child = Child::fork(|| {
            cgroup.add(getpid())?;
            let memory = Memory::anonymous(64 * MIB)?;
            // A part that fits, and all of it.
            container.map_part(&memory, 0, MIB, 64 * IOVA, READ_WRITE)?;
            container.map(&memory, 128 * IOVA)?;
            anyhow::bail!("mapped more than there is")
        })?;
        let status = child.wait()?;
        assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
        // What was whole is there still; of the rest there is nothing.
        books.say(0, (MIB / PAGE) as i64);
        assert_eq!(bench.finds(IOVA)?, 1);
        assert_eq!(container.unmap(128 * IOVA, 64 * MIB as u64)?, 0, "{round}");
        assert_eq!(container.unmap(64 * IOVA, MIB as u64)?, MIB as u64);
        books.say(0, 0);
        assert_eq!(container.info()?.dma_avail(), avail);
        container.map(&mine, 128 * IOVA)?;
        books.say(4, 4);
        bench.writes(128 * IOVA, 1)?;
        assert_eq!(
            container.unmap(128 * IOVA, 4 * PAGE as u64)?,
            4 * PAGE as u64
        );
        books.say(0, 0);
    }
    assert_eq!(cgroup.events("oom_kill")?, 3);
    Ok(())
}

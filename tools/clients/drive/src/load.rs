// SPDX-License-Identifier: GPL-2.0
//! A program that has memory of all kinds mapped for a device, which copies in it, while
//! others make the kernel move, split, merge and reclaim memory.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{ensure, Context, Result};
use vfio_selftests::{
    container::Container,
    edu::Edu,
    memory::{Memory, HUGE_2M},
    pci::{self, PciDevice},
    process,
    target::Target,
    uapi, PAGE,
};

/// Where the device sees the first piece of memory, and the distance of the others.
const IOVA: u64 = 0x1_0000_0000;
const STRIDE: u64 = 0x1000_0000;
/// Where a piece is mapped and unmapped again and again, and its size.
const PASSING: u64 = 0x10_0000_0000;
const PASSING_LEN: usize = 2 << 20;

/// A piece of memory that the device may use. All of its pages hold [`content`] but the
/// last, to which the device copies.
struct Piece {
    name: &'static str,
    memory: Memory,
    iova: u64,
}

/// What a page holds, which no other page does.
fn content(iova: u64, page: usize) -> Vec<u8> {
    let seed = iova + (page * PAGE) as u64;
    (0..PAGE as u64 / 8)
        .flat_map(|word| (seed ^ (word << 48)).to_le_bytes())
        .collect()
}

impl Piece {
    fn map(container: &Container, name: &'static str, memory: Memory, iova: u64) -> Result<Self> {
        let piece = Self { name, memory, iova };
        for page in 0..piece.target() {
            piece.memory.write(page * PAGE, &content(iova, page));
        }
        container
            .map(&piece.memory, iova)
            .with_context(|| format!("map {name}"))?;
        Ok(piece)
    }

    /// Returns the number of the page to which the device copies.
    fn target(&self) -> usize {
        self.memory.len() / PAGE - 1
    }

    fn check(&self, page: usize, at: usize) -> Result<()> {
        ensure!(
            self.memory.read(at * PAGE, PAGE) == content(self.iova, page),
            "{}: page {at} does not hold what page {page} was filled with",
            self.name
        );
        Ok(())
    }

    /// Lets the device copy a page, by its own buffer.
    fn copy(&self, edu: &Edu<'_>, page: usize) -> Result<()> {
        let at = |page: usize| self.iova + (page * PAGE) as u64;
        edu.read_memory(at(page), PAGE as u64)?;
        edu.write_memory(at(self.target()), PAGE as u64)?;
        self.check(page, self.target())
    }
}

/// Maps and unmaps until it is told to stop, and says how often.
fn map_and_unmap(container: &Container, stop: &AtomicBool) -> Result<u64> {
    let mut times = 0;
    while !stop.load(Ordering::Relaxed) {
        let memory = Memory::anonymous(PASSING_LEN)?;
        container.map(&memory, PASSING).context("map beside it")?;
        let unmapped = container.unmap(PASSING, PASSING_LEN as u64)?;
        ensure!(unmapped == PASSING_LEN as u64, "{unmapped} bytes unmapped");
        times += 1;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(times)
}

/// Does this until this file is there.
pub(crate) fn run(until: &Path) -> Result<()> {
    let found = PciDevice::find(pci::EDU);
    let bound = found.first().context("there is no edu")?.bind()?;
    let before = process::locked()?;
    let session = bound.open(uapi::TYPE1v2_IOMMU)?;
    let edu = Edu::new(&session.device)?;
    let kinds = [
        ("small pages", Memory::anonymous(16 << 20)?),
        (
            "transparent huge pages",
            Memory::transparent_huge(32 << 20)?,
        ),
        ("reserved huge pages", Memory::hugetlb(2 * HUGE_2M)?),
        ("shared memory", Memory::shared(16 << 20)?),
    ];
    let pieces: Vec<Piece> = kinds
        .into_iter()
        .zip((IOVA..).step_by(STRIDE as usize))
        .map(|((name, memory), iova)| Piece::map(&session.container, name, memory, iova))
        .collect::<Result<_>>()?;
    println!("load: begins");

    let stop = AtomicBool::new(false);
    let (copies, maps) = thread::scope(|scope| {
        let beside = scope.spawn(|| map_and_unmap(&session.container, &stop));
        let copied =
            (0..)
                .take_while(|_| !until.exists())
                .try_fold(0u64, |copies, round: usize| {
                    for piece in &pieces {
                        // A prime, so that all parts have their turn.
                        piece.copy(&edu, round * 509 % piece.target())?;
                    }
                    anyhow::Ok(copies + pieces.len() as u64)
                });
        stop.store(true, Ordering::Relaxed);
        let maps = beside.join().expect("the thread does not panic")?;
        anyhow::Ok((copied?, maps))
    })?;

    for piece in &pieces {
        for page in 0..piece.target() {
            piece.check(page, page)?;
        }
    }
    session.container.unmap_all()?;
    let left = process::locked()? - before;
    ensure!(left == 0, "{left} bytes stay locked");
    println!("load: {copies} copies by the device and {maps} mappings beside it are right");
    Ok(())
}

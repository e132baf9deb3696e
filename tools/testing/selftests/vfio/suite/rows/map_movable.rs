// SPDX-License-Identifier: GPL-2.0
//! Memory that the kernel wants to be able to move (`ZONE_MOVABLE`): row F191.
//!
//! Only a machine that was booted with `movablecore=` has such memory. Reserved
//! huge pages take 2 GiB of it.

use vfio_selftests::{
    container::READ_WRITE,
    memory::{Memory, HUGE_2M},
    sysfs, PAGE,
};

use super::{
    map::IOVA,
    map_cow::{at, Bench, LEN},
};
use crate::{
    check::Books,
    emulated::BOTH,
    harness::{rows, skip, Row, TestResult},
    pinners::{with_pinners, ACCESS},
};

pub(crate) const ROWS: &[Row] = rows![
    F191_mapped_memory_leaves_the_movable_zone.limit(120),
    F191_pinned_memory_leaves_the_movable_zone,
];

/// The page frames that can be moved.
fn movable() -> anyhow::Result<std::ops::Range<u64>> {
    let text = sysfs::read("/proc/zoneinfo")?;
    let mut range = 0..0;
    let (mut inside, mut spanned) = (false, 0);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["Node", _, "zone", name] => inside = name == "Movable",
            ["spanned", count] if inside => spanned = count.parse()?,
            ["start_pfn:", first] if inside => {
                let first = first.parse()?;
                range = first..first + spanned;
            }
            _ => (),
        }
    }
    match range.is_empty() {
        true => skip("no memory is movable; boot with movablecore=3G"),
        false => Ok(range),
    }
}

/// The kinds of memory, of 512 pages each, all touched and all movable.
type Make = fn() -> rustix::io::Result<Memory>;
const KINDS: [(&str, Make); 3] = [
    ("small pages", || Memory::anonymous(HUGE_2M)),
    ("shared", || Memory::shared(HUGE_2M)),
    ("transparent huge", || Memory::transparent_huge(HUGE_2M)),
];

fn make_movable(make: Make, zone: &std::ops::Range<u64>) -> anyhow::Result<Memory> {
    let memory = make()?;
    for page in 0..512 {
        memory.write(page * PAGE, &[page as u8; LEN]);
    }
    let frames = memory.frames()?;
    anyhow::ensure!(
        frames.iter().all(|frame| zone.contains(frame)),
        "not in the movable zone: {frames:x?}"
    );
    Ok(memory)
}

fn F191_mapped_memory_leaves_the_movable_zone() -> TestResult {
    let zone = movable()?;
    let bench = Bench::new()?;
    let container = bench.container();
    for (kind, make) in KINDS {
        for (access, flags, _) in ACCESS {
            let case = format!("{kind}, {access}");
            let memory = make_movable(make, &zone)?;
            let books = Books::open()?;
            container.map_part(&memory, 0, HUGE_2M, IOVA, flags)?;
            books.say_in(&case, 512, 512);
            let frames = memory.frames()?;
            assert!(
                frames
                    .iter()
                    .all(|frame| *frame != 0 && !zone.contains(frame)),
                "{case}: {frames:x?}"
            );
            // It is the same memory elsewhere.
            let expected: Vec<_> = (0..512).map(|page| page as u8).collect();
            let found: Vec<_> = (0..512)
                .map(|page| memory.read(page * PAGE, 1)[0])
                .collect();
            assert_eq!(found, expected, "{case}");
            if flags == READ_WRITE {
                assert_eq!(bench.finds(at(300))?, 44, "{case}");
                bench.writes(at(301), 0x99)?;
                assert_eq!(memory.read(301 * PAGE, LEN), [0x99; LEN], "{case}");
            }
            assert_eq!(container.unmap(IOVA, HUGE_2M as u64)?, HUGE_2M as u64);
            books.say_in(&case, 0, 0);
        }
    }
    Ok(())
}

fn F191_pinned_memory_leaves_the_movable_zone() -> TestResult {
    let zone = movable()?;
    with_pinners(|pinners| {
        for (kind, make) in KINDS {
            let memory = make_movable(make, &zone)?;
            let books = Books::open()?;
            pinners.emulated().map(&memory, IOVA)?;
            let (result, frames) = pinners.target.pin_raw(at(9), 3, BOTH);
            assert_eq!(result, Ok(3), "{kind}");
            assert!(
                frames.iter().all(|frame| !zone.contains(frame)),
                "{kind}: {frames:x?}"
            );
            assert_eq!(memory.frames()?[9..12], frames, "{kind}");
            assert_eq!(memory.read(10 * PAGE, LEN), [10; LEN], "{kind}");
            books.say_in(kind, 3, 3);
            pinners.target.unpin_raw(at(9), 3)?;
            books.say_in(kind, 0, 0);
            pinners.emulated().unmap_all()?;
        }
        Ok(())
    })
}

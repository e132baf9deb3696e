// SPDX-License-Identifier: GPL-2.0
//! Pages that the machine has lost (memory failure): row F188.

use rustix::{io::Errno, mm::Advice};
use vfio_selftests::{container::READ_WRITE, memory::Memory, PAGE};

use super::{
    map::IOVA,
    map_cow::{at, Bench, LEN},
};
use crate::{
    check::{fails, Books},
    harness::{rows, skip, Row, TestResult},
    pinners::{with_pinners, ACCESS},
};

pub(crate) const ROWS: &[Row] = rows![F188_page_lost_before_mapping, F188_page_lost_while_mapped,];

const PAGES: usize = 64;

/// Loses a page for good, as when the machine finds that it is broken.
fn lose(memory: &Memory, page: usize) -> TestResult {
    extern "C" fn ignore(_: libc::c_int) {}
    // The kernel tells the process that it has lost something.
    // SAFETY: The handler does nothing.
    unsafe { libc::signal(libc::SIGBUS, ignore as *const () as libc::sighandler_t) };
    match memory.advise_part(page * PAGE, PAGE, Advice::LinuxHwPoison) {
        Err(Errno::INVAL) => skip("this kernel does not handle memory failures"),
        // A page that devices have cannot be taken away from them.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The kinds of memory, all touched.
type Make = fn() -> rustix::io::Result<Memory>;
const KINDS: [(&str, Make); 2] = [
    ("private", || Memory::anonymous(PAGES * PAGE)),
    ("shared", || Memory::shared(PAGES * PAGE)),
];

/// Nobody can have it: there is nothing at its address any more.
fn F188_page_lost_before_mapping() -> TestResult {
    with_pinners(|pinners| {
        for (kind, make) in KINDS {
            let memory = make()?;
            memory.fill(1);
            lose(&memory, 33)?;
            for (access, flags, _) in ACCESS {
                for (first, end, expected) in [
                    (0, 33, Ok(())),
                    (0, 34, Err(Errno::FAULT)),
                    (0, PAGES, Err(Errno::FAULT)),
                    (33, 34, Err(Errno::FAULT)),
                    (34, PAGES, Ok(())),
                ] {
                    let case = format!("{kind}, {first}..{end}, {access}");
                    pinners.check(&case, &memory, first..end, flags, expected);
                }
            }
            // New memory at the same address is good.
            memory.place_anonymous(33 * PAGE, PAGE)?;
            pinners.check(kind, &memory, 0..PAGES, READ_WRITE, Ok(()));
        }
        Ok(())
    })
}

/// The device keeps it, as nobody tells it, and gives it back like others.
fn F188_page_lost_while_mapped() -> TestResult {
    let bench = Bench::new()?;
    let container = bench.container();
    for (kind, make) in KINDS {
        let memory = make()?;
        memory.fill(1);
        let books = Books::open()?;
        container.map(&memory, IOVA)?;
        lose(&memory, 33)?;
        books.say_in(kind, 64, 64);
        assert_eq!(bench.finds(at(33))?, 1, "{kind}");
        bench.writes(at(34), 2)?;
        assert_eq!(memory.read(34 * PAGE, LEN), [2; LEN], "{kind}");
        fails(
            container.map_part(&memory, 33 * PAGE, PAGE, 64 * IOVA, READ_WRITE),
            Errno::FAULT,
        );
        books.say_in(kind, 64, 64);
        let size = memory.len() as u64;
        assert_eq!(container.unmap(IOVA, size)?, size, "{kind}");
        books.say_in(kind, 0, 0);
        fails(container.map(&memory, IOVA), Errno::FAULT);
        books.say_in(kind, 0, 0);
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! The two ways in which memory gets pinned: for a real device as soon as it is
//! mapped, and for an emulated one when its driver says so. What can be pinned
//! in one way can be in the other.

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::Memory,
    target::{Session, Target},
    uapi, PAGE,
};

use crate::{
    bench::{self, Open},
    check::{fails_in, Books},
    emulated::{BOTH, READ, WRITE},
    fixture::{Device, Fixture},
    harness::TestResult,
};

/// Where memory is mapped.
pub(crate) const IOVA: u64 = 0x10_0000;
/// The most pages that a driver pins at once.
const MOST: usize = 512;

/// What devices may do, and what a driver then pins for.
pub(crate) const ACCESS: [(&str, u32, u64); 3] = [
    ("read", uapi::DMA_MAP_FLAG_READ, READ),
    ("write", uapi::DMA_MAP_FLAG_WRITE, WRITE),
    ("read and write", READ_WRITE, BOTH),
];

/// A real device in a container and an emulated one in another.
pub(crate) struct Pinners<'a> {
    pub(crate) open: &'a Open,
    pub(crate) session: &'a Session,
    pub(crate) target: &'a Device<'a>,
}

/// Opens the devices for a test.
pub(crate) fn with_pinners(test: impl FnOnce(&Pinners<'_>) -> TestResult) -> TestResult {
    let open = bench::open()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let session = target.open(uapi::TYPE1v2_IOMMU)?;
    test(&Pinners {
        open: &open,
        session: &session,
        target: &target,
    })
}

impl Pinners<'_> {
    /// The container of the real device.
    pub(crate) fn real(&self) -> &Container {
        &self.open.session.container
    }

    /// The container of the emulated device.
    pub(crate) fn emulated(&self) -> &Container {
        &self.session.container
    }

    /// Pins the pages of a mapping of the emulated device.
    fn pin(&self, pages: usize, how: u64) -> rustix::io::Result<()> {
        for first in (0..pages).step_by(MOST) {
            let count = MOST.min(pages - first);
            let iova = IOVA + (first * PAGE) as u64;
            let pinned = self.target.pin(iova, count as u64, how)?;
            assert_eq!(pinned, count as i64, "pages that were pinned");
        }
        Ok(())
    }

    /// Memory must be pinned, and charged, in both ways, or not with this errno.
    /// Nothing is left of it.
    #[track_caller]
    pub(crate) fn check(
        &self,
        case: &str,
        memory: &Memory,
        pages: std::ops::Range<usize>,
        flags: u32,
        expected: Result<(), Errno>,
    ) {
        let (offset, size) = (pages.start * PAGE, pages.len() * PAGE);
        let books = Books::open().expect("numbers of the kernel");
        let count = match expected {
            Ok(()) => pages.len() as i64,
            Err(_) => 0,
        };
        let result = self.real().map_part(memory, offset, size, IOVA, flags);
        self.judge(&format!("{case}, mapped"), result, expected);
        books.say_in(&format!("{case}, mapped"), count, count);
        let unmapped = self.real().unmap_all().expect("unmap");
        assert_eq!(unmapped, (count as usize * PAGE) as u64, "{case}");
        books.say_in(&format!("{case}, unmapped"), 0, 0);

        let (_, _, how) = ACCESS
            .into_iter()
            .find(|access| access.1 == flags)
            .expect("flags");
        self.emulated()
            .map_part(memory, offset, size, IOVA, flags)
            .expect("a mapping that nobody pins");
        let result = self.pin(pages.len(), how);
        self.judge(&format!("{case}, pinned"), result, expected);
        // What came before the page that cannot be pinned may be in a request
        // of its own.
        if expected.is_ok() || pages.len() <= MOST {
            books.say_in(&format!("{case}, pinned"), count, count);
        }
        self.emulated().unmap_all().expect("unmap");
        books.say_in(&format!("{case}, unpinned"), 0, 0);
    }

    #[track_caller]
    fn judge(&self, case: &str, result: rustix::io::Result<()>, expected: Result<(), Errno>) {
        match expected {
            Ok(()) => assert_eq!(result, Ok(()), "{case}"),
            Err(errno) => fails_in(case, result, errno),
        }
    }
}

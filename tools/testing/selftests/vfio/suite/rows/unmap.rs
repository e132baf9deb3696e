// SPDX-License-Identifier: GPL-2.0
//! Removing mappings: rows F109-F112, F123 and R-01.

use std::mem;

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::Memory,
    process,
    request::{self, Arg},
    target::Target,
    uapi::{self, IommuType1DmaUnmap},
    PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench,
    check::{fails, fails_in, pinned_pages},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F109_unmap_validation_order,
    F109_unmap_argument,
    F110_unmap_whole_mappings,
    F110_device_loses_what_is_unmapped,
    F111_unmap_first_version,
    F112_unmap_all,
    F123_last_group_leaves,
    R01_last_address,
];

const PAGE64: u64 = PAGE as u64;
const HEAD: u32 = mem::size_of::<IommuType1DmaUnmap>() as u32;

fn F109_unmap_validation_order() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    container.map(&memory, IOVA)?;
    let good = IommuType1DmaUnmap {
        argsz: HEAD,
        flags: 0,
        iova: IOVA,
        size: 4 * PAGE64,
        data: [],
    };
    let send = |arg: IommuType1DmaUnmap| {
        // Behind it a bitmap without room. Its page size is one, since C shifts by
        // that.
        let mut bytes = request::bytes_of(&arg).to_vec();
        bytes.extend([PAGE64, 0, 0].map(u64::to_ne_bytes).concat());
        let sent = Arg::from_bytes(&bytes);
        let result = sent.send(container, uapi::IOMMU_UNMAP_DMA);
        if result.is_err() {
            let after: IommuType1DmaUnmap = sent.get(0);
            assert_eq!(after, arg, "written in spite of the error");
        }
        result
    };
    let (dirty, all) = (
        uapi::DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
        uapi::DMA_UNMAP_FLAG_ALL,
    );

    let cases: &[(&str, IommuType1DmaUnmap, Errno)] = &[
        (
            "argsz",
            IommuType1DmaUnmap {
                argsz: HEAD - 1,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "argsz, wraps",
            IommuType1DmaUnmap {
                argsz: 0,
                size: u64::MAX << 12,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "unknown flag",
            IommuType1DmaUnmap { flags: 8, ..good },
            Errno::INVAL,
        ),
        (
            "unknown flag, wraps",
            IommuType1DmaUnmap {
                flags: 1 << 31,
                size: u64::MAX << 12,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "bitmap and all",
            IommuType1DmaUnmap {
                flags: dirty | all,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "no room for a bitmap",
            IommuType1DmaUnmap {
                flags: dirty,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "bitmap of nothing",
            IommuType1DmaUnmap {
                flags: dirty,
                argsz: 48,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "iova unaligned",
            IommuType1DmaUnmap {
                iova: IOVA + 8,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "iova unaligned, wraps",
            IommuType1DmaUnmap {
                iova: u64::MAX - 7,
                size: 2 * PAGE64,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "all, with iova",
            IommuType1DmaUnmap {
                flags: all,
                size: 0,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "all, with size",
            IommuType1DmaUnmap {
                flags: all,
                iova: 0,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "size 0",
            IommuType1DmaUnmap { size: 0, ..good },
            Errno::INVAL,
        ),
        (
            "size unaligned",
            IommuType1DmaUnmap {
                size: PAGE64 + 1,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "size unaligned, wraps",
            IommuType1DmaUnmap {
                size: u64::MAX - 8,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "wraps",
            IommuType1DmaUnmap {
                size: u64::MAX << 12,
                ..good
            },
            Errno::OVERFLOW,
        ),
        (
            "cuts the end off",
            IommuType1DmaUnmap {
                size: 3 * PAGE64,
                ..good
            },
            Errno::INVAL,
        ),
        (
            "cuts the start off",
            IommuType1DmaUnmap {
                iova: IOVA + PAGE64,
                ..good
            },
            Errno::INVAL,
        ),
    ];
    for (name, arg, errno) in cases {
        fails_in(name, send(*arg), *errno);
    }
    // It is still there, all of it.
    assert_eq!(container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
    Ok(())
}

fn F109_unmap_argument() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(PAGE)?;
    container.map(&memory, IOVA)?;
    let good = IommuType1DmaUnmap {
        argsz: HEAD,
        flags: 0,
        iova: IOVA,
        size: PAGE64,
        data: [],
    };
    fails(
        request::with_bad_address(container, uapi::IOMMU_UNMAP_DMA),
        Errno::FAULT,
    );
    let half = Arg::from_bytes(&request::bytes_of(&good)[..16]);
    fails(half.send(container, uapi::IOMMU_UNMAP_DMA), Errno::FAULT);
    // The result cannot be told, but the mapping is gone.
    let arg = Arg::new(&good);
    arg.make_read_only();
    fails(arg.send(container, uapi::IOMMU_UNMAP_DMA), Errno::FAULT);
    assert_eq!(container.unmap_all()?, 0);
    // A larger size than needed is fine.
    container.map(&memory, IOVA)?;
    let arg = Arg::new(&IommuType1DmaUnmap {
        argsz: 4000,
        ..good
    });
    arg.send(container, uapi::IOMMU_UNMAP_DMA)?;
    assert_eq!(
        arg.get::<u64>(mem::offset_of!(IommuType1DmaUnmap, size)),
        PAGE64
    );
    Ok(())
}

/// Three mappings of 2, 1 and 4 pages, with a hole of 1 page after the first.
fn map_three(container: &Container, memory: &Memory) -> rustix::io::Result<()> {
    container.map_part(memory, 0, 2 * PAGE, IOVA, READ_WRITE)?;
    container.map_part(memory, 0, PAGE, IOVA + 3 * PAGE64, READ_WRITE)?;
    container.map_part(memory, 0, 4 * PAGE, IOVA + 4 * PAGE64, READ_WRITE)
}

fn F110_unmap_whole_mappings() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    let locked = process::locked()?;
    map_three(container, &memory)?;
    let pages = |first: u64, count: u64| container.unmap(IOVA + first * PAGE64, count * PAGE64);

    // A mapping across the start or the end: nothing goes, not even others.
    for (first, count) in [(1, 1), (0, 1), (1, 3), (0, 5), (5, 1), (3, 2), (5, 3)] {
        fails_in(
            &format!("{count} from {first}"),
            pages(first, count),
            Errno::INVAL,
        );
    }
    assert_eq!(process::locked()?, locked + 7 * PAGE64);
    // Holes are no mappings.
    assert_eq!(pages(2, 1)?, 0);
    assert_eq!(pages(8, 100)?, 0);
    assert_eq!(container.unmap(0, IOVA)?, 0);
    // Several at once, with a hole between and behind them.
    assert_eq!(pages(0, 4)?, 3 * PAGE64);
    assert_eq!(pages(0, 4)?, 0);
    assert_eq!(pages(2, 20)?, 4 * PAGE64);
    assert_eq!(process::locked()?, locked);
    // Everything that can be asked for, without the flag for all.
    map_three(container, &memory)?;
    assert_eq!(container.unmap(0, u64::MAX << 12)?, 7 * PAGE64);
    assert_eq!(process::locked()?, locked);
    Ok(())
}

fn F110_device_loses_what_is_unmapped() -> TestResult {
    let open = bench::open()?;
    let (container, device) = (&open.session.container, &open.session.device);
    let source = Memory::anonymous(PAGE)?;
    let target = Memory::anonymous(PAGE)?;
    source.write(0, b"secret");
    container.map(&source, IOVA)?;
    container.map(&target, 2 * IOVA)?;
    copy(device, IOVA, 2 * IOVA, 6)?;
    assert_eq!(target.read(0, 6), b"secret");
    // Reading what is no longer mapped gives nothing.
    target.fill(0);
    source.write(0, b"newer!");
    assert_eq!(container.unmap(IOVA, PAGE64)?, PAGE64);
    copy(device, IOVA, 2 * IOVA, 6)?;
    assert_ne!(target.read(0, 6), b"newer!");
    // Writing there changes nothing.
    target.fill(0x55);
    container.map(&source, IOVA)?;
    container.unmap(2 * IOVA, PAGE64)?;
    copy(device, IOVA, 2 * IOVA, 6)?;
    assert_eq!(target.read(0, PAGE), vec![0x55; PAGE]);
    // A mapping that devices may only read is not written to.
    container.map_part(&target, 0, PAGE, 2 * IOVA, uapi::DMA_MAP_FLAG_READ)?;
    copy(device, IOVA, 2 * IOVA, 6)?;
    assert_eq!(target.read(0, PAGE), vec![0x55; PAGE]);
    Ok(())
}

fn F111_unmap_first_version() -> TestResult {
    let open = bench::open_edu(uapi::TYPE1_IOMMU)?;
    let container = &open.session.container;
    let memory = Memory::anonymous(4 * PAGE)?;
    let locked = process::locked()?;
    map_three(container, &memory)?;
    let pages = |first: u64, count: u64| container.unmap(IOVA + first * PAGE64, count * PAGE64);
    // From inside a mapping: nothing happens, and that is no error.
    assert_eq!(pages(1, 1)?, 0);
    assert_eq!(pages(5, 1)?, 0);
    assert_eq!(pages(1, 7)?, 0);
    assert_eq!(process::locked()?, locked + 7 * PAGE64);
    // The first page of a mapping takes the rest with it.
    assert_eq!(pages(4, 1)?, 4 * PAGE64);
    assert_eq!(process::locked()?, locked + 3 * PAGE64);
    assert_eq!(pages(0, 4)?, 3 * PAGE64);
    assert_eq!(pages(0, 4)?, 0);
    // Likewise at the end of a range with several.
    map_three(container, &memory)?;
    assert_eq!(pages(0, 5)?, 7 * PAGE64);
    assert_eq!(process::locked()?, locked);
    Ok(())
}

fn F112_unmap_all() -> TestResult {
    for backend in [uapi::TYPE1_IOMMU, uapi::TYPE1v2_IOMMU] {
        let open = bench::open_edu(backend)?;
        let container = &open.session.container;
        let memory = Memory::anonymous(4 * PAGE)?;
        let locked = process::locked()?;
        assert_eq!(container.unmap_all()?, 0);
        map_three(container, &memory)?;
        let all = uapi::DMA_UNMAP_FLAG_ALL;
        fails(container.unmap_with(all, IOVA, 0), Errno::INVAL);
        fails(container.unmap_with(all, 0, PAGE64), Errno::INVAL);
        fails(container.unmap_with(all, IOVA, PAGE64), Errno::INVAL);
        assert_eq!(process::locked()?, locked + 7 * PAGE64);
        assert_eq!(container.unmap_all()?, 7 * PAGE64);
        assert_eq!(container.unmap_all()?, 0);
        assert_eq!(process::locked()?, locked);
        // At address 0 too.
        container.map(&memory, 0)?;
        assert_eq!(container.unmap_all()?, 4 * PAGE64);
    }
    Ok(())
}

fn F123_last_group_leaves() -> TestResult {
    let [a, b] = bench::two_bound_edus()?;
    let container = Container::open()?;
    let groups = [a.join(&container)?, b.join(&container)?];
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let locked = process::locked()?;
    let pinned = pinned_pages()?;
    let memory = Memory::anonymous(64 * PAGE)?;
    container.map(&memory, IOVA)?;
    // Two groups or one: each page counts once.
    assert_eq!(process::locked()?, locked + 64 * PAGE64);
    groups[0].unset_container()?;
    assert_eq!(process::locked()?, locked + 64 * PAGE64);
    groups[0].set_container(&container)?;
    assert_eq!(process::locked()?, locked + 64 * PAGE64);
    groups[1].unset_container()?;
    assert_eq!(process::locked()?, locked + 64 * PAGE64);
    groups[0].unset_container()?;
    assert_eq!(process::locked()?, locked);
    assert_eq!(pinned_pages()?, pinned);
    // Nothing comes back with a new group.
    groups[1].set_container(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(container.unmap_all()?, 0);
    Ok(())
}

fn R01_last_address() -> TestResult {
    let mtty = bench::mtty(1)?;
    for backend in [uapi::TYPE1_IOMMU, uapi::TYPE1v2_IOMMU] {
        let session = mtty.open(backend)?;
        let container = &session.container;
        let memory = Memory::anonymous(PAGE)?;
        let top = u64::MAX - (PAGE64 - 1);
        container.map(&memory, top)?;
        assert_eq!(container.unmap_all()?, PAGE64);
        container.map(&memory, top)?;
        container.map(&memory, 0)?;
        assert_eq!(container.unmap_all()?, 2 * PAGE64);
        // Found by a range that ends where everything ends.
        container.map(&memory, top)?;
        assert_eq!(container.unmap(top - 8 * PAGE64, 9 * PAGE64)?, PAGE64);
        assert_eq!(container.unmap(top, PAGE64)?, 0);
    }
    Ok(())
}

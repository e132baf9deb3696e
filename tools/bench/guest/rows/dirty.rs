// SPDX-License-Identifier: GPL-2.0
//! Which pages devices wrote to.

use anyhow::Result;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    memory::Memory,
    request::{bytes_of, Arg},
    uapi::{self, Bitmap, IommuType1DirtyBitmap, IommuType1DirtyBitmapGet, IommuType1DmaUnmap},
    PAGE,
};

use crate::{
    clock::timed,
    log::{row, Log},
    stage::{Open, Stage, HUGE, IOVA},
};

/// In how many mappings the memory is.
const MAPPINGS: [usize; 3] = [1, 64, 4096];

/// A bitmap with a bit for each page: where the kernel finds that it shall go.
fn bitmap(target: &Memory) -> Bitmap {
    Bitmap {
        pgsize: PAGE as u64,
        size: target.len() as u64,
        data: target.address() as u64,
    }
}

/// A request of dirty tracking.
fn dirty(flags: u32, get: Option<IommuType1DirtyBitmapGet>) -> Arg {
    let tail = get.as_ref().map(bytes_of).unwrap_or_default();
    let head = IommuType1DirtyBitmap {
        argsz: (size_of::<IommuType1DirtyBitmap>() + tail.len()) as u32,
        flags,
        data: [],
    };
    Arg::from_bytes(&[bytes_of(&head), tail].concat())
}

/// The requests that a migration makes.
pub(super) struct Requests {
    pub(super) start: Arg,
    pub(super) get: Arg,
    stop: Arg,
    pub(super) unmap: Arg,
}

impl Requests {
    /// About this range. The bits go to `target`, which must live as long as these are
    /// made.
    pub(super) fn about(iova: u64, size: usize, target: &Memory) -> Self {
        let unmap = IommuType1DmaUnmap {
            argsz: (size_of::<IommuType1DmaUnmap>() + size_of::<Bitmap>()) as u32,
            flags: uapi::DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
            iova,
            size: size as u64,
            data: [],
        };
        Self {
            start: dirty(uapi::IOMMU_DIRTY_PAGES_FLAG_START, None),
            get: dirty(
                uapi::IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
                Some(IommuType1DirtyBitmapGet {
                    iova,
                    size: size as u64,
                    bitmap: bitmap(target),
                }),
            ),
            stop: dirty(uapi::IOMMU_DIRTY_PAGES_FLAG_STOP, None),
            unmap: Arg::from_bytes(&[bytes_of(&unmap), bytes_of(&bitmap(target))].concat()),
        }
    }
}

/// Maps the memory in so many mappings.
fn map(container: &Container, memory: &Memory, mappings: usize) -> rustix::io::Result<()> {
    let size = HUGE / mappings;
    (0..mappings).try_for_each(|n| {
        let offset = n * size;
        container.map_part(memory, offset, size, IOVA + offset as u64, READ_WRITE)
    })
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let target = Memory::anonymous(HUGE / PAGE / 8)?;
    target.fill(0);
    let requests = Requests::about(IOVA, HUGE, &target);
    for mappings in MAPPINGS {
        let open = Open::edu()?;
        let container = open.container();
        map(container, &stage.transparent, mappings)?;
        let name = match mappings {
            1 => "256 MiB in one mapping".to_owned(),
            n => format!("256 MiB in {n} mappings"),
        };
        let send = |arg: &Arg| timed(|| arg.send(container, uapi::IOMMU_DIRTY_PAGES));
        log.measure(
            [
                row(format!("dirty START, {name}"), "call"),
                row(format!("dirty GET_BITMAP, {name}"), "call"),
                row(format!("dirty STOP, {name}"), "call"),
            ],
            || {
                Ok([
                    send(&requests.start)?,
                    send(&requests.get)?,
                    send(&requests.stop)?,
                ])
            },
        )?;
    }
    unmap(log, stage, &requests)
}

/// Unmaps and gets the bitmap in one request, which is for one mapping only.
fn unmap(log: &Log, stage: &Stage, requests: &Requests) -> Result<()> {
    let open = Open::edu()?;
    let container = open.container();
    let on = requests.start.send(container, uapi::IOMMU_DIRTY_PAGES);
    log.measure([row("unmap 256 MiB with its dirty bitmap", "call")], || {
        on?;
        map(container, &stage.transparent, 1)?;
        Ok([timed(|| {
            requests.unmap.send(container, uapi::IOMMU_UNMAP_DMA)
        })?])
    })
}

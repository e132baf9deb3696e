// SPDX-License-Identifier: GPL-2.0
//! A large virtual machine: from nothing to four devices that reach its memory, and
//! its end, orderly and not.
//!
//! Of its 16 GiB only [`HUGE`] are there, and each slot is the same memory once more.
//! All that VFIO does for a slot it does again for the next.

use std::{thread, time::Duration};

use anyhow::{ensure, Context, Result};
use vfio_selftests::{
    container::{Container, READ_WRITE},
    device::Device,
    group::Group,
    iommufd::Iommufd,
    memory::{Memory, HUGE_1G, HUGE_2M},
    module::{self, Parameter},
    pci::{self, Bound, PciDevice},
    process::Child,
    target::{Named, Target},
    uapi, PAGE,
};

use crate::{
    clock::timed,
    fixture::Fixture,
    log::{row, Log, Rounds, Spec},
    stage::{Stage, HUGE, IOVA},
};

/// The memory of the guest.
const GUEST: usize = 16 * HUGE_1G;
const GUEST_NAME: &str = "16 GiB";
/// In how many pieces it is mapped: a request for each slot of memory.
const SLOTS: usize = GUEST / HUGE;
/// Huge pages that a DPDK program maps when it starts.
const PAGES: usize = 1024;
/// The page sizes of the second IOMMU. Small ones would take it too long.
const SIZES: u64 = HUGE_2M as u64 | HUGE_1G as u64;

/// A kind of memory that a guest can have.
struct Kind<'a> {
    name: &'static str,
    memory: &'a Memory,
    /// Makes more of it.
    allocate: fn(usize) -> rustix::io::Result<Memory>,
}

fn kinds(stage: &Stage) -> [Kind<'_>; 2] {
    [
        Kind {
            name: "transparent huge pages",
            memory: &stage.transparent,
            allocate: Memory::transparent_huge,
        },
        Kind {
            name: "2 MiB hugetlb pages",
            memory: &stage.hugetlb,
            allocate: Memory::hugetlb,
        },
    ]
}

/// How the memory is divided into requests.
#[derive(Clone, Copy)]
struct Layout {
    /// Bytes of a request.
    piece: usize,
    /// Requests.
    count: usize,
}

/// A slot of the virtual machine after the other.
const BY_SLOT: Layout = Layout {
    piece: HUGE,
    count: SLOTS,
};

/// A huge page after the other.
const BY_PAGE: Layout = Layout {
    piece: HUGE_2M,
    count: PAGES,
};

impl Layout {
    /// Calls `map` for each piece with its place in the memory that is there, and its
    /// IOVA.
    fn pieces(self, mut map: impl FnMut(usize, u64) -> rustix::io::Result<()>) -> Result<()> {
        (0..self.count)
            .try_for_each(|n| map(n * self.piece % HUGE, IOVA + (n * self.piece) as u64))
            .context("map the guest's memory")
    }
}

/// What a program has open. Closed in this order.
struct Open {
    _devices: Vec<Device>,
    _groups: Vec<Group>,
    _container: Container,
}

/// Opens the devices, with the memory mapped as soon as there is a backend.
fn open(devices: &[Named], memory: &Memory, layout: Layout) -> Result<Open> {
    let container = Container::open()?;
    let mut opened = Vec::new();
    let mut groups = Vec::new();
    for device in devices {
        let group = device.join(&container)?;
        if groups.is_empty() {
            container.set_iommu(uapi::TYPE1v2_IOMMU)?;
            layout.pieces(|at, iova| {
                container.map_part(memory, at, layout.piece, iova, READ_WRITE)
            })?;
        }
        opened.push(group.device(device.name())?);
        groups.push(group);
    }
    Ok(Open {
        _devices: opened,
        _groups: groups,
        _container: container,
    })
}

/// The same with an address space of an iommufd.
fn open_iommufd(
    devices: &[Named],
    memory: &Memory,
    layout: Layout,
) -> Result<(Vec<Device>, Iommufd)> {
    let iommufd = Iommufd::open()?;
    let ioas = iommufd.ioas()?;
    let mut opened = Vec::new();
    for named in devices {
        let (device, _) = named.bind_to(&iommufd)?;
        device.attach(ioas)?;
        if opened.is_empty() {
            layout.pieces(|at, iova| iommufd.map_part(ioas, memory, at, layout.piece, iova))?;
        }
        opened.push(device);
    }
    Ok((opened, iommufd))
}

/// Measures a start, and the end that comes when all is closed.
fn measure<T>(log: &Log, rows: [Spec; 2], open: impl Fn() -> Result<T>) -> Result<()> {
    log.measure_rounds(rows, Rounds::Few, || {
        let mut opened = None;
        let start = timed(|| open().map(|all| opened = Some(all)))?;
        let end = timed(|| {
            drop(opened.take());
            anyhow::Ok(())
        })?;
        Ok([start, end])
    })
}

/// Measures the end of a process that is killed. It has memory of its own, because not
/// all kinds can be shared with it; the end of that is part of the number.
fn measure_exit<T>(log: &Log, kind: &Kind<'_>, open: impl Fn(&Memory) -> Result<T>) -> Result<()> {
    let name = format!("kill a VM: {GUEST_NAME} of {}", kind.name);
    log.measure_rounds([row(name, "end")], Rounds::Few, || {
        let ready = Memory::shared(PAGE)?;
        let child = Child::fork_without_files(|| {
            let memory = (kind.allocate)(HUGE)?;
            memory.fill(0);
            let _open = open(&memory)?;
            ready.write(0, &[1]);
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        })?;
        while ready.read(0, 1) == [0] {
            thread::sleep(Duration::from_millis(1));
        }
        Ok([timed(|| child.kill())?])
    })
}

fn vm(kind: &Kind<'_>, devices: &str) -> [Spec; 2] {
    let name = format!("{GUEST_NAME} of {}, {devices}", kind.name);
    [
        row(format!("start a VM: {name}"), "start"),
        row(format!("close a VM: {name}"), "end"),
    ]
}

const ONE_PAGE_TABLE: &str = "4 devices with one page table";

fn dpdk() -> [Spec; 2] {
    let name = "1024 huge pages one by one";
    [
        row(format!("start DPDK: {name}"), "start"),
        row(format!("close DPDK: {name}"), "end"),
    ]
}

/// Four devices that are alone in their groups, handed to VFIO.
fn bound() -> Result<Vec<Bound>> {
    let bound = [pci::EDU, pci::IVSHMEM]
        .into_iter()
        .flat_map(PciDevice::find)
        .filter(|device| device.group_members().len() == 1)
        .map(|device| device.bind())
        .collect::<Result<Vec<_>>>()?;
    ensure!(bound.len() == 4, "{} devices", bound.len());
    Ok(bound)
}

/// How programs know them.
fn named<T: Target>(devices: &[T]) -> Result<Vec<Named>> {
    devices
        .iter()
        .map(|device| Named::find(device.name()))
        .collect()
}

pub(super) fn iommufd(log: &Log, stage: &Stage) -> Result<()> {
    let bound = bound()?;
    let devices = named(&bound)?;
    for kind in kinds(stage) {
        let open = |memory: &Memory| open_iommufd(&devices, memory, BY_SLOT);
        measure(log, vm(&kind, ONE_PAGE_TABLE), || open(kind.memory))?;
        measure_exit(log, &kind, open)?;
    }
    measure(log, dpdk(), || {
        open_iommufd(&devices[..1], &stage.hugetlb, BY_PAGE)
    })
}

pub(super) fn run(log: &Log, stage: &Stage) -> Result<()> {
    let bound = bound()?;
    let devices = named(&bound)?;
    for kind in kinds(stage) {
        let open = |memory: &Memory| open(&devices, memory, BY_SLOT);
        measure(log, vm(&kind, ONE_PAGE_TABLE), || open(kind.memory))?;
        measure_exit(log, &kind, open)?;
    }
    measure(log, dpdk(), || open(&devices[..1], &stage.hugetlb, BY_PAGE))?;
    two_page_tables(log, stage, &bound)
}

/// Two of the devices, and two that are behind another IOMMU, which is the fixture's: it
/// writes down what is mapped.
fn two_page_tables(log: &Log, stage: &Stage, bound: &[Bound]) -> Result<()> {
    // It cannot keep interrupts apart.
    let _allow = Parameter::set(module::TYPE1, "allow_unsafe_interrupts", "Y")?;
    let fixture = Fixture::open()?;
    let others = [
        fixture.build().iommu(SIZES, 0).create()?,
        fixture.build().iommu(SIZES, 0).create()?,
    ];
    let mut all = named(&bound[..2])?;
    all.extend(named(&others)?);
    for kind in kinds(stage) {
        let rows = vm(&kind, "4 devices with two page tables");
        measure(log, rows, || open(&all, kind.memory, BY_SLOT))?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Allocations that fail while user space uses containers, groups and devices:
//! parts of rows F001, F014, F016, F020, F022, F024, F030, F038, F062, F104,
//! F106, F112 and F118.
//!
//! Only a kernel with fault injection can do that, which the debug kernel is.
//! A thread asks that its n-th allocation from now on fails, for n = 1, 2, ...
//! until nothing fails any more. Each time the request fails with `ENOMEM` and
//! has changed nothing, or it succeeds because it can do without; then it is
//! tried again and must succeed. What C code allocates on our behalf (page
//! tables, files, pinned pages) fails just as what we allocate.
//!
//! Two rows are not asked of the C modules. Seen on them: GET_INFO leaks the
//! capabilities collected so far if there is no memory for the copy of the IOVA
//! ranges; and a group whose node cannot be made warns when it is released, and
//! keeps its IOMMU group for ever.

use std::{
    cell::Cell,
    fs::File,
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use anyhow::{Context, Result};
use rustix::io::Errno;
use vfio_selftests::{
    container::Container,
    device::Device,
    group::Group,
    mdev::{self, Mdev},
    memory::{Memory, HUGE_2M},
    module,
    pci::{self, Bound, PciDevice},
    process,
    request::Arg,
    sysfs,
    target::Target,
    uapi::{self, IommuType1DmaUnmap, IommuType1Info, RegionInfo},
    PAGE,
};

use crate::{
    bench,
    check::pinned_pages,
    harness::{rows, skip, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F001_container_open_out_of_memory,
    F016_group_open_out_of_memory,
    F020_set_container_out_of_memory,
    F014_set_iommu_out_of_memory,
    F022_join_configured_container_out_of_memory,
    F024_device_fd_out_of_memory.limit(120),
    F038_region_info_out_of_memory,
    F118_info_out_of_memory.holds(Holds::OnlyRustType1),
    F104_map_out_of_memory,
    F106_map_huge_out_of_memory,
    F112_unmap_out_of_memory,
    F030_session_out_of_memory.limit(240),
    F062_emulated_device_out_of_memory
        .limit(120)
        .holds(Holds::OnlyRustCore),
];

/// How many allocations one request may need at most.
const MOST: u32 = 1500;

/// One allocation that will fail.
pub(super) struct Fault {
    /// `fail-nth` of this thread. Opened before, because that allocates.
    file: File,
    nth: u32,
    /// Did it happen?
    hit: bool,
}

impl Fault {
    /// Does something whose n-th allocation fails, if it has that many.
    pub(super) fn during<T>(&mut self, work: impl FnOnce() -> T) -> Result<T> {
        let set = |text: &str| {
            self.file
                .write_all_at(text.as_bytes(), 0)
                .context("set fail-nth")
        };
        let text = self.nth.to_string();
        set(&text)?;
        let result = work();
        let mut left = [0; 16];
        let len = self.file.read_at(&mut left, 0);
        set("0")?;
        // What is left of the count says that it was not used up.
        self.hit = left[..len?].starts_with(b"0");
        Ok(result)
    }
}

/// Has no allocation of kmemleak fail, which makes one for each of the others, can
/// do without, and would forget what it was to watch.
fn spare_kmemleak(failslab: &Path) -> Result<()> {
    for cache in sysfs::list("/sys/kernel/slab") {
        let fails = !sysfs::name(&cache).starts_with("kmemleak");
        sysfs::write(cache.join("failslab"), if fails { "1" } else { "0" })?;
    }
    sysfs::write(failslab.join("cache-filter"), "Y")
}

/// Makes `work` run again and again, with another allocation failing each time,
/// and finally with none. Returns how often one failed.
pub(super) fn each_allocation(mut work: impl FnMut(&mut Fault) -> TestResult) -> Result<u32> {
    let nth = Path::new("/proc/thread-self/fail-nth");
    let debug = Path::new("/sys/kernel/debug");
    let [slab, page] = ["failslab", "fail_page_alloc"].map(|kind| debug.join(kind));
    if ![nth, &slab, &page].iter().all(|path| path.exists()) {
        return skip("this kernel cannot inject faults");
    }
    for kind in [&slab, &page] {
        // Also allocations that may wait; and no stack traces in the log.
        sysfs::write(kind.join("ignore-gfp-wait"), "N")?;
        sysfs::write(kind.join("verbose"), "0")?;
    }
    // Single pages too, such as page tables of the IOMMU.
    sysfs::write(page.join("min-order"), "0")?;
    spare_kmemleak(&slab)?;
    let file = File::options().read(true).write(true).open(nth)?;
    let mut fault = Fault {
        file,
        nth: 0,
        hit: true,
    };
    while fault.hit {
        fault.nth += 1;
        assert!(fault.nth < MOST, "no end after {MOST} allocations");
        work(&mut fault).with_context(|| format!("allocation {} fails", fault.nth))?;
    }
    println!("# {} allocations", fault.nth - 1);
    Ok(fault.nth - 1)
}

/// What a request that failed must leave as it was.
#[derive(Debug, PartialEq, Eq)]
struct Ledger {
    locked: u64,
    pinned: i64,
    users: [u64; 3],
}

impl Ledger {
    fn now() -> Result<Self> {
        Ok(Self {
            locked: process::locked()?,
            pinned: pinned_pages()?,
            users: [
                module::users(module::CORE)?,
                module::users(module::TYPE1)?,
                module::users("vfio_pci")?,
            ],
        })
    }
}

/// Lets each allocation of a request fail in turn. The request works without
/// that, and `undo` makes it not have happened.
pub(super) fn fails_cleanly<T>(
    request: impl Fn() -> rustix::io::Result<T>,
    undo: impl Fn(T) -> rustix::io::Result<()>,
) -> TestResult {
    // Once as usual: what the kernel sets up once for all is not the point.
    undo(request()?)?;
    let mut refused = 0;
    each_allocation(|fault| {
        let before = Ledger::now()?;
        match fault.during(&request)? {
            Ok(made) => undo(made)?,
            Err(error) => {
                assert_eq!(error, Errno::NOMEM, "allocation {}", fault.nth);
                assert_eq!(Ledger::now()?, before, "allocation {}", fault.nth);
                refused += 1;
            }
        }
        undo(request().context("the request after one that failed")?)?;
        assert_eq!(Ledger::now()?, before, "allocation {}", fault.nth);
        Ok(())
    })?;
    println!("# {refused} times ENOMEM");
    assert!(refused > 0, "no allocation mattered");
    Ok(())
}

/// The undoing of what goes with its file.
pub(super) fn close<T>(file: T) -> rustix::io::Result<()> {
    drop(file);
    Ok(())
}

/// The argument of GROUP_GET_DEVICE_FD, made before because that allocates.
pub(super) struct Name(Arg);

impl Name {
    pub(super) fn of(target: &impl Target) -> Self {
        Self(Arg::from_bytes(&[target.name().as_bytes(), &[0]].concat()))
    }

    pub(super) fn open(&self, group: &Group) -> rustix::io::Result<Device> {
        let fd = self.0.send(group, uapi::GROUP_GET_DEVICE_FD)?;
        let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
        // SAFETY: The request made this descriptor, and only we know of it.
        Ok(Device::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

/// The argument of IOMMU_UNMAP_DMA.
fn unmap_arg(iova: u64, size: u64) -> Arg {
    Arg::new(&IommuType1DmaUnmap {
        argsz: size_of::<IommuType1DmaUnmap>() as u32,
        flags: 0,
        iova,
        size,
        data: [],
    })
}

fn F001_container_open_out_of_memory() -> TestResult {
    fails_cleanly(Container::open, close)
}

fn F016_group_open_out_of_memory() -> TestResult {
    let edu = bench::bound_edu()?;
    let name = edu.group_name()?;
    // Opening a node that was not looked up for long asks devtmpfs for it.
    fails_cleanly(|| Group::open(&name), close)
}

fn F020_set_container_out_of_memory() -> TestResult {
    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    // A new container each time: one that had a group keeps the room for it.
    fails_cleanly(
        || {
            let container = Container::open()?;
            group.set_container(&container)?;
            Ok(container)
        },
        |_container| group.unset_container(),
    )?;
    // The DMA of the group belongs to nobody: the kernel may have it.
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    Ok(())
}

fn F014_set_iommu_out_of_memory() -> TestResult {
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let group = edu.join(&container)?;
    fails_cleanly(
        || container.set_iommu(uapi::TYPE1v2_IOMMU),
        // There is no way to take it back but with the last group.
        |()| {
            group.unset_container()?;
            group.set_container(&container)
        },
    )
}

fn F022_join_configured_container_out_of_memory() -> TestResult {
    let edus = bench::two_bound_edus()?;
    let container = Container::open()?;
    let _first = edus[0].join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(16 * PAGE)?;
    memory.fill(1);
    container.map(&memory, 0)?;
    let group = edus[1].open_group()?;
    fails_cleanly(
        || group.set_container(&container),
        |()| group.unset_container(),
    )?;
    assert_eq!(
        container.unmap(0, memory.len() as u64)?,
        memory.len() as u64
    );
    Ok(())
}

/// The PCI device that is memory. Opening one that has an interrupt line makes
/// the kernel interpret ACPI methods, and that code uses freed memory after an
/// allocation of its own has failed.
fn bound_shmem() -> Result<Bound> {
    PciDevice::find(pci::IVSHMEM)
        .first()
        .context("no shared memory as a PCI device")?
        .bind()
}

fn F024_device_fd_out_of_memory() -> TestResult {
    let shmem = bound_shmem()?;
    let container = Container::open()?;
    let group = shmem.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let name = Name::of(&*shmem);
    fails_cleanly(|| name.open(&group), close)?;
    // Nothing of all that is still open, or this were EBUSY.
    group.unset_container()?;
    Ok(())
}

fn F038_region_info_out_of_memory() -> TestResult {
    let igb = bench::bound_igb()?;
    let session = igb.open(uapi::TYPE1v2_IOMMU)?;
    // A region with capabilities: that of the interrupt table.
    let (index, size) = (0..uapi::PCI_NUM_REGIONS)
        .find_map(|index| {
            let region = session.device.region(index).ok()?;
            (!region.caps.is_empty()).then_some((index, region.head.argsz))
        })
        .context("no region has capabilities")?;
    let head = RegionInfo {
        argsz: size,
        index,
        ..Default::default()
    };
    let arg = Arg::with_tail(&head, size as usize - size_of::<RegionInfo>());
    fails_cleanly(
        || arg.send(&session.device, uapi::DEVICE_GET_REGION_INFO),
        |_| Ok(()),
    )
}

fn F118_info_out_of_memory() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let size = container.info()?.head.argsz;
    let head = IommuType1Info {
        argsz: size,
        ..Default::default()
    };
    let arg = Arg::with_tail(&head, size as usize - size_of::<IommuType1Info>());
    arg.send(container, uapi::IOMMU_GET_INFO)?;
    let reply = arg.bytes();
    // The kernel asks a second time for memory that need not be contiguous, which
    // the list of ranges is: one allocation that fails may do no harm.
    let failed = each_allocation(|fault| {
        let before = Ledger::now()?;
        match fault.during(|| arg.send(container, uapi::IOMMU_GET_INFO))? {
            Ok(_) => assert_eq!(arg.bytes(), reply),
            Err(error) => assert_eq!(error, Errno::NOMEM),
        }
        assert_eq!(Ledger::now()?, before);
        Ok(())
    })?;
    assert!(failed > 0, "it needed no memory");
    Ok(())
}

/// Maps `memory`, each time where nothing was mapped before, so that page
/// tables are needed.
fn map_fails_cleanly(memory: &Memory) -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    memory.fill(1);
    let place = Cell::new(0);
    fails_cleanly(
        || {
            let iova = place.get() << 30;
            container.map(memory, iova)?;
            Ok(iova)
        },
        |iova| {
            assert_eq!(
                container.unmap(iova, memory.len() as u64)?,
                memory.len() as u64
            );
            // Any IOMMU reaches 256 GiB.
            place.set((place.get() + 1) % 256);
            Ok(())
        },
    )?;
    assert_eq!(
        container.unmap_all()?,
        0,
        "a map that failed left something"
    );
    Ok(())
}

fn F104_map_out_of_memory() -> TestResult {
    map_fails_cleanly(&Memory::anonymous(PAGE)?)
}

fn F106_map_huge_out_of_memory() -> TestResult {
    map_fails_cleanly(&Memory::transparent_huge(2 * HUGE_2M)?)
}

fn F112_unmap_out_of_memory() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let memory = Memory::anonymous(64 * PAGE)?;
    memory.fill(1);
    let len = memory.len() as u64;
    each_allocation(|fault| {
        let before = Ledger::now()?;
        container.map(&memory, 0)?;
        let arg = unmap_arg(0, len);
        // Taking away needs nothing that could be refused.
        fault.during(|| arg.send(container, uapi::IOMMU_UNMAP_DMA))??;
        assert_eq!(arg.get::<IommuType1DmaUnmap>(0).size, len);
        assert_eq!(Ledger::now()?, before);
        Ok(())
    })?;
    Ok(())
}

fn F030_session_out_of_memory() -> TestResult {
    let shmem = bound_shmem()?;
    let group = shmem.group_name()?;
    let name = Name::of(&*shmem);
    let memory = Memory::anonymous(4 * PAGE)?;
    memory.fill(1);
    let len = memory.len() as u64;
    let session = || {
        let container = Container::open()?;
        let group = Group::open(&group)?;
        group.set_container(&container)?;
        container.set_iommu(uapi::TYPE1v2_IOMMU)?;
        container.map(&memory, 0)?;
        let device = name.open(&group)?;
        device.info()?;
        Ok((device, group, container))
    };
    let end = |(device, group, container): (Device, Group, Container)| {
        assert_eq!(container.unmap(0, len)?, len);
        drop(device);
        group.unset_container()
    };
    fails_cleanly(session, end)
}

fn F062_emulated_device_out_of_memory() -> TestResult {
    if !Mdev::available() {
        return skip("this kernel has no mtty sample");
    }
    let create = Path::new(mdev::MTTY).join("mtty-1/create");
    let uuid = "f00d0000-0000-4000-8000-0000000fa17e";
    each_allocation(|fault| {
        let before = Ledger::now()?;
        if let Err(error) = fault.during(|| sysfs::write(&create, uuid))? {
            // The driver core calls a device whose name cannot be stored invalid.
            let errno = error.downcast_ref().and_then(Errno::from_io_error);
            assert!(
                matches!(errno, Some(Errno::NOMEM | Errno::INVAL)),
                "{error:#}"
            );
        }
        // The bus keeps a device that its driver refused.
        for device in Mdev::all() {
            device.remove()?;
        }
        assert_eq!(Ledger::now()?, before);
        // Making and opening a device takes longer than the rest of this, so
        // whether that still works is tried every fourth time.
        if fault.nth % 4 == 0 {
            let device = Mdev::create(0xfa17)?;
            drop(device.open(uapi::TYPE1v2_IOMMU)?);
        }
        Ok(())
    })?;
    Ok(())
}

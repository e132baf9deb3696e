// SPDX-License-Identifier: GPL-2.0
//! What the backend says about itself, and which groups it takes: rows
//! F117-F122, F124, F125, R-13, R-20 and R-21.

use std::mem;

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, READ_WRITE},
    kmsg::Log,
    memory::Memory,
    module::{self, Parameter},
    pci::PciDevice,
    process,
    request::{self, Arg},
    sysfs,
    target::Target,
    uapi::{self, IommuType1Info, IovaRange},
    PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench,
    check::{fails, pinned_pages},
    harness::{rows, skip, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F117_info_sizes,
    F118_info_capabilities,
    F118_info_without_ranges,
    F119_iova_list,
    F119_iova_list_after_detach,
    F120_domain_sharing,
    F121_dma_coherency,
    F122_isolated_interrupts,
    F124_emulated_devices_only,
    F125_emulated_and_physical,
    R13_capability_padding,
    R20_reserved_region_over_a_mapping,
    R21_relaxable_reserved_region,
];

const PAGE64: u64 = PAGE as u64;
const HEAD: u32 = mem::size_of::<IommuType1Info>() as u32;

/// Asks with a slot of this size, in room for exactly that but at least
/// the 16 bytes that are always read, filled with 0xff.
fn info_with(container: &Container, slot: u32) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = vec![0xff; slot.max(16) as usize];
    bytes[..4].copy_from_slice(&slot.to_ne_bytes());
    let arg = Arg::from_bytes(&bytes);
    arg.send(container, uapi::IOMMU_GET_INFO)?;
    Ok(arg.bytes())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn F117_info_sizes() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    fails(
        request::with_bad_address(container, uapi::IOMMU_GET_INFO),
        Errno::FAULT,
    );
    for slot in [0, 8, 15] {
        fails(info_with(container, slot), Errno::INVAL);
    }
    // Fewer bytes than every caller must have.
    fails(
        Arg::from_bytes(&[16, 0, 0, 0]).send(container, uapi::IOMMU_GET_INFO),
        Errno::FAULT,
    );
    let needed = word(&info_with(container, 16)?, 0);
    assert!(needed > HEAD, "{needed}");
    let flags = uapi::IOMMU_INFO_PGSIZES | uapi::IOMMU_INFO_CAPS;

    // As much of the fixed part as there is room for; no capabilities.
    for slot in [16, 20, 23, 24, 25, needed - 1] {
        let bytes = info_with(container, slot)?;
        assert_eq!(word(&bytes, 0), needed, "slot {slot}");
        assert_eq!(word(&bytes, 4), flags, "slot {slot}");
        assert!(bytes[8..16] != [0xff; 8], "slot {slot}");
        if slot >= 20 {
            assert_eq!(word(&bytes, 16), 0, "slot {slot}: where capabilities begin");
        }
        let untouched = bytes.get(HEAD as usize..).unwrap_or_default();
        assert!(untouched.iter().all(|byte| *byte == 0xff), "slot {slot}");
    }
    for slot in [needed, needed + 1, needed + 100] {
        let bytes = info_with(container, slot)?;
        assert_eq!(word(&bytes, 0), slot);
        assert_eq!(word(&bytes, 16), HEAD);
        let untouched = &bytes[needed as usize..];
        assert!(untouched.iter().all(|byte| *byte == 0xff), "slot {slot}");
    }
    // There is less room than it says.
    let mut head = vec![0; HEAD as usize];
    head[..4].copy_from_slice(&needed.to_ne_bytes());
    fails(
        Arg::from_bytes(&head).send(container, uapi::IOMMU_GET_INFO),
        Errno::FAULT,
    );
    let arg = Arg::from_bytes(&head);
    arg.make_read_only();
    fails(arg.send(container, uapi::IOMMU_GET_INFO), Errno::FAULT);
    Ok(())
}

fn F118_info_capabilities() -> TestResult {
    let open = bench::open()?;
    let info = open.session.container.info()?;
    let ranges = info.iova_ranges().expect("ranges");
    assert!(!ranges.is_empty());
    // Their order, their places and their sizes.
    let found: Vec<_> = info
        .caps
        .iter()
        .map(|cap| (u32::from(cap.id), cap.version, cap.offset))
        .collect();
    assert_eq!(
        found,
        [
            (uapi::IOMMU_TYPE1_INFO_CAP_MIGRATION, 1, 24),
            (uapi::IOMMU_TYPE1_INFO_DMA_AVAIL, 1, 56),
            (uapi::IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 72),
        ]
    );
    assert_eq!(info.head.argsz as usize, 88 + 16 * ranges.len());
    // Their content.
    let migration = &info.caps[0];
    assert_eq!(migration.get::<u32>(8), 0);
    assert_eq!(migration.get::<u64>(16), info.smallest_page());
    assert_eq!(migration.get::<u64>(24), 1 << 28);
    assert_eq!(info.dma_avail(), Some(65535));
    assert_eq!(info.head.iova_pgsizes & (PAGE64 - 1), 0);
    assert_eq!(info.smallest_page(), PAGE64);
    Ok(())
}

fn F118_info_without_ranges() -> TestResult {
    let mtty = bench::mtty(1)?;
    let session = mtty.open(uapi::TYPE1v2_IOMMU)?;
    let info = session.container.info()?;
    assert_eq!(info.head.argsz, 72);
    assert!(info.iova_ranges().is_none());
    assert_eq!(info.caps.len(), 2);
    // Without an IOMMU every multiple of a page is a page size.
    assert_eq!(info.head.iova_pgsizes, !(PAGE64 - 1));
    Ok(())
}

/// The reserved regions of a device that mappings must stay away from, first
/// and last address.
fn reserved_regions(device: &PciDevice) -> anyhow::Result<Vec<(u64, u64)>> {
    let text = sysfs::read(device.sysfs().join("iommu_group/reserved_regions"))?;
    text.lines()
        .filter(|line| !line.ends_with("direct-relaxable"))
        .map(|line| {
            let mut words = line
                .split_whitespace()
                .map(|word| word.trim_start_matches("0x"));
            let mut next = || u64::from_str_radix(words.next().unwrap_or_default(), 16);
            Ok((next()?, next()?))
        })
        .collect()
}

fn assert_sorted(ranges: &[IovaRange]) {
    for range in ranges {
        assert!(range.start <= range.end, "{range:?}");
    }
    for pair in ranges.windows(2) {
        // A hole between them, or they would be one.
        assert!(pair[0].end + 1 < pair[1].start, "{pair:?}");
    }
}

fn F119_iova_list() -> TestResult {
    let open = bench::open()?;
    let ranges = open
        .session
        .container
        .info()?
        .iova_ranges()
        .expect("ranges");
    assert_sorted(&ranges);
    let reserved = reserved_regions(&open.pci)?;
    assert!(
        !reserved.is_empty(),
        "not even the region of interrupts is reserved"
    );
    for (first, last) in &reserved {
        for range in &ranges {
            assert!(
                range.end < *first || range.start > *last,
                "{range:?}: {first:#x}-{last:#x}"
            );
        }
        // What is left out is just that.
        let good = |iova: u64| ranges.iter().any(|r| r.start <= iova && iova <= r.end);
        assert!(good(first - 1), "below {first:#x}");
        assert!(good(last + 1), "above {last:#x}");
    }
    assert_eq!(ranges.len(), reserved.len() + 1);
    assert_eq!(ranges[0].start, 0);
    Ok(())
}

fn F119_iova_list_after_detach() -> TestResult {
    let mtty = bench::mtty(1)?;
    let [a, b] = bench::two_bound_edus()?;
    let session = mtty.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let list = || container.info().map(|info| info.iova_ranges());
    assert_eq!(list()?, None);
    let first = a.join(container)?;
    let alone = list()?.expect("ranges");
    let second = b.join(container)?;
    assert_eq!(list()?, Some(alone.clone()));
    first.unset_container()?;
    assert_eq!(list()?, Some(alone.clone()));
    // With the last real device its limits go.
    second.unset_container()?;
    assert_eq!(
        list()?,
        Some(vec![IovaRange {
            start: 0,
            end: u64::MAX
        }])
    );
    let memory = Memory::anonymous(PAGE)?;
    container.map(&memory, 0xfee0_0000)?;
    container.unmap_all()?;
    first.set_container(container)?;
    assert_eq!(list()?, Some(alone));
    fails(container.map(&memory, 0xfee0_0000), Errno::INVAL);
    Ok(())
}

/// How many pages IOMMU page tables have, all domains together.
fn table_pages() -> anyhow::Result<u64> {
    sysfs::write("/proc/sys/vm/stat_refresh", "1")?;
    let text = sysfs::read("/proc/vmstat")?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("nr_iommu_pages "));
    Ok(value.unwrap_or_default().parse()?)
}

/// Two groups behind IOMMUs of one kind have one set of page tables.
fn F120_domain_sharing() -> TestResult {
    const COUNT: u64 = 1000;
    let [a, b] = bench::two_bound_edus()?;
    let session = a.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = Memory::anonymous(PAGE)?;
    let before = table_pages()?;
    // Far apart, so that each needs tables of its own.
    for n in 1..=COUNT {
        container.map(&memory, n << 30 | IOVA)?;
    }
    let one = table_pages()?;
    assert!(one - before >= COUNT, "{before} pages before, {one} after");
    let second = b.join(container)?;
    let two = table_pages()?;
    // Unless the backend was built so that they have not (`make test SPLIT=1`).
    let split = std::env::var("SPLIT").is_ok_and(|value| value == "yes");
    assert_eq!(
        two - one < COUNT / 2,
        !split,
        "{one} pages for one group, {two} for two"
    );
    // They stay for the group that stays.
    session.group.device(a.name())?;
    second.unset_container()?;
    assert!(table_pages()? + COUNT / 2 > one);
    assert_eq!(container.unmap_all()?, COUNT * PAGE64);
    Ok(())
}

/// The register in which a VT-d unit says what more it can do.
fn extended_capabilities() -> anyhow::Result<u64> {
    let units = sysfs::list("/sys/class/iommu");
    let unit = units
        .iter()
        .find(|path| sysfs::name(path).starts_with("dmar"));
    let Some(unit) = unit else {
        return skip("this IOMMU does not say what it can do");
    };
    let text = sysfs::read(unit.join("intel-iommu/ecap"))?;
    Ok(u64::from_str_radix(&text, 16)?)
}

fn F121_dma_coherency() -> TestResult {
    // Bit 7: it can be told to ignore what devices ask for.
    let enforces = u32::from(extended_capabilities()? & (1 << 7) != 0);
    let mtty = bench::mtty(1)?;
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let coherent = || container.check_extension(uapi::DMA_CC_IOMMU);
    assert_eq!(coherent()?, 0, "without a backend");
    let emulated = mtty.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    // Nobody who could be incoherent.
    assert_eq!(coherent()?, 1);
    let physical = edu.join(&container)?;
    assert_eq!(coherent()?, enforces);
    emulated.unset_container()?;
    assert_eq!(coherent()?, enforces);
    emulated.set_container(&container)?;
    physical.unset_container()?;
    assert_eq!(coherent()?, 1);
    Ok(())
}

/// A device whose interrupts are not checked could forge those of others. Such
/// a device is refused, unless the administrator takes the risk.
fn F122_isolated_interrupts() -> TestResult {
    // Bit 3: it checks interrupts, and bit 1 of the log says whether it does.
    let isolated = Log::from_boot()?.with(&["Enabled IRQ remapping"])?;
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let group = edu.join(&container)?;
    let mut log = Log::from_now()?;
    if isolated.is_empty() {
        fails(container.set_iommu(uapi::TYPE1v2_IOMMU), Errno::PERM);
        let warnings = log.with(&["allow_unsafe_interrupts"])?;
        assert!(
            warnings.iter().any(|message| message.level == 4),
            "no warning: {warnings:?}"
        );
        // Nothing is left of the attempt. The parameter counts at each attach.
        fails(container.info(), Errno::INVAL);
        let allowed = Parameter::set(module::TYPE1, "allow_unsafe_interrupts", "Y")?;
        container.set_iommu(uapi::TYPE1v2_IOMMU)?;
        drop(allowed);
        container.info()?;
        group.unset_container()?;
        group.set_container(&container)?;
        fails(container.set_iommu(uapi::TYPE1v2_IOMMU), Errno::PERM);
    } else {
        let parameter = Parameter::path(module::TYPE1, "allow_unsafe_interrupts");
        assert_eq!(sysfs::read(parameter)?, "N");
        container.set_iommu(uapi::TYPE1v2_IOMMU)?;
        assert_eq!(log.with(&["allow_unsafe_interrupts"])?, []);
    }
    Ok(())
}

fn F124_emulated_devices_only() -> TestResult {
    let mtty = bench::mtty(1)?;
    let session = mtty.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let (locked, pinned) = (process::locked()?, pinned_pages()?);
    let memory = Memory::anonymous(64 * PAGE)?;
    memory.fill(1);
    container.map(&memory, IOVA)?;
    // What no device can reach need not be held.
    assert_eq!(process::locked()?, locked);
    assert_eq!(pinned_pages()?, pinned);
    assert!(container.info()?.iova_ranges().is_none());
    // Not even memory has to be there.
    container.map_raw(READ_WRITE, u64::MAX << 12, 2 * IOVA, PAGE64)?;
    assert_eq!(container.unmap_all()?, 65 * PAGE64);
    Ok(())
}

fn F125_emulated_and_physical() -> TestResult {
    let mtty = bench::mtty(1)?;
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let (locked, pinned) = (process::locked()?, pinned_pages()?);
    let memory = Memory::anonymous(64 * PAGE)?;
    memory.fill(1);
    let held = 64 * PAGE64;

    // Emulated first: the memory is held from when a real device comes to when
    // it goes.
    let emulated = mtty.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    container.map(&memory, IOVA)?;
    for _ in 0..3 {
        assert_eq!(process::locked()?, locked);
        let physical = edu.join(&container)?;
        assert_eq!(process::locked()?, locked + held);
        assert_eq!(pinned_pages()?, pinned + 64);
        // And it can use what was mapped before it came.
        let device = physical.device(edu.name())?;
        memory.write(0, b"early");
        copy(&device, IOVA, IOVA + PAGE64, 5)?;
        assert_eq!(memory.read(PAGE, 5), b"early");
        drop(device);
        physical.unset_container()?;
        assert_eq!(process::locked()?, locked);
        assert_eq!(pinned_pages()?, pinned);
    }
    assert_eq!(container.unmap(IOVA, held)?, held);
    emulated.unset_container()?;

    // A real device first: its mappings stay for the emulated one.
    let physical = edu.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    container.map(&memory, IOVA)?;
    emulated.set_container(&container)?;
    assert_eq!(process::locked()?, locked + held);
    physical.unset_container()?;
    assert_eq!(process::locked()?, locked);
    assert_eq!(container.unmap(IOVA, held)?, held);
    // The emulated one leaves first.
    physical.set_container(&container)?;
    container.map(&memory, IOVA)?;
    emulated.unset_container()?;
    assert_eq!(process::locked()?, locked + held);
    physical.unset_container()?;
    assert_eq!(process::locked()?, locked);
    assert_eq!(pinned_pages()?, pinned);
    Ok(())
}

fn R13_capability_padding() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    let needed = container.info()?.head.argsz;
    // The room was full of 0xff before, and the kernel's memory of anything.
    let bytes = info_with(container, needed)?;
    assert_eq!(word(&bytes, 20), 0, "behind the fixed part");
    assert_eq!(word(&bytes, 24 + 12), 0, "inside the migration capability");
    assert_eq!(
        word(&bytes, 56 + 12),
        0,
        "behind the number of mappings left"
    );
    assert_eq!(word(&bytes, 72 + 12), 0, "behind the number of ranges");
    assert_eq!(needed % 8, 0);
    Ok(())
}

fn R20_reserved_region_over_a_mapping() -> TestResult {
    let mtty = bench::mtty(1)?;
    let [a, b] = bench::two_bound_edus()?;
    let session = mtty.open(uapi::TYPE1v2_IOMMU)?;
    let container = &session.container;
    let memory = Memory::anonymous(PAGE)?;
    let (locked, pinned) = (process::locked()?, pinned_pages()?);
    let (first, last) = reserved_regions(&a)?[0];
    let group = a.open_group()?;
    for iova in [first, last - (PAGE64 - 1)] {
        container.map(&memory, iova)?;
        container.map(&memory, IOVA)?;
        fails(group.set_container(container), Errno::INVAL);
        assert!(container.info()?.iova_ranges().is_none());
        assert_eq!(process::locked()?, locked);
        assert_eq!(pinned_pages()?, pinned);
        assert_eq!(container.unmap_all()?, 2 * PAGE64);
    }
    // Beyond what the hardware can address: the IOMMU says why.
    container.map(&memory, IOVA)?;
    container.map(&memory, u64::MAX << 12)?;
    assert!(group.set_container(container).is_err());
    assert_eq!(process::locked()?, locked);
    assert_eq!(pinned_pages()?, pinned);
    assert_eq!(container.unmap_all()?, 2 * PAGE64);
    // Side by side is no conflict.
    container.map(&memory, first - PAGE64)?;
    container.map(&memory, last + 1)?;
    group.set_container(container)?;
    b.join(container)?;
    assert_eq!(process::locked()?, locked + 2 * PAGE64);
    Ok(())
}

/// Memory that a device was given by the firmware, and can do without. The
/// bridge to legacy devices has such a region, and with it its whole group.
fn R21_relaxable_reserved_region() -> TestResult {
    let relaxable = |pci: &PciDevice| {
        sysfs::read(pci.sysfs().join("iommu_group/reserved_regions"))
            .is_ok_and(|text| text.contains("direct-relaxable"))
    };
    let device = PciDevice::all()
        .into_iter()
        .find(|pci| relaxable(pci) && !pci.is_bridge() && pci.driver().is_none());
    let Some(device) = device else {
        return skip("no free device has a relaxable region");
    };
    let device = device.bind()?;
    let container = Container::open()?;
    let _group = device.join(&container)?;
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let info = container.info()?;
    assert_eq!(info.iova_ranges().expect("ranges")[0].start, 0);
    let memory = Memory::anonymous(PAGE)?;
    container.map(&memory, 0)?;
    container.map(&memory, IOVA)?;
    Ok(())
}

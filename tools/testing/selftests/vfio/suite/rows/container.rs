// SPDX-License-Identifier: GPL-2.0
//! The container file on its own, and how it gets a backend and loses it:
//! rows F001-F014.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::io::Errno;
use vfio_selftests::{
    container::{Container, PATH},
    edu::Edu,
    memory::Memory,
    module::Parameter,
    request,
    target::Target,
    uapi, PAGE,
};

use crate::{
    bench,
    check::{fails, fails_in},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F001_container_node,
    F003_get_api_version,
    F004_unknown_request_without_backend,
    F005_unknown_request_with_backend,
    F006_read_write_mmap,
    F007_extensions_of_an_empty_container,
    F008_extensions_with_a_backend,
    F008_extensions_with_an_emulated_group,
    F009_set_iommu_without_group,
    F010_set_iommu_twice,
    F011_set_iommu_odd_values,
    F012_back_to_the_first_state,
    F013_several_groups_at_once,
    F014_refused_group_leaves_the_first_working,
];

/// A request number that no file of VFIO knows.
pub(crate) const UNKNOWN: u32 = uapi::GET_API_VERSION + 99;

fn F001_container_node() -> TestResult {
    let node = std::fs::metadata(PATH)?;
    assert!(node.file_type().is_char_device());
    assert_eq!(
        (
            rustix::fs::major(node.rdev()),
            rustix::fs::minor(node.rdev())
        ),
        (10, 196)
    );
    assert_eq!(node.mode() & 0o777, 0o666);
    assert!(std::fs::exists("/sys/class/misc/vfio")?);
    Ok(())
}

fn F003_get_api_version() -> TestResult {
    let container = Container::open()?;
    assert_eq!(container.api_version()?, uapi::API_VERSION);
    // The argument is nothing to it.
    assert_eq!(
        request::with_bad_address(&container, uapi::GET_API_VERSION)?,
        0
    );
    Ok(())
}

fn F004_unknown_request_without_backend() -> TestResult {
    let container = Container::open()?;
    for number in [
        UNKNOWN,
        uapi::IOMMU_GET_INFO,
        uapi::IOMMU_MAP_DMA,
        uapi::IOMMU_DIRTY_PAGES,
    ] {
        fails_in(
            &format!("{number:#x}"),
            request::with_number(&container, number, 0),
            Errno::INVAL,
        );
    }
    // A group in it is no backend yet.
    let edu = bench::bound_edu()?;
    let _group = edu.join(&container)?;
    fails(request::with_number(&container, UNKNOWN, 0), Errno::INVAL);
    Ok(())
}

fn F005_unknown_request_with_backend() -> TestResult {
    let open = bench::open()?;
    for number in [
        UNKNOWN,
        uapi::IOMMU_ENABLE,
        uapi::IOMMU_DISABLE,
        uapi::GROUP_GET_STATUS,
    ] {
        let result = request::with_number(&open.session.container, number, 0);
        fails_in(&format!("{number:#x}"), result, Errno::NOTTY);
    }
    Ok(())
}

fn F006_read_write_mmap() -> TestResult {
    let container = Container::open()?;
    fails(rustix::io::read(&container, &mut [0; 8]), Errno::INVAL);
    fails(rustix::io::write(&container, &[0; 8]), Errno::INVAL);
    fails(Memory::of_file(&container, 0, PAGE, false), Errno::NODEV);
    Ok(())
}

/// The extensions that type1 has whatever is in the container.
fn is_constant(extension: u32) -> u32 {
    u32::from(matches!(
        extension,
        uapi::TYPE1_IOMMU | uapi::TYPE1v2_IOMMU | uapi::UNMAP_ALL
    ))
}

fn F007_extensions_of_an_empty_container() -> TestResult {
    let container = Container::open()?;
    for extension in 0..=20 {
        let expected = is_constant(extension);
        assert_eq!(
            container.check_extension(extension)?,
            expected,
            "extension {extension}"
        );
    }
    assert_eq!(container.check_extension(u32::MAX)?, 0);
    // Devices without an IOMMU: as the administrator says at the moment.
    if Parameter::path("vfio", "enable_unsafe_noiommu_mode").exists() {
        let _allowed = Parameter::set("vfio", "enable_unsafe_noiommu_mode", "Y")?;
        assert_eq!(container.check_extension(uapi::NOIOMMU_IOMMU)?, 1);
    }
    assert_eq!(container.check_extension(uapi::NOIOMMU_IOMMU)?, 0);
    Ok(())
}

/// Extensions whose answer depends on what is in the container have rows of
/// their own: F121 (coherency) and F114 (new user addresses).
fn assert_constant_extensions(container: &Container) -> TestResult {
    for extension in 0..=20 {
        if matches!(extension, uapi::DMA_CC_IOMMU | uapi::UPDATE_VADDR) {
            continue;
        }
        let expected = is_constant(extension);
        assert_eq!(
            container.check_extension(extension)?,
            expected,
            "extension {extension}"
        );
    }
    Ok(())
}

fn F008_extensions_with_a_backend() -> TestResult {
    let open = bench::open()?;
    assert_constant_extensions(&open.session.container)?;
    // Only the backend that was chosen is asked.
    if Parameter::path("vfio", "enable_unsafe_noiommu_mode").exists() {
        let _allowed = Parameter::set("vfio", "enable_unsafe_noiommu_mode", "Y")?;
        assert_eq!(
            open.session
                .container
                .check_extension(uapi::NOIOMMU_IOMMU)?,
            0
        );
    }
    Ok(())
}

fn F008_extensions_with_an_emulated_group() -> TestResult {
    let mtty = bench::mtty(1)?;
    let session = mtty.open(uapi::TYPE1v2_IOMMU)?;
    assert_constant_extensions(&session.container)?;
    assert_eq!(session.container.check_extension(uapi::DMA_CC_IOMMU)?, 1);
    assert_eq!(session.container.check_extension(uapi::UPDATE_VADDR)?, 0);
    Ok(())
}

fn F009_set_iommu_without_group() -> TestResult {
    let container = Container::open()?;
    for backend in [
        uapi::TYPE1_IOMMU,
        uapi::TYPE1v2_IOMMU,
        uapi::NOIOMMU_IOMMU,
        77,
    ] {
        fails_in(
            &format!("backend {backend}"),
            container.set_iommu(backend),
            Errno::INVAL,
        );
    }
    Ok(())
}

fn F010_set_iommu_twice() -> TestResult {
    let open = bench::open()?;
    for backend in [uapi::TYPE1v2_IOMMU, uapi::TYPE1_IOMMU, 77] {
        fails(open.session.container.set_iommu(backend), Errno::INVAL);
    }
    // The first choice stands.
    open.session.container.info()?;
    Ok(())
}

fn F011_set_iommu_odd_values() -> TestResult {
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let _group = edu.join(&container)?;
    for (backend, errno) in [
        (0, Errno::NODEV),
        (uapi::SPAPR_TCE_IOMMU, Errno::NODEV),
        (uapi::DMA_CC_IOMMU, Errno::NODEV),
        (uapi::EEH, Errno::NODEV),
        (uapi::RESERVED_TYPE1_NESTING_IOMMU, Errno::NODEV),
        (uapi::SPAPR_TCE_v2_IOMMU, Errno::NODEV),
        (uapi::NOIOMMU_IOMMU, Errno::NODEV),
        // Type1 has it as an extension, so it is asked, and refuses.
        (uapi::UNMAP_ALL, Errno::INVAL),
        (uapi::UPDATE_VADDR, Errno::NODEV),
        (11, Errno::NODEV),
        (u32::MAX, Errno::NODEV),
    ] {
        fails_in(
            &format!("backend {backend}"),
            container.set_iommu(backend),
            errno,
        );
    }
    // None of that did harm.
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    Ok(())
}

fn F012_back_to_the_first_state() -> TestResult {
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let group = edu.join(&container)?;
    let memory = Memory::anonymous(PAGE)?;
    for backend in [uapi::TYPE1v2_IOMMU, uapi::TYPE1_IOMMU, uapi::TYPE1v2_IOMMU] {
        container.set_iommu(backend)?;
        container.map(&memory, 0x10_0000)?;
        group.unset_container()?;
        // No backend, no group, and no mapping from before.
        fails(container.info(), Errno::INVAL);
        fails(container.set_iommu(backend), Errno::INVAL);
        group.set_container(&container)?;
    }
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    assert_eq!(container.unmap_all()?, 0);
    Ok(())
}

fn F013_several_groups_at_once() -> TestResult {
    let mttys = [bench::mtty(1)?, bench::mtty(2)?];
    let container = Container::open()?;
    let groups = [mttys[0].join(&container)?, mttys[1].join(&container)?];
    // Before: neither can open its device. After one request: both can.
    for (mtty, group) in mttys.iter().zip(&groups) {
        fails(group.device(mtty.name()), Errno::INVAL);
    }
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    for (mtty, group) in mttys.iter().zip(&groups) {
        group.device(mtty.name())?.info()?;
    }
    // The backend stays until the last group leaves.
    groups[0].unset_container()?;
    container.info()?;
    groups[1].unset_container()?;
    fails(container.info(), Errno::INVAL);

    // The same with real devices: one mapping serves both.
    let edus = bench::two_bound_edus()?;
    let _groups = [edus[0].join(&container)?, edus[1].join(&container)?];
    container.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    memory.write(0, b"one container");
    container.map(&memory, 0x10_0000)?;
    for (edu, group) in edus.iter().zip(&_groups) {
        memory.write(PAGE, &[0; 16]);
        let device = group.device(edu.name())?;
        let edu = Edu::new(&device)?;
        edu.read_memory(0x10_0000, 13)?;
        edu.write_memory(0x10_1000, 13)?;
        assert_eq!(memory.read(PAGE, 13), b"one container");
    }
    Ok(())
}

fn F014_refused_group_leaves_the_first_working() -> TestResult {
    let mtty = bench::mtty(1)?;
    let emulated = mtty.open(uapi::TYPE1v2_IOMMU)?;
    // For an emulated device all addresses are good, also those that the
    // interrupts of a real one need.
    let memory = Memory::anonymous(PAGE)?;
    emulated.container.map(&memory, 0xfee0_0000)?;

    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    fails(group.set_container(&emulated.container), Errno::INVAL);
    // Nothing of the attempt is left: neither in the group nor in the container.
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    fails(group.unset_container(), Errno::INVAL);
    assert!(emulated.container.info()?.iova_ranges().is_none());
    emulated.device.info()?;
    assert_eq!(emulated.container.unmap_all()?, PAGE as u64);
    group.set_container(&emulated.container)?;
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Row F149: every request as a 32-bit program makes it. The structures are
//! those of 64-bit programs; only the way into the kernel differs.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use rustix::io::Errno;
use vfio_selftests::{
    caps, compat,
    container::{Container, READ_WRITE},
    device::{Device, Event},
    edu::Edu,
    memory::Memory,
    request::{bytes_of, Arg, Plain},
    target::Target,
    uapi::{
        self, DeviceFeature, DeviceInfo, GroupStatus, IommuType1DmaMap, IommuType1DmaUnmap,
        IommuType1Info, IrqInfo, IrqSet, RegionInfo,
    },
    PAGE,
};

use super::{container::UNKNOWN, map::IOVA};
use crate::{
    bench,
    check::fails,
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F149_container_and_group_as_32_bit,
    F149_type1_as_32_bit,
    F149_device_as_32_bit,
];

fn low<T: Plain>(value: &T) -> Arg {
    Arg::low(bytes_of(value))
}

fn F149_container_and_group_as_32_bit() -> TestResult {
    let edu = bench::bound_edu()?;
    let container = Container::open()?;
    let group = edu.open_group()?;
    assert_eq!(
        compat::with_number(&container, uapi::GET_API_VERSION, 0)?,
        0
    );
    let has = |extension| compat::with_number(&container, uapi::CHECK_EXTENSION, extension);
    assert_eq!(
        (has(uapi::TYPE1v2_IOMMU)?, has(uapi::UNMAP_ALL)?, has(7)?),
        (1, 1, 0)
    );
    fails(compat::with_number(&container, UNKNOWN, 0), Errno::INVAL);
    fails(compat::with_number(&group, UNKNOWN, 0), Errno::NOTTY);

    let status = low(&GroupStatus { argsz: 8, flags: 0 });
    compat::send(&status, &group, uapi::GROUP_GET_STATUS)?;
    assert_eq!(status.get::<GroupStatus>(0).flags, uapi::GROUP_FLAGS_VIABLE);
    fails(
        compat::with_bad_address(&group, uapi::GROUP_GET_STATUS),
        Errno::FAULT,
    );
    fails(
        compat::with_bad_address(&group, uapi::GROUP_SET_CONTAINER),
        Errno::FAULT,
    );
    let fd = container.as_fd().as_raw_fd();
    compat::send(&low(&fd), &group, uapi::GROUP_SET_CONTAINER)?;
    compat::with_number(&container, uapi::SET_IOMMU, uapi::TYPE1v2_IOMMU)?;
    fails(
        compat::with_number(&container, uapi::SET_IOMMU, uapi::TYPE1v2_IOMMU),
        Errno::INVAL,
    );

    let mut name = edu.name().as_bytes().to_vec();
    name.push(0);
    let fd = compat::send(&Arg::low(&name), &group, uapi::GROUP_GET_DEVICE_FD)?;
    // SAFETY: The request made this descriptor, and only we know of it.
    let device = Device::from(unsafe { OwnedFd::from_raw_fd(fd.try_into()?) });
    assert_eq!(Edu::new(&device)?.factorial(5)?, 120);
    fails(
        compat::with_number(&group, uapi::GROUP_UNSET_CONTAINER, 0),
        Errno::BUSY,
    );
    drop(device);
    compat::with_number(&group, uapi::GROUP_UNSET_CONTAINER, 0)?;
    Ok(())
}

fn F149_type1_as_32_bit() -> TestResult {
    let open = bench::open()?;
    let container = &open.session.container;
    // What a 64-bit program gets is what a 32-bit program gets.
    let expected = container.info()?;
    let mut bytes = vec![0; expected.head.argsz as usize];
    bytes[..4].copy_from_slice(&expected.head.argsz.to_ne_bytes());
    let info = Arg::low(&bytes);
    compat::send(&info, container, uapi::IOMMU_GET_INFO)?;
    let head: IommuType1Info = info.get(0);
    assert_eq!(head, expected.head);
    assert_eq!(caps::chain(&info.bytes(), head.cap_offset), expected.caps);

    let memory = Memory::anonymous(2 * PAGE)?;
    let map = low(&IommuType1DmaMap {
        argsz: 32,
        flags: READ_WRITE,
        vaddr: memory.address() as u64,
        iova: IOVA,
        size: memory.len() as u64,
    });
    compat::send(&map, container, uapi::IOMMU_MAP_DMA)?;
    fails(
        compat::send(&map, container, uapi::IOMMU_MAP_DMA),
        Errno::EXIST,
    );
    memory.write(0, b"32 bits");
    super::map::copy(&open.session.device, IOVA, IOVA + PAGE as u64, 7)?;
    assert_eq!(memory.read(PAGE, 7), b"32 bits");

    let mut unmap = IommuType1DmaUnmap {
        argsz: 24,
        flags: 0,
        iova: IOVA,
        size: PAGE as u64,
        data: [],
    };
    fails(
        compat::send(&low(&unmap), container, uapi::IOMMU_UNMAP_DMA),
        Errno::INVAL,
    );
    // All 64 bits of a size count.
    unmap.size = (1 << 32) + PAGE as u64;
    let arg = low(&unmap);
    compat::send(&arg, container, uapi::IOMMU_UNMAP_DMA)?;
    let size: u64 = arg.get(mem::offset_of!(IommuType1DmaUnmap, size));
    assert_eq!(size, 2 * PAGE as u64);
    fails(compat::with_number(container, UNKNOWN, 0), Errno::NOTTY);
    fails(
        compat::with_bad_address(container, uapi::IOMMU_MAP_DMA),
        Errno::FAULT,
    );
    Ok(())
}

fn F149_device_as_32_bit() -> TestResult {
    let open = bench::open()?;
    let device = &open.session.device;
    let arg = low(&DeviceInfo {
        argsz: 24,
        ..Default::default()
    });
    compat::send(&arg, device, uapi::DEVICE_GET_INFO)?;
    assert_eq!(arg.get::<DeviceInfo>(0), device.info()?);

    let index = uapi::PCI_CONFIG_REGION_INDEX;
    let arg = low(&RegionInfo {
        argsz: 32,
        index,
        ..Default::default()
    });
    compat::send(&arg, device, uapi::DEVICE_GET_REGION_INFO)?;
    assert_eq!(arg.get::<RegionInfo>(0), device.region(index)?.head);

    let index = uapi::PCI_MSI_IRQ_INDEX;
    let arg = low(&IrqInfo {
        argsz: 16,
        index,
        ..Default::default()
    });
    compat::send(&arg, device, uapi::DEVICE_GET_IRQ_INFO)?;
    assert_eq!(arg.get::<IrqInfo>(0), device.irq_info(index)?);
    let event = Event::new()?;
    let flags = uapi::IRQ_SET_DATA_EVENTFD | uapi::IRQ_SET_ACTION_TRIGGER;
    let set = IrqSet {
        argsz: 24,
        flags,
        index,
        count: 1,
        ..Default::default()
    };
    let fd = AsFd::as_fd(&event).as_raw_fd();
    let arg = Arg::low(&[bytes_of(&set), bytes_of(&fd)].concat());
    compat::send(&arg, device, uapi::DEVICE_SET_IRQS)?;
    Edu::new(device)?.raise_irq(1)?;
    assert_eq!(event.wait(20)?, 1);

    let flags = uapi::DEVICE_FEATURE_PROBE | uapi::DEVICE_FEATURE_LOW_POWER_ENTRY;
    let arg = low(&DeviceFeature {
        argsz: 8,
        flags,
        data: [],
    });
    compat::send(&arg, device, uapi::DEVICE_FEATURE)?;
    let arg = low(&DeviceFeature {
        argsz: 7,
        flags,
        data: [],
    });
    fails(
        compat::send(&arg, device, uapi::DEVICE_FEATURE),
        Errno::INVAL,
    );
    fails(
        compat::with_bad_address(device, uapi::DEVICE_FEATURE),
        Errno::FAULT,
    );
    fails(compat::with_number(device, UNKNOWN, 0), Errno::NOTTY);
    Ok(())
}

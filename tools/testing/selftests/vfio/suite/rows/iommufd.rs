// SPDX-License-Identifier: GPL-2.0
//! Groups in an iommufd, and memory of emulated devices through one: rows
//! F137, F138 and F140, R-38.

use rustix::io::Errno;
use vfio_selftests::{
    container::Container,
    device::Device,
    edu::Edu,
    group::Group,
    iommufd::Iommufd,
    memory::Memory,
    request::{self, Arg},
    target::{wait_for, Target},
    uapi::{self, PciDependentDevice, PciHotResetInfo},
    PAGE,
};

use crate::{
    bench,
    check::{fails, permutations, pinned_pages},
    fixture::{self, Event, Fixture, Kind, Knob, Op},
    harness::{rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F137_group_in_an_iommufd,
    F137_requests_of_containers,
    F137_device_outlives_its_group,
    F137_close_in_any_order,
    F137_no_address_space_to_attach_to,
    F137_zombie_in_an_iommufd,
    F137_open_fails_in_the_driver,
    F138_pin_and_copy,
    F138_pin_errors,
    F138_unmap_reaches_the_driver,
    R38_second_file_by_another_way.holds(Holds::OnlyRustCore),
    R38_back_in_the_same_iommufd,
    F140_device_numbers_in_a_reset,
];

/// Where tests map memory.
const IOVA: u64 = 0x10_0000;
const SET: u32 = uapi::GROUP_FLAGS_VIABLE | uapi::GROUP_FLAGS_CONTAINER_SET;
/// How devices may use what they pin.
const READ: u64 = 1;
const READ_WRITE: u64 = 3;

/// A device that is open through its group in an iommufd. Closed in this
/// order.
struct Open {
    device: Device,
    group: Group,
    iommufd: Iommufd,
}

fn open(target: &impl Target) -> anyhow::Result<Open> {
    let iommufd = bench::iommufd_for_groups()?;
    let group = target.open_group()?;
    group.set_container(&iommufd)?;
    let device = group.device(target.name())?;
    Ok(Open {
        device,
        group,
        iommufd,
    })
}

/// The device must reach memory at [`IOVA`], where this is.
fn check_dma(device: &Device, memory: &Memory) -> TestResult {
    let edu = Edu::new(device)?;
    memory.write_u32(0, 0x600d_f00d);
    memory.write_u32(8, 0);
    edu.read_memory(IOVA, 4)?;
    edu.write_memory(IOVA + 8, 4)?;
    assert_eq!(memory.read_u32(8), 0x600d_f00d);
    Ok(())
}

/// What the device of the fixture finds in the user's memory.
fn peek(target: &fixture::Device<'_>, iova: u64) -> rustix::io::Result<u64> {
    let call = target.raw_call(Op::Copy, &[iova, 8, 0, 0])?;
    fixture::answer(call.result)?;
    Ok(call.out[0])
}

/// Lets the device of the fixture write to the user's memory.
fn poke(target: &fixture::Device<'_>, iova: u64, value: u64) -> rustix::io::Result<()> {
    target.call(Op::Copy, &[iova, 8, 1, value]).map(drop)
}

fn pin(target: &fixture::Device<'_>, iova: u64, pages: u64, how: u64) -> rustix::io::Result<i64> {
    target.call(Op::Pin, &[iova, pages, how])
}

fn F137_group_in_an_iommufd() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    fails(iommufd.compat_ioas(), Errno::NODEV);
    group.set_container(&iommufd)?;
    assert_eq!(group.status()?, SET);
    // It is in there, so it cannot be put anywhere else.
    fails(group.set_container(&iommufd), Errno::INVAL);
    fails(group.set_container(&Container::open()?), Errno::INVAL);
    let ioas = iommufd.compat_ioas()?;

    // The device can be opened at once: there is no backend to choose.
    let device = group.device(edu.name())?;
    let memory = Memory::anonymous(PAGE)?;
    iommufd.map(ioas, &memory, IOVA)?;
    check_dma(&device, &memory)?;
    let second = group.device(edu.name())?;
    check_dma(&second, &memory)?;
    fails(iommufd.destroy(ioas), Errno::BUSY);

    // Open devices do not mind.
    group.unset_container()?;
    fails(group.unset_container(), Errno::INVAL);
    fails(group.device(edu.name()), Errno::INVAL);
    // The iommufd has the group's DMA, and the group has no iommufd.
    assert_eq!(group.status()?, 0);
    check_dma(&device, &memory)?;
    drop(device);
    check_dma(&second, &memory)?;
    drop(second);
    assert_eq!(group.status()?, uapi::GROUP_FLAGS_VIABLE);
    iommufd.destroy(ioas)?;
    Ok(())
}

fn F137_requests_of_containers() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    // Before a group there is no address space.
    fails(
        request::with_number(&iommufd, uapi::SET_IOMMU, uapi::TYPE1v2_IOMMU),
        Errno::NODEV,
    );
    let edu = bench::bound_edu()?;
    let Open {
        device,
        group: _group,
        iommufd,
    } = open(&edu)?;
    assert_eq!(request::with_number(&iommufd, uapi::GET_API_VERSION, 0)?, 0);
    request::with_number(&iommufd, uapi::SET_IOMMU, uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(PAGE)?;
    let mut map = uapi::IommuType1DmaMap {
        argsz: 32,
        flags: uapi::DMA_MAP_FLAG_READ | uapi::DMA_MAP_FLAG_WRITE,
        vaddr: memory.address() as u64,
        iova: IOVA,
        size: PAGE as u64,
    };
    Arg::new(&map).send(&iommufd, uapi::IOMMU_MAP_DMA)?;
    check_dma(&device, &memory)?;
    map.size = 0;
    assert!(Arg::new(&map).send(&iommufd, uapi::IOMMU_MAP_DMA).is_err());
    Ok(())
}

fn F137_device_outlives_its_group() -> TestResult {
    // Somebody tries the node as well.
    bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let Open {
        device,
        group,
        iommufd,
    } = open(&edu)?;
    let memory = Memory::anonymous(PAGE)?;
    iommufd.map(iommufd.compat_ioas()?, &memory, IOVA)?;
    drop(group);
    check_dma(&device, &memory)?;
    // Its file went at once: others can open it, and get what they ask for.
    let group = Group::open(&edu.group_name()?)?;
    assert_eq!(group.status()?, 0);
    fails(group.device(edu.name()), Errno::INVAL);
    fails(edu.open_by_node()?.bind(&iommufd), Errno::BUSY);
    // A container wants the group's DMA for itself.
    fails(group.set_container(&Container::open()?), Errno::PERM);
    drop(group);
    // There is a session that did not begin with this file.
    fails(edu.open_by_node()?.bind(&iommufd), Errno::INVAL);
    Group::open(&edu.group_name()?)?;

    drop(iommufd);
    check_dma(&device, &memory)?;
    drop(device);
    edu.bind_to(&bench::iommufd()?)?;
    Ok(())
}

fn F137_close_in_any_order() -> TestResult {
    let edu = bench::bound_edu()?;
    let before = pinned_pages()?;
    for order in permutations([0, 1, 2]) {
        let Open {
            device,
            group,
            iommufd,
        } = open(&edu)?;
        let memory = Memory::anonymous(4 * PAGE)?;
        iommufd.map(iommufd.compat_ioas()?, &memory, IOVA)?;
        check_dma(&device, &memory)?;
        let (mut device, mut group, mut iommufd) = (Some(device), Some(group), Some(iommufd));
        for which in order {
            match which {
                0 => device = None,
                1 => group = None,
                _ => iommufd = None,
            }
            if let Some(device) = &device {
                check_dma(device, &memory)?;
            }
        }
        assert!(device.is_none() && group.is_none() && iommufd.is_none());
        wait_for("pages to be unpinned", || {
            pinned_pages().is_ok_and(|now| now == before)
        })?;
    }
    Ok(())
}

fn F137_no_address_space_to_attach_to() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let group = target.open_group()?;
    group.set_container(&iommufd)?;
    let ioas = iommufd.compat_ioas()?;
    iommufd.clear_compat_ioas()?;
    fails(group.device(target.name()), Errno::NODEV);
    // It was bound and opened, and is neither now.
    for kind in [Kind::Bind, Kind::Open, Kind::Close, Kind::Unbind] {
        assert_eq!(target.count(kind)?, 1, "{kind:?}");
    }
    assert_eq!(target.status()?.open_count, 0);
    iommufd.set_compat_ioas(ioas)?;
    let device = group.device(target.name())?;
    let attached = target.events_of(Kind::Attach)?;
    assert_eq!(
        attached.iter().map(|e| e.a).collect::<Vec<_>>(),
        [ioas.into()]
    );
    drop(device);
    // Closing an emulated device detaches it without a word.
    assert_eq!(target.count(Kind::Unbind)?, 2);
    Ok(())
}

fn F137_zombie_in_an_iommufd() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let name = target.name().to_owned();
    let group = target.open_group()?;
    group.set_container(&iommufd)?;
    target.remove()?;
    fails(group.status(), Errno::NODEV);
    fails(group.device(&name), Errno::NODEV);
    fails(group.set_container(&iommufd), Errno::INVAL);
    group.unset_container()?;
    fails(group.unset_container(), Errno::INVAL);
    fails(group.set_container(&iommufd), Errno::NODEV);
    Ok(())
}

fn F137_open_fails_in_the_driver() -> TestResult {
    let iommufd = bench::iommufd_for_groups()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let group = target.open_group()?;
    group.set_container(&iommufd)?;
    target.knob(Knob::OpenErrno, libc::EXDEV.into())?;
    fails(group.device(target.name()), Errno::XDEV);
    assert_eq!(target.count(Kind::Bind)?, 1);
    assert_eq!(target.count(Kind::Unbind)?, 1);
    assert_eq!(target.count(Kind::Attach)?, 0);
    assert_eq!(target.status()?.open_count, 0);
    target.knob(Knob::OpenErrno, 0)?;
    group.device(target.name())?;
    Ok(())
}

fn F138_pin_and_copy() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    // By the group, and by the device's own node.
    for by_node in [false, true] {
        let iommufd = bench::iommufd()?;
        let ioas = iommufd.ioas()?;
        let mut group = None;
        let device = if by_node {
            let (device, _) = target.bind_to(&iommufd)?;
            device.attach(ioas)?;
            device
        } else {
            iommufd.set_compat_ioas(ioas)?;
            let group = group.insert(target.open_group()?);
            group.set_container(&iommufd)?;
            group.device(target.name())?
        };
        let before = pinned_pages()?;
        let memory = Memory::anonymous(600 * PAGE)?;
        memory.fill(0);
        memory.write(16, &0x1122_3344_5566_7788_u64.to_ne_bytes());
        iommufd.map(ioas, &memory, IOVA)?;
        assert_eq!(peek(&target, IOVA + 16)?, 0x1122_3344_5566_7788);
        poke(&target, IOVA + PAGE as u64 - 4, u64::MAX)?;
        assert_eq!(
            memory.read(PAGE - 5, 10),
            [0, 255, 255, 255, 255, 255, 255, 255, 255, 0]
        );

        // Nothing is pinned until a driver wants it.
        assert_eq!(pinned_pages()?, before);
        assert_eq!(pin(&target, IOVA, 1, READ_WRITE)?, 1);
        assert_eq!(pin(&target, IOVA + 0x1008, 2, READ)?, 2);
        // There is no limit as containers have one.
        assert_eq!(pin(&target, IOVA + 0x2000, 598, READ_WRITE)?, 598);
        assert!(pinned_pages()? > before);
        for iova in [IOVA, IOVA + 0x1008, IOVA + 0x2000] {
            target.call(Op::Unpin, &[iova])?;
        }
        assert_eq!(pinned_pages()?, before);
        // What is left behind goes when the driver is closed.
        assert_eq!(pin(&target, IOVA, 3, READ_WRITE)?, 3);
        drop((device, group));
        target.wait_count(Kind::Closed, 1 + u64::from(by_node))?;
        assert_eq!(pinned_pages()?, before);
    }
    Ok(())
}

fn F138_pin_errors() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let (device, _) = target.bind_to(&iommufd)?;
    fails(pin(&target, IOVA, 1, READ), Errno::NOENT);
    fails(peek(&target, IOVA), Errno::NOENT);
    let ioas = iommufd.ioas()?;
    device.attach(ioas)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    iommufd.map(ioas, &memory, IOVA)?;
    let fixed = Memory::anonymous(PAGE)?;
    iommufd.map_read_only(ioas, &fixed, IOVA + 0x2000)?;

    fails(pin(&target, IOVA, 0, READ), Errno::INVAL);
    fails(pin(&target, IOVA - 0x1000, 1, READ), Errno::NOENT);
    fails(pin(&target, IOVA - 0x1000, 2, READ), Errno::NOENT);
    fails(pin(&target, IOVA, 4, READ), Errno::NOENT);
    fails(pin(&target, IOVA + 0x1000, 2, READ_WRITE), Errno::PERM);
    fails(pin(&target, u64::MAX, 2, READ), Errno::OVERFLOW);
    fails(poke(&target, IOVA + 0x2000, 1), Errno::PERM);
    fails(poke(&target, IOVA + 0x1ffc, 1), Errno::PERM);
    fails(target.call(Op::Copy, &[IOVA, 0, 0, 0]), Errno::INVAL);
    assert!(peek(&target, IOVA - 4).is_err());
    // Reading is allowed, and failures left nothing behind.
    assert_eq!(pin(&target, IOVA + 0x1000, 2, READ)?, 2);
    target.call(Op::Unpin, &[IOVA + 0x1000])?;
    peek(&target, IOVA + 0x2000)?;
    iommufd.unmap(ioas, IOVA, 0x2000)?;

    // A driver that cannot be told of unmapped memory may only copy.
    let deaf = fixture.build().without(Kind::DmaUnmap).create()?;
    let (device, _) = deaf.bind_to(&iommufd)?;
    device.attach(ioas)?;
    fails(pin(&deaf, IOVA + 0x2000, 1, READ), Errno::INVAL);
    peek(&deaf, IOVA + 0x2000)?;
    Ok(())
}

fn F138_unmap_reaches_the_driver() -> TestResult {
    let iommufd = bench::iommufd()?;
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let (device, _) = target.bind_to(&iommufd)?;
    let ioas = iommufd.ioas()?;
    device.attach(ioas)?;
    let before = pinned_pages()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    iommufd.map(ioas, &memory, IOVA)?;
    // What nobody pinned can go without a word.
    assert_eq!(iommufd.unmap(ioas, IOVA, 0x4000)?, 0x4000);
    iommufd.map(ioas, &memory, IOVA)?;
    target.events()?;
    pin(&target, IOVA + 0x1000, 2, READ_WRITE)?;
    assert_eq!(iommufd.unmap(ioas, IOVA, 0x4000)?, 0x4000);
    assert_eq!(pinned_pages()?, before);
    let told = target.events_of(Kind::DmaUnmap)?;
    let covers = |event: &Event| event.a <= IOVA + 0x1000 && event.a + event.b >= IOVA + 0x3000;
    assert!(told.iter().any(covers), "{told:?}");

    // Detaching takes all of it.
    iommufd.map(ioas, &memory, IOVA)?;
    pin(&target, IOVA, 4, READ_WRITE)?;
    device.detach()?;
    assert_eq!(pinned_pages()?, before);
    let told = target.events_of(Kind::DmaUnmap)?;
    assert!(told.iter().any(|e| (e.a, e.b) == (0, u64::MAX)), "{told:?}");
    fails(pin(&target, IOVA, 1, READ), Errno::NOENT);
    // So does attaching to something else.
    device.attach(ioas)?;
    pin(&target, IOVA, 4, READ_WRITE)?;
    device.attach(iommufd.ioas()?)?;
    assert_eq!(pinned_pages()?, before);
    fails(pin(&target, IOVA, 1, READ), Errno::NOENT);
    Ok(())
}

fn R38_second_file_by_another_way() -> TestResult {
    let fixture = Fixture::open()?;
    for reopen in [false, true] {
        let target = fixture.device()?;
        let Open {
            device,
            mut group,
            iommufd,
        } = open(&target)?;
        let memory = Memory::anonymous(PAGE)?;
        memory.write(0, &7_u64.to_ne_bytes());
        iommufd.map(iommufd.compat_ioas()?, &memory, IOVA)?;
        if reopen {
            drop(group);
            group = target.open_group()?;
        } else {
            group.unset_container()?;
        }
        let container = Container::open()?;
        group.set_container(&container)?;
        container.set_iommu(uapi::TYPE1v2_IOMMU)?;
        // The device is open by an iommufd.
        fails(group.device(target.name()), Errno::INVAL);
        assert_eq!(target.status()?.open_count, 1);
        // And still works by it.
        assert_eq!(peek(&target, IOVA)?, 7);
        pin(&target, IOVA, 1, READ_WRITE)?;
        // Nothing of the container is in use.
        group.unset_container()?;
        group.set_container(&container)?;
        container.set_iommu(uapi::TYPE1v2_IOMMU)?;
        drop(device);
        assert_eq!(target.count(Kind::Unbind)?, 1);
        assert_eq!(target.status()?.open_count, 0);
        // Now it can be opened by the container, and closed the same way.
        let device = group.device(target.name())?;
        assert_eq!(target.count(Kind::Bind)?, 1);
        fails(group.unset_container(), Errno::BUSY);
        drop((group, container));
        device.info()?;
        drop(device);
        assert_eq!(target.count(Kind::Unbind)?, 1);
        drop(iommufd);
        target.remove()?;
    }
    Ok(())
}

fn R38_back_in_the_same_iommufd() -> TestResult {
    let fixture = Fixture::open()?;
    let target = fixture.device()?;
    let Open {
        device,
        group,
        iommufd,
    } = open(&target)?;
    drop(group);
    let group = target.open_group()?;
    group.set_container(&iommufd)?;
    let second = group.device(target.name())?;
    assert_eq!(target.status()?.open_count, 2);
    assert_eq!(target.count(Kind::Bind)?, 1);
    drop(device);
    second.info()?;
    drop(second);
    assert_eq!(target.count(Kind::Unbind)?, 1);
    assert_eq!(target.count(Kind::Close)?, 1);
    Ok(())
}

/// The devices that a reset would hit, and what the flags say of them.
fn reset_info(device: &Device) -> rustix::io::Result<(u32, Vec<PciDependentDevice>)> {
    const ROOM: usize = 16;
    let entry = size_of::<PciDependentDevice>();
    let head = PciHotResetInfo {
        argsz: (size_of::<PciHotResetInfo>() + ROOM * entry) as u32,
        ..Default::default()
    };
    let arg = Arg::with_tail(&head, ROOM * entry);
    arg.send(device, uapi::DEVICE_GET_PCI_HOT_RESET_INFO)?;
    let head: PciHotResetInfo = arg.get(0);
    let devices = (0..head.count as usize)
        .map(|n| arg.get(size_of::<PciHotResetInfo>() + n * entry))
        .collect();
    Ok((head.flags, devices))
}

fn F140_device_numbers_in_a_reset() -> TestResult {
    let iommufd = bench::iommufd()?;
    let [a, b] = bench::edu_pair()?;
    let (a, b) = (a.bind()?, b.bind()?);
    let (first, first_id) = a.bind_to(&iommufd)?;
    let id_of = |devices: &[PciDependentDevice], target: &str| {
        devices
            .iter()
            .find(|dev| {
                let place = format!(
                    "{:04x}:{:02x}:{:02x}.{}",
                    dev.segment,
                    dev.bus,
                    dev.devfn >> 3,
                    dev.devfn & 7
                );
                place == target
            })
            .map(|dev| dev.id as i32)
    };
    // The other one is of the same group, and nobody else can have it.
    let (flags, devices) = reset_info(&first)?;
    assert_eq!(
        flags & uapi::PCI_HOT_RESET_FLAG_DEV_ID,
        uapi::PCI_HOT_RESET_FLAG_DEV_ID
    );
    assert_eq!(id_of(&devices, a.name()), Some(first_id as i32));
    assert_eq!(id_of(&devices, b.name()), Some(uapi::PCI_DEVID_OWNED));
    let (second, second_id) = b.bind_to(&iommufd)?;
    let (_, devices) = reset_info(&first)?;
    assert_eq!(id_of(&devices, a.name()), Some(first_id as i32));
    assert_eq!(id_of(&devices, b.name()), Some(second_id as i32));
    let (_, devices) = reset_info(&second)?;
    assert_eq!(id_of(&devices, a.name()), Some(first_id as i32));
    drop((first, second));

    // By groups it is the number of the group that counts.
    let open = open(&a)?;
    let (flags, devices) = reset_info(&open.device)?;
    assert_eq!(flags & uapi::PCI_HOT_RESET_FLAG_DEV_ID, 0);
    let number = a.iommu_group().map(|group| group as i32);
    assert_eq!(id_of(&devices, a.name()), number);
    assert_eq!(id_of(&devices, b.name()), number);
    Ok(())
}

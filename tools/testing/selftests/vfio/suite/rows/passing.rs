// SPDX-License-Identifier: GPL-2.0
//! A manager opens devices and hands the files to a process that may do
//! nothing by itself, which then maps its memory and drives the device: T11.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use vfio_selftests::{
    container::Container,
    device::{Device, Event},
    edu::Edu,
    group::Group,
    iommufd::Iommufd,
    memory::Memory,
    passing,
    process::{self, Child},
    target::Target,
    uapi, PAGE,
};

use crate::{
    bench,
    check::{fails, pinned_pages},
    harness::{rows, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    T11_driver_without_rights_by_node,
    T11_driver_without_rights_by_group,
    T11_driver_without_rights_by_group_in_an_iommufd,
];

/// Where the driver maps its memory.
const IOVA: u64 = 0x10_0000;
/// How much of it, and how much it may lock at all.
const LEN: usize = 4 * PAGE;
const LIMIT: u64 = 16 * PAGE as u64;

/// Starts a driver before the manager has any file that it could inherit; the
/// driver gives up all rights, and then gets `N` files and works with them.
fn driver<const N: usize>(
    work: impl FnOnce([OwnedFd; N]) -> TestResult,
) -> anyhow::Result<(Child, OwnedFd)> {
    let [manager, driver] = passing::socket()?;
    let child = Child::fork(|| {
        process::limit_locked(LIMIT)?;
        process::become_nobody()?;
        work(passing::receive(&driver)?)
    })?;
    Ok((child, manager))
}

/// Sends the files, keeps none of them, and waits for the driver.
fn hand_over(child: Child, socket: OwnedFd, files: &[BorrowedFd<'_>]) -> TestResult {
    passing::send(&socket, files)?;
    child.join()
}

/// Drives the device, by all the ways that a driver uses.
fn drive(device: &Device, memory: &Memory) -> TestResult {
    let info = device.info()?;
    assert_eq!(info.flags & uapi::DEVICE_FLAGS_PCI, uapi::DEVICE_FLAGS_PCI);
    let edu = Edu::new(device)?;
    assert_eq!(edu.factorial(5)?, 120);
    // The registers as memory, too.
    let registers = device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
    assert_eq!(registers.read_u32(0), edu.id()?);

    let event = Event::new()?;
    device.set_irq_eventfds(uapi::PCI_MSI_IRQ_INDEX, &[&event])?;
    memory.write_u32(0, 0xfeed_beef);
    edu.read_memory(IOVA, 4)?;
    edu.write_memory_and_interrupt(IOVA + LEN as u64 - 4, 4)?;
    assert_eq!(event.wait(10)?, 1);
    assert_eq!(memory.read_u32(LEN - 4), 0xfeed_beef);
    edu.acknowledge_irq(vfio_selftests::edu::IRQ_OF_DMA)?;
    device.disable_irqs(uapi::PCI_MSI_IRQ_INDEX)?;
    Ok(())
}

fn T11_driver_without_rights_by_node() -> TestResult {
    bench::iommufd()?;
    let edu = bench::bound_edu()?;
    let pinned = pinned_pages()?;
    let node = edu.node_path()?;
    let (child, socket) = driver(|files| {
        fails(Device::open(&node), Errno::ACCESS);
        fails(Iommufd::open(), Errno::ACCESS);
        let [iommufd, device] = files;
        let (iommufd, device) = (Iommufd::from(iommufd), Device::from(device));
        let ioas = iommufd.ioas()?;
        device.attach(ioas)?;
        // What it may lock is its own limit.
        let much = Memory::anonymous(2 * LIMIT as usize)?;
        fails(iommufd.map(ioas, &much, IOVA), Errno::NOMEM);
        let memory = Memory::anonymous(LEN)?;
        iommufd.map(ioas, &memory, IOVA)?;
        drive(&device, &memory)?;
        device.detach()?;
        device.attach(ioas)?;
        drive(&device, &memory)
    })?;
    let iommufd = bench::iommufd()?;
    let (device, _) = edu.bind_to(&iommufd)?;
    hand_over(child, socket, &[iommufd.as_fd(), device.as_fd()])?;
    // The files are the manager's as well: it still has the device, and the
    // iommufd what the driver mapped.
    device.info()?;
    assert!(pinned_pages()? > pinned);
    drop((device, iommufd));
    assert_eq!(pinned_pages()?, pinned);
    edu.bind_to(&bench::iommufd()?)?;
    Ok(())
}

/// What the driver does with a container that its device is in.
fn map_and_drive(container: &Container, device: &Device) -> TestResult {
    let much = Memory::anonymous(2 * LIMIT as usize)?;
    fails(container.map(&much, IOVA), Errno::NOMEM);
    let memory = Memory::anonymous(LEN)?;
    let before = process::locked()?;
    container.map(&memory, IOVA)?;
    // It is the driver whose memory counts.
    assert_eq!(process::locked()?, before + LEN as u64);
    drive(device, &memory)?;
    assert_eq!(container.unmap(IOVA, LEN as u64)?, LEN as u64);
    assert_eq!(process::locked()?, before);
    container.map(&memory, IOVA)?;
    drive(device, &memory)
}

fn T11_driver_without_rights_by_group() -> TestResult {
    let edu = bench::bound_edu()?;
    let pinned = pinned_pages()?;
    let group_name = edu.group_name()?;

    // The manager opens all of it.
    let (child, socket) = driver(|files| {
        let [container, group, device] = files;
        fails(Group::open(&group_name), Errno::ACCESS);
        let container = Container::from(container);
        map_and_drive(&container, &Device::from(device))?;
        assert_eq!(Group::from(group).status()?, 3);
        Ok(())
    })?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let files = [
        session.container.as_fd(),
        session.group.as_fd(),
        session.device.as_fd(),
    ];
    hand_over(child, socket, &files)?;
    session.device.info()?;
    drop(session);
    assert_eq!(pinned_pages()?, pinned);

    // Or only the group: whoever has that may do the rest.
    let name = edu.name().to_owned();
    let (child, socket) = driver(|files| {
        let [group] = files;
        let group = Group::from(group);
        // Everybody may open a container.
        let container = Container::open()?;
        group.set_container(&container)?;
        container.set_iommu(uapi::TYPE1v2_IOMMU)?;
        let device = group.device(&name)?;
        map_and_drive(&container, &device)
    })?;
    let group = edu.open_group()?;
    hand_over(child, socket, &[group.as_fd()])?;
    // The container went with the driver's files, but for the group's part.
    group.unset_container()?;
    assert_eq!(pinned_pages()?, pinned);
    Ok(())
}

fn T11_driver_without_rights_by_group_in_an_iommufd() -> TestResult {
    bench::iommufd_for_groups()?;
    let edu = bench::bound_edu()?;
    let pinned = pinned_pages()?;
    let name = edu.name().to_owned();
    let (child, socket) = driver(|files| {
        let [iommufd, group] = files;
        let (iommufd, group) = (Iommufd::from(iommufd), Group::from(group));
        group.set_container(&iommufd)?;
        let device = group.device(&name)?;
        let memory = Memory::anonymous(LEN)?;
        iommufd.map(iommufd.compat_ioas()?, &memory, IOVA)?;
        drive(&device, &memory)
    })?;
    let iommufd = bench::iommufd_for_groups()?;
    let group = edu.open_group()?;
    hand_over(child, socket, &[iommufd.as_fd(), group.as_fd()])?;
    // The device was closed by the driver's end, and no device needs the pages.
    assert_eq!(pinned_pages()?, pinned);
    // What is mapped is mapped for the next one; but the memory is of a process
    // that is gone.
    let ioas = iommufd.compat_ioas()?;
    fails(group.device(edu.name()), Errno::FAULT);
    assert_eq!(iommufd.unmap(ioas, IOVA, LEN as u64)?, LEN as u64);
    drop(group.device(edu.name())?);
    drop(iommufd);
    group.unset_container()?;
    assert_eq!(pinned_pages()?, pinned);
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0
//! Closing and unbinding in any order: rows F029, F030, R-04, R-26 and the
//! orders T1-T13 of section 1.9.

use std::os::unix::process::CommandExt;

use anyhow::Context;
use rustix::io::Errno;
use vfio_selftests::{
    container::Container,
    device::{Device, Event},
    edu::Edu,
    group::Group,
    memory::Memory,
    module,
    pci::Bound,
    process::{self, in_child, Child},
    sysfs,
    target::{wait_for, Session, Target},
    uapi, PAGE,
};

use super::map::{copy, IOVA};
use crate::{
    bench,
    check::{fails, permutations, pinned_pages},
    harness::{cases, rows, Holds, Row, TestResult},
};

pub(crate) const ROWS: &[Row] = rows![
    F029_group_is_closed_before_the_device,
    F030_close_in_any_order,
    R04_exec_with_mappings,
    R26_unbind_with_only_the_group_open,
    R47_attach_by_another_process.holds(Holds::OnlyRustType1),
    T01_close_in_any_order_with_two_groups,
    T02_group_stays_while_a_device_is_open,
    T04_container_is_closed_first,
    T05_one_of_two_groups_leaves,
    T06_unbind_waits_for_the_device,
    T07_unbind_detaches_the_group,
    T08_unbind_one_of_two_in_a_group,
    T09_rebind_beside_a_zombie,
    T10_killed_with_everything_open,
    T11_mapper_exits_first,
    T12_backend_is_not_unloaded_in_use,
    T13_region_mapping_outlives_the_file,
];

const PAGE64: u64 = PAGE as u64;

fn F029_group_is_closed_before_the_device() -> TestResult {
    let edu = bench::bound_edu()?;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    container.map(&memory, IOVA)?;
    drop(group);
    memory.write(0, b"still mapped");
    copy(&device, IOVA, IOVA + PAGE64, 12)?;
    assert_eq!(memory.read(PAGE, 12), b"still mapped");
    // The container works too, for as long as the device is open.
    container.map(&memory, 4 * IOVA)?;
    drop(device);
    fails(container.info(), Errno::INVAL);
    // And the group can be opened again.
    edu.open_group()?;
    Ok(())
}

/// What can be closed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum File {
    Container,
    Group,
    Device,
}

fn F030_close_in_any_order() -> TestResult {
    let edu = bench::bound_edu()?;
    let memory = Memory::anonymous(16 * PAGE)?;
    memory.fill(3);
    let (locked, pinned) = (process::locked()?, pinned_pages()?);
    for order in permutations([File::Container, File::Group, File::Device]) {
        let Session {
            device,
            group,
            container,
        } = edu.open(uapi::TYPE1v2_IOMMU)?;
        container.map(&memory, IOVA)?;
        let (mut device, mut group, mut container) = (Some(device), Some(group), Some(container));
        for file in order {
            match file {
                File::Container => drop(container.take()),
                File::Group => drop(group.take()),
                File::Device => drop(device.take()),
            }
            // The mapping lasts until both group and device are closed.
            let held = if group.is_some() || device.is_some() {
                16
            } else {
                0
            };
            assert_eq!(
                process::locked()?,
                locked + held * PAGE64,
                "{order:?} after {file:?}"
            );
            assert_eq!(
                pinned_pages()?,
                pinned + held as i64,
                "{order:?} after {file:?}"
            );
            if let Some(device) = &device {
                assert_eq!(Edu::new(device)?.invert(5)?, !5);
            }
        }
    }
    Ok(())
}

fn T01_close_in_any_order_with_two_groups() -> TestResult {
    let [a, b] = bench::two_bound_edus()?;
    let memory = Memory::anonymous(16 * PAGE)?;
    memory.fill(3);
    let (locked, pinned) = (process::locked()?, pinned_pages()?);
    // Five files: container, two groups, two devices. All orders of the last
    // four, with the container now here, now there among them: closing it never
    // changes anything.
    for (n, order) in cases(permutations([1_usize, 2, 3, 4])).enumerate() {
        let mut order = order.to_vec();
        order.insert(n % 5, 0);
        let container = Container::open()?;
        let groups = [a.join(&container)?, b.join(&container)?];
        container.set_iommu(uapi::TYPE1v2_IOMMU)?;
        let devices = [groups[0].device(a.name())?, groups[1].device(b.name())?];
        container.map(&memory, IOVA)?;
        assert_eq!(process::locked()?, locked + 16 * PAGE64);
        let mut files: Vec<Option<std::os::fd::OwnedFd>> = Vec::new();
        files.push(Some(dup(&container)?));
        files.extend([Some(dup(&groups[0])?), Some(dup(&groups[1])?)]);
        files.extend(devices.map(|device| Some(device.into())));
        drop((container, groups));
        for (n, &file) in order.iter().enumerate() {
            files[file] = None;
            let alive = [[1, 3], [2, 4]]
                .iter()
                .any(|f| f.iter().any(|n| files[*n].is_some()));
            let held = if alive { 16 } else { 0 };
            assert_eq!(
                process::locked()?,
                locked + held * PAGE64,
                "{order:?}, step {n}"
            );
        }
    }
    assert_eq!(pinned_pages()?, pinned);
    Ok(())
}

fn dup(fd: impl std::os::fd::AsFd) -> rustix::io::Result<std::os::fd::OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 0)
}

fn R04_exec_with_mappings() -> TestResult {
    let out = "/tmp/locked-after-exec";
    let _ = std::fs::remove_file(out);
    let pinned = pinned_pages()?;
    let edu = bench::bound_edu()?;
    in_child(|| {
        let session = edu.open(uapi::TYPE1v2_IOMMU)?;
        let memory = Memory::anonymous(16 * PAGE)?;
        session.container.map(&memory, IOVA)?;
        // The new program has the file, but not the memory it was used for.
        rustix::io::fcntl_setfd(&session.container, rustix::io::FdFlags::empty())?;
        rustix::io::fcntl_setfd(&session.group, rustix::io::FdFlags::empty())?;
        let script = format!("grep VmLck /proc/$$/status >{out}");
        Err(std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .exec())
        .context("run a shell")
    })?;
    // Neither charged nor, at the end, discharged to the new program.
    assert_eq!(
        sysfs::read(out)?.split_whitespace().collect::<Vec<_>>(),
        ["VmLck:", "0", "kB"]
    );
    assert_eq!(pinned_pages()?, pinned);
    edu.open(uapi::TYPE1v2_IOMMU)?;
    Ok(())
}

fn R26_unbind_with_only_the_group_open() -> TestResult {
    let edu = bench::bound_edu()?;
    let group = edu.open_group()?;
    let name = edu.name().to_owned();
    // Returns: nobody has the device open.
    drop(edu);
    fails(group.status(), Errno::NODEV);
    fails(group.device(&name), Errno::NODEV);
    fails(group.set_container(Container::open()?), Errno::NODEV);
    fails(group.unset_container(), Errno::INVAL);
    Ok(())
}

/// One process mapped memory for an emulated device; another one brings a real
/// device. It must see the memory of the first, or be refused. The C backend
/// shows it what the second has at the same address.
fn R47_attach_by_another_process() -> TestResult {
    let mtty = bench::mtty(1)?;
    let edu = bench::bound_edu()?;
    let session = mtty.open(uapi::TYPE1v2_IOMMU)?;
    // After the fork there are two of it, at the same address.
    let memory = Memory::anonymous(PAGE)?;
    memory.write(0, b"attacher");
    let (mapped, done) = (Event::new()?, Event::new()?);
    let mapper = Child::fork(|| {
        memory.write(0, b"mapper's");
        session.container.map(&memory, IOVA)?;
        rustix::io::write(&mapped, &1_u64.to_ne_bytes())?;
        done.wait(50)?;
        Ok(())
    })?;
    assert_eq!(mapped.wait(20)?, 1);
    let group = edu.open_group()?;
    if group.set_container(&session.container).is_ok() {
        let target = Memory::anonymous(PAGE)?;
        session.container.map(&target, 2 * IOVA)?;
        let device = group.device(edu.name())?;
        copy(&device, IOVA, 2 * IOVA, 8)?;
        assert_eq!(target.read(0, 8), b"mapper's");
    }
    rustix::io::write(&done, &1_u64.to_ne_bytes())?;
    mapper.join()
}

fn T02_group_stays_while_a_device_is_open() -> TestResult {
    let edu = bench::bound_edu()?;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let second = group.device(edu.name())?;
    drop(group);
    // Its file is not really closed before the last device.
    fails(Group::open(&edu.group_name()?), Errno::BUSY);
    drop(device);
    fails(Group::open(&edu.group_name()?), Errno::BUSY);
    container.info()?;
    drop(second);
    Group::open_when_free(&edu.group_name()?)?;
    fails(container.info(), Errno::INVAL);
    Ok(())
}

fn T04_container_is_closed_first() -> TestResult {
    let edu = bench::bound_edu()?;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    container.map(&memory, IOVA)?;
    drop(container);
    memory.write(0, b"no file, but alive");
    copy(&device, IOVA, IOVA + PAGE64, 18)?;
    assert_eq!(memory.read(PAGE, 18), b"no file, but alive");
    let all = uapi::GROUP_FLAGS_VIABLE | uapi::GROUP_FLAGS_CONTAINER_SET;
    assert_eq!(group.status()?, all);
    // Another device file can still be had, and the group can leave.
    group.device(edu.name())?;
    drop(device);
    group.unset_container()?;
    assert_eq!(process::locked()?, 0);
    Ok(())
}

fn T05_one_of_two_groups_leaves() -> TestResult {
    let [a, b] = bench::two_bound_edus()?;
    let session = a.open(uapi::TYPE1v2_IOMMU)?;
    let other = b.join(&session.container)?;
    let memory = Memory::anonymous(2 * PAGE)?;
    session.container.map(&memory, IOVA)?;
    // The first group's device is open; the second leaves all the same.
    other.unset_container()?;
    memory.write(0, b"unharmed");
    copy(&session.device, IOVA, IOVA + PAGE64, 8)?;
    assert_eq!(memory.read(PAGE, 8), b"unharmed");
    // Alone again, it reaches nothing of the first.
    let apart = Container::open()?;
    other.set_container(&apart)?;
    apart.set_iommu(uapi::TYPE1v2_IOMMU)?;
    let device = other.device(b.name())?;
    let result = Memory::anonymous(PAGE)?;
    apart.map(&result, 2 * IOVA)?;
    copy(&device, IOVA, 2 * IOVA, 8)?;
    assert_ne!(result.read(0, 8), b"unharmed");
    Ok(())
}

/// Begins to take a device from its driver, and waits until the driver asks for
/// the device back. Where it waits, only the one who has it open can help.
pub(super) fn begin_unbind(edu: &Bound, device: &Device) -> anyhow::Result<Child> {
    let asked = Event::new()?;
    device.set_irq_eventfds(uapi::PCI_REQ_IRQ_INDEX, &[&asked])?;
    // The copy must not hold open what it waits for.
    let child = Child::fork_without_files(|| edu.unbind())?;
    anyhow::ensure!(asked.wait(40)? > 0, "nobody asked for the device");
    Ok(child)
}

/// Whether VFIO still has the group of a device, the last thing to go.
pub(super) fn has_group(edu: &Bound) -> anyhow::Result<bool> {
    let number = edu.iommu_group().context("an IOMMU group")?;
    Ok(std::fs::exists(format!("/sys/class/vfio/{number}"))?)
}

fn T06_unbind_waits_for_the_device() -> TestResult {
    let edu = bench::bound_edu()?;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let second = group.device(edu.name())?;
    let child = begin_unbind(&edu, &device)?;
    // No new user gets it, those it has may go on.
    fails(group.device(edu.name()), Errno::NODEV);
    assert_eq!(Edu::new(&device)?.factorial(5)?, 120);
    drop(device);
    assert_eq!(Edu::new(&second)?.factorial(4)?, 24);
    assert!(has_group(&edu)?, "the device went while it was open");
    drop(second);
    child.join()?;
    assert_eq!(edu.driver(), None);
    fails(group.status(), Errno::NODEV);
    fails(container.info(), Errno::INVAL);
    Ok(())
}

fn T07_unbind_detaches_the_group() -> TestResult {
    let edu = bench::bound_edu()?;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let memory = Memory::anonymous(16 * PAGE)?;
    container.map(&memory, IOVA)?;
    drop(device);
    let pci = std::ops::Deref::deref(&edu).clone();
    drop(edu);
    assert_eq!(pci.driver(), None);
    fails(group.status(), Errno::NODEV);
    fails(group.unset_container(), Errno::INVAL);
    fails(group.set_container(&container), Errno::NODEV);
    // The container is as new.
    fails(container.info(), Errno::INVAL);
    fails(container.set_iommu(uapi::TYPE1v2_IOMMU), Errno::INVAL);
    assert_eq!(process::locked()?, 0);
    let edu = pci.bind()?;
    drop(group);
    let _group = edu.join(&container)?;
    container.set_iommu(uapi::TYPE1_IOMMU)?;
    Ok(())
}

fn T08_unbind_one_of_two_in_a_group() -> TestResult {
    let [a, b] = bench::edu_pair()?;
    let (a, b) = (a.bind()?, b.bind()?);
    let session = a.open(uapi::TYPE1v2_IOMMU)?;
    session.group.device(b.name())?.info()?;
    let memory = Memory::anonymous(2 * PAGE)?;
    session.container.map(&memory, IOVA)?;
    let name = b.name().to_owned();
    // Nobody has it open, so it goes at once.
    drop(b);
    fails(session.group.device(&name), Errno::NODEV);
    memory.write(0, b"one left");
    copy(&session.device, IOVA, IOVA + PAGE64, 8)?;
    assert_eq!(memory.read(PAGE, 8), b"one left");
    session.group.device(a.name())?.info()?;
    Ok(())
}

fn T09_rebind_beside_a_zombie() -> TestResult {
    let edu = bench::bound_edu()?;
    let zombie = edu.open_group()?;
    let pci = std::ops::Deref::deref(&edu).clone();
    drop(edu);
    fails(zombie.status(), Errno::NODEV);
    let edu = pci.bind()?;
    // The new group is another object, free to be opened; the old stays dead.
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    fails(zombie.status(), Errno::NODEV);
    fails(zombie.device(edu.name()), Errno::NODEV);
    drop(zombie);
    assert_eq!(Edu::new(&session.device)?.factorial(3)?, 6);
    Ok(())
}

fn T10_killed_with_everything_open() -> TestResult {
    let edu = bench::bound_edu()?;
    let pinned = pinned_pages()?;
    let ready = Event::new()?;
    for _ in 0..3 {
        let child = Child::fork(|| {
            let session = edu.open(uapi::TYPE1v2_IOMMU)?;
            let bar = session.device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
            let memory = Memory::anonymous(64 * PAGE)?;
            session.container.map(&memory, IOVA)?;
            bar.read_u32(0);
            rustix::io::write(&ready, &1_u64.to_ne_bytes())?;
            loop {
                std::thread::park();
            }
        })?;
        assert_eq!(ready.wait(30)?, 1);
        assert_eq!(pinned_pages()?, pinned + 64);
        child.kill()?;
        wait_for("the pages to be let go", || {
            pinned_pages().is_ok_and(|now| now == pinned)
        })?;
        edu.open(uapi::TYPE1v2_IOMMU)?.device.info()?;
    }
    Ok(())
}

fn T11_mapper_exits_first() -> TestResult {
    let edu = bench::bound_edu()?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    let (locked, pinned) = (process::locked()?, pinned_pages()?);
    in_child(|| {
        let memory = Memory::anonymous(4 * PAGE)?;
        memory.write(0, b"from the grave");
        session.container.map(&memory, IOVA)?;
        anyhow::ensure!(process::locked()? == 4 * PAGE64, "charged to somebody else");
        Ok(())
    })?;
    // Its pages are still there for the device.
    assert_eq!(process::locked()?, locked);
    assert_eq!(pinned_pages()?, pinned + 4);
    let target = Memory::anonymous(PAGE)?;
    session.container.map(&target, 2 * IOVA)?;
    copy(&session.device, IOVA, 2 * IOVA, 14)?;
    assert_eq!(target.read(0, 14), b"from the grave");
    // Nobody is there to be relieved of the charge, and nobody else is.
    assert_eq!(process::locked()?, locked + PAGE64);
    assert_eq!(session.container.unmap(IOVA, 4 * PAGE64)?, 4 * PAGE64);
    assert_eq!(process::locked()?, locked + PAGE64);
    assert_eq!(pinned_pages()?, pinned + 1);
    session.container.unmap_all()?;
    assert_eq!(process::locked()?, locked);
    Ok(())
}

fn T12_backend_is_not_unloaded_in_use() -> TestResult {
    let edu = bench::bound_edu()?;
    let users = module::users(module::TYPE1)?;
    let session = edu.open(uapi::TYPE1v2_IOMMU)?;
    assert!(module::users(module::TYPE1)? > users);
    fails(module::unload(module::TYPE1), Errno::AGAIN);
    session.container.info()?;
    drop(session);
    assert_eq!(module::users(module::TYPE1)?, users);
    Ok(())
}

fn T13_region_mapping_outlives_the_file() -> TestResult {
    let edu = bench::bound_edu()?;
    let Session {
        device,
        group,
        container,
    } = edu.open(uapi::TYPE1v2_IOMMU)?;
    let bar = device.map_region(uapi::PCI_BAR0_REGION_INDEX)?;
    // The copy that unbinds must not hold it open either.
    bar.keep_from_children()?;
    let id = bar.read_u32(0);
    let child = begin_unbind(&edu, &device)?;
    drop((device, group, container));
    assert_eq!(bar.read_u32(0), id);
    assert!(has_group(&edu)?, "the device went while it was mapped");
    drop(bar);
    child.join()?;
    assert_eq!(edu.driver(), None);
    Ok(())
}

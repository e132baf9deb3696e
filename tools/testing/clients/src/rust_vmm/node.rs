// SPDX-License-Identifier: GPL-2.0
//! What only users of nodes do: take over files that somebody else has opened, and change
//! the page tables of a device.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::fs::FileExt,
    },
    sync::Arc,
};

use anyhow::Context;
use rustix::fs::MemfdFlags;
use vfio_ioctls::{VfioDevice, VfioIommufd};
use vfio_selftests::{harness::TestResult, target::Target};
use vm_memory::{Bytes, GuestAddress};

use super::{
    dma::{memory_file, page},
    refusals::errno,
    vmm::{edu as driver, enable, guest_memory, Vmm, PART, SECOND},
};
use crate::machine::{self, pattern};

const FIRST: GuestAddress = GuestAddress(0x3000);

fn iommufd(vmm: &Vmm) -> anyhow::Result<Arc<VfioIommufd>> {
    vmm.iommufd().cloned().context("not by node")
}

/// Copies a page by a device to where it must arrive, or must not.
fn copies(vmm: &Vmm, device: &VfioDevice, arrives: bool) -> TestResult {
    enable(device);
    let memory = guest_memory()?;
    let driver = driver(device)?;
    memory.write_slice(&pattern(1), FIRST)?;
    vmm.map(&memory)?;
    driver.read_page(FIRST.0)?;
    driver.write_page(SECOND.0)?;
    assert_eq!(page(&memory, SECOND)? == pattern(1), arrives);
    vmm.unmap(&memory)
}

/// The file was opened by another program and passed.
pub(super) fn file_of_another(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let file = VfioDevice::open_cdev(edu.sysfs())?;
    let device = VfioDevice::new_from_fd(file, iommufd(vmm)?, true)?;
    assert!(device.iommufd_dev_id().is_some());
    copies(vmm, &device, true)
}

/// The file is bound already, as after a monitor was replaced by a newer one.
pub(super) fn bound_before(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let device = vmm.device(&edu)?;
    copies(vmm, &device, true)?;
    // SAFETY: The file is open as long as the device is.
    let file = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
    let file = File::from(file.try_clone_to_owned()?);
    let again = file.try_clone()?;
    drop(device);
    let device = VfioDevice::new_from_bound_fd(file, iommufd(vmm)?, true)?;
    copies(vmm, &device, true)?;
    drop(device);
    // It can be bound once only. KVM was told of the file first, and keeps it.
    let other = vmm.another()?;
    let refused = VfioDevice::new_from_fd(again, iommufd(&other)?, true);
    assert_eq!(errno(refused), Some(libc::EINVAL));
    Ok(())
}

/// Memory is mapped by its file, without an address in this process.
pub(super) fn memory_by_its_file(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let file = memory_file(MemfdFlags::CLOEXEC)?;
    let device = vmm.device(&edu)?;
    let driver = driver(&device)?;
    let ioas = iommufd(vmm)?.ioas().clone();
    let len = 2 * PART as u64;
    ioas.map_file(file.as_raw_fd(), 0, len, FIRST.0, true)?;
    file.write_all_at(&pattern(1), 0)?;
    driver.read_page(FIRST.0)?;
    driver.write_page(FIRST.0 + PART as u64)?;
    let mut page = vec![0; 4096];
    file.read_exact_at(&mut page, PART as u64)?;
    assert_eq!(page, pattern(1));
    ioas.unmap(FIRST.0, len)?;
    Ok(())
}

pub(super) fn page_tables(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let device = vmm.device(&edu)?;
    let ioas = iommufd(vmm)?.ioas().id();
    for _ in 0..2 {
        copies(vmm, &device, true)?;
        device.detach_hwpt()?;
        copies(vmm, &device, false)?;
        device.attach_hwpt(ioas)?;
    }
    // Another address space, in which nothing is mapped.
    let other = iommufd_ioctls::IommufdIoas::new(iommufd(vmm)?.iommufd().clone())?;
    device.attach_hwpt(other.id())?;
    copies(vmm, &device, false)?;
    device.attach_hwpt(ioas)?;
    copies(vmm, &device, true)?;
    device.detach_hwpt()?;
    // Dropped while it is in no address space.
    Ok(())
}

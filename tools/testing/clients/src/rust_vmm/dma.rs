// SPDX-License-Identifier: GPL-2.0
//! DMA by edu devices to the memory of a guest.

use std::{
    fs::File,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::fs::MemfdFlags;
use vfio_ioctls::VfioDevice;
use vfio_selftests::{
    harness::{skip, TestResult},
    memory::Memory,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::{
    refusals::errno,
    vmm::{edu, guest_memory, guest_memory_of, Vmm, PART, SECOND},
};
use crate::machine::{self, pattern};

const FIRST: GuestAddress = GuestAddress(0x3000);

/// Reads the page at an address of a guest.
pub(super) fn page(memory: &GuestMemoryMmap, at: GuestAddress) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    memory.read_slice(&mut bytes, at)?;
    Ok(bytes)
}

pub(super) fn round_trip(vmm: &Vmm) -> TestResult {
    copies(vmm, &guest_memory()?)
}

/// Memory that other processes can share, as most monitors allocate it.
pub(super) fn memory_of_a_file(vmm: &Vmm) -> TestResult {
    copies(vmm, &guest_memory_of(&memory_file(MemfdFlags::CLOEXEC)?)?)
}

pub(super) fn huge_pages(vmm: &Vmm) -> TestResult {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    match guest_memory_of(&memory_file(flags)?) {
        Ok(memory) => copies(vmm, &memory),
        Err(_) => skip("there are no huge pages"),
    }
}

/// Creates a file for the memory of a guest.
pub(super) fn memory_file(flags: MemfdFlags) -> anyhow::Result<File> {
    let file = File::from(rustix::fs::memfd_create("guest", flags)?);
    file.set_len(2 * PART as u64)?;
    Ok(file)
}

/// Copies pages from one part of a guest's memory to the other.
fn copies(vmm: &Vmm, memory: &GuestMemoryMmap) -> TestResult {
    let bound = machine::edu()?;
    let device = vmm.device(&bound)?;
    let edu = edu(&device)?;
    memory.write_slice(&pattern(1), FIRST)?;
    vmm.map(memory)?;
    edu.read_page(FIRST.0)?;
    edu.write_page(SECOND.0)?;
    assert_eq!(page(memory, SECOND)?, pattern(1));
    // What is mapped is the memory, not a copy of it.
    memory.write_slice(&pattern(2), FIRST)?;
    edu.read_page(FIRST.0)?;
    edu.write_page(SECOND.0)?;
    assert_eq!(page(memory, SECOND)?, pattern(2));
    vmm.unmap(memory)
}

pub(super) fn unmapped(vmm: &Vmm) -> TestResult {
    let bound = machine::edu()?;
    let memory = guest_memory()?;
    let device = vmm.device(&bound)?;
    let edu = edu(&device)?;
    memory.write_slice(&pattern(1), FIRST)?;
    for _ in 0..2 {
        vmm.map(&memory)?;
        edu.read_page(FIRST.0)?;
        edu.write_page(SECOND.0)?;
        assert_eq!(page(&memory, SECOND)?, pattern(1));
        vmm.unmap(&memory)?;
        memory.write_slice(&pattern(3), SECOND)?;
        edu.write_page(SECOND.0)?;
        assert_eq!(page(&memory, SECOND)?, pattern(3));
    }
    Ok(())
}

/// A guest gets more memory while its device works, and another device after that.
pub(super) fn guest_grows(vmm: &Vmm) -> TestResult {
    const MORE: GuestAddress = GuestAddress(0x0c00_0000);
    let [a, b] = machine::two_edus()?;
    let memory = guest_memory()?;
    let more = GuestMemoryMmap::from_ranges(&[(MORE, 4096)])?;
    let first = vmm.device(&a)?;
    vmm.map(&memory)?;
    memory.write_slice(&pattern(4), FIRST)?;
    edu(&first)?.read_page(FIRST.0)?;
    vmm.map(&more)?;
    edu(&first)?.write_page(MORE.0)?;
    assert_eq!(page(&more, MORE)?, pattern(4));
    // It finds all that is mapped already.
    let second = vmm.device(&b)?;
    edu(&second)?.read_page(MORE.0)?;
    edu(&second)?.write_page(SECOND.0)?;
    assert_eq!(page(&memory, SECOND)?, pattern(4));
    drop(first);
    vmm.unmap(&more)?;
    edu(&second)?.write_page(FIRST.0 + 4096)?;
    assert_eq!(page(&memory, GuestAddress(FIRST.0 + 4096))?, pattern(4));
    vmm.unmap(&memory)
}

/// The memory of one device is mapped for another one, as for peer-to-peer DMA.
pub(super) fn between_devices(vmm: &Vmm) -> TestResult {
    const MEMORY: u32 = 2;
    const AT: u64 = 0x0400_0000;
    let (edu_bound, memory_bound) = (machine::edu()?, machine::memory_device()?);
    let guest = guest_memory()?;
    let (edu_device, memory_device) = (vmm.device(&edu_bound)?, vmm.device(&memory_bound)?);
    let view = view(&memory_device, MEMORY)?;
    let (ops, len) = (vmm.ops(), view.len());
    // SAFETY: The view is accessed by copies only, until it goes as a whole.
    let mapped = unsafe { ops.vfio_dma_map(AT, len, view.address() as *mut u8) };
    if vmm.iommufd().is_some() {
        // Only by a dma-buf, which this kernel does not have.
        assert_eq!(errno(mapped), Some(libc::EFAULT));
        assert!(memory_device.export_dma_buf(MEMORY, &[], 0)?.is_none());
        return Ok(());
    }
    mapped?;
    vmm.map(&guest)?;
    let edu = edu(&edu_device)?;
    guest.write_slice(&pattern(5), FIRST)?;
    edu.read_page(FIRST.0)?;
    edu.write_page(AT + 8192)?;
    assert_eq!(view.read(8192, 4096), pattern(5));
    let mut bytes = vec![0; 4096];
    memory_device.region_read(MEMORY, &mut bytes, 8192);
    assert_eq!(bytes, pattern(5));
    ops.vfio_dma_unmap(AT, len)?;
    vmm.unmap(&guest)
}

/// Maps a region of a device into this process.
fn view(device: &VfioDevice, region: u32) -> anyhow::Result<Memory> {
    // SAFETY: The file is open as long as the device is.
    let file = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
    let offset = device.get_region_offset(region);
    let len = device.get_region_size(region).try_into()?;
    Ok(Memory::of_file(file, offset, len, true)?)
}

// SPDX-License-Identifier: GPL-2.0
//! What is refused, and with which error.

use std::{error::Error, io};

use anyhow::Context;
use rustix::{
    process::{Resource, Rlimit},
    thread::CapabilitySet,
};
use vfio_ioctls::{DmaLoggingRange, VfioError};
use vfio_selftests::{harness::TestResult, memory::Memory, pci, process, sysfs, target::Target};
use vmm_sys_util::errno;

use super::vmm::Vmm;
use crate::machine;

/// Returns the error number of a request that must fail, if the crate tells it.
#[track_caller]
pub(super) fn errno<T>(result: vfio_ioctls::Result<T>) -> Option<i32> {
    let error = result.err().expect("the request has succeeded");
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<errno::Error>() {
            return Some(error.errno());
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        cause = error.source();
    }
    None
}

const PAGE: usize = 4096;
const AT: u64 = 0x10_0000;

/// Maps some memory, or what is none.
fn map(vmm: &Vmm, iova: u64, size: usize, address: usize) -> vfio_ioctls::Result<()> {
    // SAFETY: The memory is accessed by copies only, until it goes as a whole. Where there
    // is none the kernel refuses.
    unsafe { vmm.ops().vfio_dma_map(iova, size, address as *mut u8) }
}

pub(super) fn maps(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let memory = Memory::anonymous(4 * PAGE)?;
    let address = memory.address();
    let by_group = vmm.container().is_some();
    if by_group {
        // Nobody has said yet for whom.
        assert_eq!(errno(map(vmm, AT, PAGE, address)), Some(libc::EINVAL));
    }
    let _device = vmm.device(&edu)?;
    map(vmm, AT, 2 * PAGE, address)?;
    let cases = [
        ("the same again", AT, 2 * PAGE, address, libc::EEXIST),
        ("in the middle", AT + 4096, PAGE, address, libc::EEXIST),
        ("at the edge", AT - 4096, 2 * PAGE, address, libc::EEXIST),
        ("half a page", AT << 1, PAGE / 2, address, libc::EINVAL),
        ("unaligned", (AT << 1) + 8, PAGE, address, libc::EINVAL),
        ("nothing", AT << 1, 0, address, libc::EINVAL),
        ("no memory", AT << 1, PAGE, 0x1000, libc::EFAULT),
        (
            "around the end",
            u64::MAX - 4095,
            2 * PAGE,
            address,
            libc::EOVERFLOW,
        ),
        ("for interrupts", 0xfee0_0000, PAGE, address, libc::EINVAL),
        ("too high", 1 << 60, PAGE, address, libc::EINVAL),
    ];
    for (case, iova, size, address, expected) in cases {
        assert_eq!(
            errno(map(vmm, iova, size, address)),
            Some(expected),
            "{case}"
        );
    }
    vmm.ops().vfio_dma_unmap(AT, 2 * PAGE)?;
    Ok(())
}

/// More memory than this process may lock.
pub(super) fn limit(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let memory = Memory::anonymous(64 * PAGE)?;
    let _device = vmm.device(&edu)?;
    let most = Some(32 * PAGE as u64);
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    rustix::process::setrlimit(Resource::Memlock, limit)?;
    process::drop_capability(CapabilitySet::IPC_LOCK)?;
    let size = memory.len();
    let refused = map(vmm, AT, size, memory.address());
    assert_eq!(errno(refused), Some(libc::ENOMEM));
    // Nothing of that is left, so there is room for half of it.
    for _ in 0..3 {
        map(vmm, AT, size / 2, memory.address())?;
        let more = map(vmm, AT << 1, PAGE, memory.address());
        assert_eq!(errno(more), Some(libc::ENOMEM));
        vmm.ops().vfio_dma_unmap(AT, size / 2)?;
    }
    Ok(())
}

pub(super) fn unmaps(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let memory = Memory::anonymous(8 * PAGE)?;
    let _device = vmm.device(&edu)?;
    let ops = vmm.ops();
    let by_group = vmm.container().is_some();
    let nothing = || ops.vfio_dma_unmap(AT << 1, PAGE);
    match by_group {
        // The kernel says that it has unmapped 0 bytes, which is not what was asked for.
        true => assert!(matches!(nothing(), Err(VfioError::InvalidDmaUnmapSize))),
        false => assert_eq!(errno(nothing()), Some(libc::ENOENT)),
    }
    map(vmm, AT, 4 * PAGE, memory.address())?;
    map(vmm, AT + 0x4000, 4 * PAGE, memory.address())?;
    let refused = if by_group { libc::EINVAL } else { libc::ENOENT };
    for (case, iova, size) in [
        ("the first page", AT, PAGE),
        ("the last page", AT + 0x3000, PAGE),
        ("in the middle", AT + 0x1000, PAGE),
        ("across both", AT + 0x3000, 2 * PAGE),
    ] {
        assert_eq!(
            errno(ops.vfio_dma_unmap(iova, size)),
            Some(refused),
            "{case}"
        );
    }
    assert_eq!(errno(ops.vfio_dma_unmap(AT + 8, PAGE)), Some(refused));
    // Both at once.
    ops.vfio_dma_unmap(AT, 8 * PAGE)?;
    Ok(())
}

pub(super) fn opens(vmm: &Vmm) -> TestResult {
    let by_group = vmm.container().is_some();
    // No driver for VFIO has it.
    let edu = machine::free_edu()?;
    let refused = vmm.open(edu.sysfs());
    match by_group {
        true => assert_eq!(errno(refused), Some(libc::ENOENT)),
        false => assert!(matches!(refused, Err(VfioError::InvalidVfioDev))),
    }
    // The kernel has a device of its group.
    let [a, _] = machine::free_pair()?;
    let sibling = a
        .group_members()
        .into_iter()
        .find(|member| {
            !member.is_bridge()
                && pci::PciDevice::find(pci::EDU)
                    .iter()
                    .all(|edu| edu != member)
        })
        .context("there is no serial port beside the two")?;
    sysfs::write("/sys/bus/pci/drivers/serial/bind", sibling.name())?;
    let pair = a.bind()?;
    pair.group_name()?;
    let refused_to = vmm.another()?;
    let refused = refused_to.open(pair.sysfs());
    match by_group {
        true => assert!(matches!(refused, Err(VfioError::GroupViable))),
        false => assert_eq!(errno(refused), Some(libc::EPERM)),
    }
    drop(refused_to);
    sibling.unbind()?;
    drop(vmm.device(&pair)?);
    Ok(())
}

/// Another one has the device open. By node with KVM the C core loses count of the virtual
/// machine of the first one here: R-39 in docs/c-defects.md.
pub(super) fn taken(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let device = vmm.device(&edu)?;
    let other = vmm.another()?;
    let expected = match vmm.container() {
        Some(_) => libc::EBUSY,
        None => libc::EINVAL,
    };
    assert_eq!(errno(other.open(edu.sysfs())), Some(expected));
    drop(device);
    drop(other.device(&edu)?);
    Ok(())
}

pub(super) fn features(vmm: &Vmm) -> TestResult {
    let edu = machine::edu()?;
    let device = vmm.device(&edu)?;
    let range = DmaLoggingRange {
        iova: 0,
        length: 4096,
    };
    assert_eq!(
        errno(device.start_dma_logging(4096, &[range])),
        Some(libc::ENOTTY)
    );
    assert_eq!(errno(device.get_migration_state()), Some(libc::ENOTTY));
    assert_eq!(errno(device.set_migration_state(1)), Some(libc::ENOTTY));
    assert_eq!(errno(device.get_mig_data_size()), Some(libc::ENOTTY));
    if let Some(iommufd) = vmm.iommufd() {
        let ioas = iommufd.ioas().id();
        let refused = device.attach_iommufd_pt_pasid(ioas, 1);
        assert_eq!(errno(refused), Some(libc::EINVAL));
        // Nothing was attached, which is no error.
        device.detach_iommufd_pt_pasid(1)?;
        assert_eq!(errno(device.attach_hwpt(0x7fff)), Some(libc::ENOENT));
    }
    Ok(())
}

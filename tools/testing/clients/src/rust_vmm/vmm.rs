// SPDX-License-Identifier: GPL-2.0
//! A virtual machine monitor, as far as VFIO has to do with one: an address space for
//! devices, the memory of a guest, and perhaps a virtual machine of KVM.

use std::{fs::File, path::Path, sync::Arc};

use anyhow::{Context, Result};
use iommufd_ioctls::{IommuFd, IommufdError};
use kvm_ioctls::{Kvm, VmFd};
use vfio_bindings::bindings::vfio::{VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX};
use vfio_ioctls::{VfioContainer, VfioDevice, VfioDeviceFd, VfioIommufd, VfioOps};
use vfio_selftests::{harness::skip, kvm, target::Target};
use vm_memory::{
    Address, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    MemoryRegionAddress,
};

use crate::edu::{Bar, Edu};

/// How devices are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By their groups, in a container.
    Group,
    /// The same, and KVM is told of the groups.
    GroupAndKvm,
    /// By their own nodes, in an iommufd.
    Node,
    /// The same, and KVM is told of the devices.
    NodeAndKvm,
}

/// An address space for devices.
enum Space {
    Container(Arc<VfioContainer>),
    Iommufd(Arc<VfioIommufd>),
}

/// A virtual machine monitor.
pub(crate) struct Vmm {
    way: Way,
    space: Space,
    vm: Option<VmFd>,
}

impl Vmm {
    /// Creates one that has no devices and no memory yet.
    pub(crate) fn new(way: Way) -> Result<Self> {
        let (vm, link) = match way {
            Way::Group | Way::Node => (None, None),
            Way::GroupAndKvm | Way::NodeAndKvm => {
                let (vm, link) = virtual_machine()?;
                (Some(vm), Some(Arc::new(link)))
            }
        };
        let space = match way {
            Way::Group | Way::GroupAndKvm => Space::Container(Arc::new(VfioContainer::new(link)?)),
            Way::Node | Way::NodeAndKvm => {
                let iommufd = match IommuFd::new() {
                    Err(IommufdError::OpenIommufd(_)) => return skip("this kernel has no iommufd"),
                    opened => Arc::new(opened?),
                };
                Space::Iommufd(Arc::new(VfioIommufd::new(iommufd, None, link)?))
            }
        };
        Ok(Self { way, space, vm })
    }

    /// Creates another one of the same kind.
    pub(crate) fn another(&self) -> Result<Self> {
        Self::new(self.way)
    }

    /// Returns what the crate opens devices with.
    pub(crate) fn ops(&self) -> Arc<dyn VfioOps> {
        match &self.space {
            Space::Container(container) => container.clone(),
            Space::Iommufd(iommufd) => iommufd.clone(),
        }
    }

    /// Returns the container, if devices are opened by their groups.
    pub(crate) fn container(&self) -> Option<&Arc<VfioContainer>> {
        match &self.space {
            Space::Container(container) => Some(container),
            Space::Iommufd(_) => None,
        }
    }

    /// Returns whether KVM is told of devices.
    pub(crate) fn has_kvm(&self) -> bool {
        self.vm.is_some()
    }

    /// Returns the iommufd, if devices are opened by their own nodes.
    pub(crate) fn iommufd(&self) -> Option<&Arc<VfioIommufd>> {
        match &self.space {
            Space::Container(_) => None,
            Space::Iommufd(iommufd) => Some(iommufd),
        }
    }

    /// Opens a device and lets it into the address space.
    pub(crate) fn open(&self, sysfs: &Path) -> vfio_ioctls::Result<VfioDevice> {
        VfioDevice::new(sysfs, self.ops(), true)
    }

    /// Opens a device, and lets it answer and do DMA if it is a PCI device.
    pub(crate) fn device(&self, target: &impl Target) -> Result<VfioDevice> {
        let device = self
            .open(target.sysfs())
            .with_context(|| format!("open {}", target.name()))?;
        enable(&device);
        Ok(device)
    }

    /// Maps the memory of the guest, at the addresses that the guest knows.
    pub(crate) fn map(&self, memory: &GuestMemoryMmap) -> Result<()> {
        match &self.space {
            // SAFETY: The memory is accessed by copies only, until it goes as a whole.
            Space::Container(container) => unsafe { container.vfio_map_guest_memory(memory)? },
            Space::Iommufd(iommufd) => {
                for region in memory.iter() {
                    let (iova, size) = place(region)?;
                    let address = region.get_host_address(MemoryRegionAddress(0))?;
                    // SAFETY: As above.
                    unsafe { iommufd.vfio_dma_map(iova, size, address)? };
                }
            }
        }
        Ok(())
    }

    /// Unmaps it.
    pub(crate) fn unmap(&self, memory: &GuestMemoryMmap) -> Result<()> {
        match &self.space {
            Space::Container(container) => container.vfio_unmap_guest_memory(memory)?,
            Space::Iommufd(iommufd) => {
                for region in memory.iter() {
                    let (iova, size) = place(region)?;
                    iommufd.vfio_dma_unmap(iova, size)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns where a part of a guest's memory is, and how long it is.
fn place(region: &impl GuestMemoryRegion) -> Result<(u64, usize)> {
    Ok((region.start_addr().raw_value(), region.len().try_into()?))
}

/// Creates a virtual machine of KVM, and the file by which it is told of devices.
fn virtual_machine() -> Result<(VmFd, VfioDeviceFd)> {
    kvm::Kvm::load()?;
    let vm = Kvm::new()?.create_vm()?;
    let link = vm.create_device(&mut kvm_bindings::kvm_create_device {
        type_: kvm_bindings::kvm_device_type_KVM_DEV_TYPE_VFIO,
        ..Default::default()
    })?;
    Ok((vm, VfioDeviceFd::new_from_kvm(link)))
}

/// The size of each of the two parts of a guest's memory.
pub(crate) const PART: usize = 2 << 20;
/// Where the second part begins. Edu devices reach both.
pub(crate) const SECOND: GuestAddress = GuestAddress(0x0800_0000);

/// Allocates the memory of a guest, in two parts.
pub(crate) fn guest_memory() -> Result<GuestMemoryMmap> {
    let parts = [(GuestAddress(0), PART), (SECOND, PART)];
    GuestMemoryMmap::from_ranges(&parts).context("allocate the memory of a guest")
}

/// Makes the memory of a guest of a file that has both parts.
pub(crate) fn guest_memory_of(file: &File) -> Result<GuestMemoryMmap> {
    let part = |at, offset| -> Result<_> {
        let file = FileOffset::new(file.try_clone()?, offset as u64);
        Ok((at, PART, Some(file)))
    };
    let parts = [part(GuestAddress(0), 0)?, part(SECOND, PART)?];
    GuestMemoryMmap::from_ranges_with_files(parts).context("map the memory of a guest")
}

/// Lets a PCI device answer accesses to its memory, and do DMA.
pub(crate) fn enable(device: &VfioDevice) {
    const COMMAND: u64 = 4;
    const MEMORY_AND_MASTER: u16 = 0b110;
    let mut command = [0; 2];
    device.region_read(VFIO_PCI_CONFIG_REGION_INDEX, &mut command, COMMAND);
    let command = u16::from_le_bytes(command) | MEMORY_AND_MASTER;
    device.region_write(
        VFIO_PCI_CONFIG_REGION_INDEX,
        &command.to_le_bytes(),
        COMMAND,
    );
}

impl Bar for &VfioDevice {
    fn get(&self, at: u64) -> Result<u32> {
        let mut bytes = [0; 4];
        self.region_read(VFIO_PCI_BAR0_REGION_INDEX, &mut bytes, at);
        Ok(u32::from_le_bytes(bytes))
    }

    fn set(&self, at: u64, value: u32) -> Result<()> {
        self.region_write(VFIO_PCI_BAR0_REGION_INDEX, &value.to_le_bytes(), at);
        Ok(())
    }
}

/// Returns the driver of an edu device that was opened.
pub(crate) fn edu(device: &VfioDevice) -> Result<Edu<&VfioDevice>> {
    Edu::new(device)
}

// SPDX-License-Identifier: GPL-2.0
//! What is particular to PCI devices: fixed region and interrupt numbers, the
//! reset of a whole bus, and writes by eventfd. All of it is answered by the
//! PCI driver, not by the core.

use crate::request;

/// Region: base address register 0, then 1 to 5.
pub const PCI_BAR0_REGION_INDEX: u32 = 0;
/// Region: base address register 1.
pub const PCI_BAR1_REGION_INDEX: u32 = 1;
/// Region: base address register 2.
pub const PCI_BAR2_REGION_INDEX: u32 = 2;
/// Region: base address register 3.
pub const PCI_BAR3_REGION_INDEX: u32 = 3;
/// Region: base address register 4.
pub const PCI_BAR4_REGION_INDEX: u32 = 4;
/// Region: base address register 5.
pub const PCI_BAR5_REGION_INDEX: u32 = 5;
/// Region: the expansion ROM.
pub const PCI_ROM_REGION_INDEX: u32 = 6;
/// Region: the configuration space.
pub const PCI_CONFIG_REGION_INDEX: u32 = 7;
/// Region: the VGA ports and memory, at their fixed addresses inside it.
pub const PCI_VGA_REGION_INDEX: u32 = 8;
/// Regions from this number on say with a capability what they are.
pub const PCI_NUM_REGIONS: u32 = 9;

/// Interrupt index: the legacy line.
pub const PCI_INTX_IRQ_INDEX: u32 = 0;
/// Interrupt index: MSI.
pub const PCI_MSI_IRQ_INDEX: u32 = 1;
/// Interrupt index: MSI-X.
pub const PCI_MSIX_IRQ_INDEX: u32 = 2;
/// Interrupt index: the device reported an error that it cannot recover from.
pub const PCI_ERR_IRQ_INDEX: u32 = 3;
/// Interrupt index: the kernel wants the device back.
pub const PCI_REQ_IRQ_INDEX: u32 = 4;
/// One more than the last interrupt index.
pub const PCI_NUM_IRQS: u32 = 5;

/// Lists the devices that a reset of the bus would hit: [`PciHotResetInfo`].
/// `ENOSPC` if they do not fit, with the number needed in `count`.
pub const DEVICE_GET_PCI_HOT_RESET_INFO: u32 = request(12);

/// Resets the bus or slot of the device, and with it all devices there:
/// [`PciHotReset`].
pub const DEVICE_PCI_HOT_RESET: u32 = request(13);

/// Connects an eventfd to a register write: [`DeviceIoeventfd`].
pub const DEVICE_IOEVENTFD: u32 = request(16);

/// [`PciDependentDevice::id`] with device ids: not one of the caller's by id,
/// but in a group that is.
pub const PCI_DEVID_OWNED: i32 = 0;
/// [`PciDependentDevice::id`] with device ids: not the caller's.
pub const PCI_DEVID_NOT_OWNED: i32 = -1;

/// A device that shares the reset.
#[doc(alias = "vfio_pci_dependent_device")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PciDependentDevice {
    /// Its IOMMU group; or with [`PCI_HOT_RESET_FLAG_DEV_ID`] its id in the
    /// caller's iommufd, or a `PCI_DEVID_*` number.
    pub id: u32,
    /// PCI domain.
    pub segment: u16,
    /// Bus number.
    pub bus: u8,
    /// Slot in the upper 5 bits, function in the lower 3.
    pub devfn: u8,
}

/// [`PciHotResetInfo::flags`]: ids are those of an iommufd.
pub const PCI_HOT_RESET_FLAG_DEV_ID: u32 = 1 << 0;
/// [`PciHotResetInfo::flags`]: the caller owns all devices listed.
pub const PCI_HOT_RESET_FLAG_DEV_ID_OWNED: u32 = 1 << 1;

/// Answer of [`DEVICE_GET_PCI_HOT_RESET_INFO`].
#[doc(alias = "vfio_pci_hot_reset_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PciHotResetInfo {
    /// In: bytes offered.
    pub argsz: u32,
    /// Out: `PCI_HOT_RESET_FLAG_*`.
    pub flags: u32,
    /// Out: length of `devices`.
    pub count: u32,
    /// The devices, the caller's own among them.
    pub devices: [PciDependentDevice; 0],
}

/// Argument of [`DEVICE_PCI_HOT_RESET`].
#[doc(alias = "vfio_pci_hot_reset")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PciHotReset {
    /// Bytes offered: 12 and the list.
    pub argsz: u32,
    /// 0.
    pub flags: u32,
    /// Length of `group_fds`; 0 for a device that is bound to an iommufd.
    pub count: u32,
    /// Open group files that prove that the devices are the caller's.
    pub group_fds: [i32; 0],
}

/// [`DeviceIoeventfd::flags`]: write one byte.
pub const DEVICE_IOEVENTFD_8: u32 = 1 << 0;
/// [`DeviceIoeventfd::flags`]: write two bytes.
pub const DEVICE_IOEVENTFD_16: u32 = 1 << 1;
/// [`DeviceIoeventfd::flags`]: write four bytes.
pub const DEVICE_IOEVENTFD_32: u32 = 1 << 2;
/// [`DeviceIoeventfd::flags`]: write eight bytes.
pub const DEVICE_IOEVENTFD_64: u32 = 1 << 3;
/// The bits of [`DeviceIoeventfd::flags`] of which exactly one gives the width.
pub const DEVICE_IOEVENTFD_SIZE_MASK: u32 = 0xf;

/// Argument of [`DEVICE_IOEVENTFD`]: each signal of the eventfd writes `data`
/// to the device.
#[doc(alias = "vfio_device_ioeventfd")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceIoeventfd {
    /// Bytes offered, at least 28.
    pub argsz: u32,
    /// One of `DEVICE_IOEVENTFD_8` to `_64`.
    pub flags: u32,
    /// Where to write, as an offset in the device file.
    pub offset: u64,
    /// What to write.
    pub data: u64,
    /// The eventfd, or -1 to end the connection.
    pub fd: i32,
    /// 0.
    pub reserved: u32,
}

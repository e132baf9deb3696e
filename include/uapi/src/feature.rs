// SPDX-License-Identifier: GPL-2.0
//! Device features: one request for optional abilities of a device (contract
//! rows F082, F083, F094-F098). Migration has its own module,
//! [`crate::migration`].

use crate::request;

/// Reads, sets or probes a feature: [`DeviceFeature`].
pub const DEVICE_FEATURE: u32 = request(17);

/// The part of [`DeviceFeature::flags`] that is the number of the feature.
pub const DEVICE_FEATURE_MASK: u32 = 0xffff;
/// [`DeviceFeature::flags`]: read the feature into `data`.
pub const DEVICE_FEATURE_GET: u32 = 1 << 16;
/// [`DeviceFeature::flags`]: set the feature from `data`.
pub const DEVICE_FEATURE_SET: u32 = 1 << 17;
/// [`DeviceFeature::flags`]: only ask whether it exists, and with GET or SET
/// whether it can be read or set. Needs no data.
pub const DEVICE_FEATURE_PROBE: u32 = 1 << 18;

/// Begins the argument of [`DEVICE_FEATURE`]. GET and SET exclude each other
/// except in a probe. A feature that nobody knows is `ENOTTY`.
#[doc(alias = "vfio_device_feature")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeature {
    /// Bytes offered: 8 and the data.
    pub argsz: u32,
    /// Number of the feature and `DEVICE_FEATURE_*`.
    pub flags: u32,
    /// Depends on the feature.
    pub data: [u8; 0],
}

/// Feature: the 16-byte secret shared by owners of a PF and its VFs. SET.
pub const DEVICE_FEATURE_PCI_VF_TOKEN: u32 = 0;
/// Feature: the device may go to sleep when idle; any access wakes it. SET.
pub const DEVICE_FEATURE_LOW_POWER_ENTRY: u32 = 3;
/// Feature: the same, but a wake-up signals an eventfd and it stays awake:
/// [`DeviceLowPowerEntryWithWakeup`]. SET.
pub const DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: u32 = 4;
/// Feature: the device may no longer go to sleep. SET.
pub const DEVICE_FEATURE_LOW_POWER_EXIT: u32 = 5;
/// Feature: begin to log what the device writes:
/// [`DeviceFeatureDmaLoggingControl`]. SET (F094, F095).
pub const DEVICE_FEATURE_DMA_LOGGING_START: u32 = 6;
/// Feature: end the log. SET (F096).
pub const DEVICE_FEATURE_DMA_LOGGING_STOP: u32 = 7;
/// Feature: read and clear the log: [`DeviceFeatureDmaLoggingReport`]. GET
/// (F096).
pub const DEVICE_FEATURE_DMA_LOGGING_REPORT: u32 = 8;
/// Feature: allow or stop the device's DMA: [`DeviceFeatureBusMaster`]. SET.
pub const DEVICE_FEATURE_BUS_MASTER: u32 = 10;
/// Feature: make a dma-buf of parts of a region; the result of the request is
/// its file descriptor: [`DeviceFeatureDmaBuf`]. GET.
pub const DEVICE_FEATURE_DMA_BUF: u32 = 11;

/// Data of [`DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP`].
#[doc(alias = "vfio_device_low_power_entry_with_wakeup")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceLowPowerEntryWithWakeup {
    /// The eventfd.
    pub wakeup_eventfd: i32,
    /// 0.
    pub reserved: u32,
}

/// Data of [`DEVICE_FEATURE_DMA_LOGGING_START`].
#[doc(alias = "vfio_device_feature_dma_logging_control")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatureDmaLoggingControl {
    /// In: bytes that one bit should stand for. Out: what the device chose.
    pub page_size: u64,
    /// Length of the array at `ranges`: 1 to 256 with 4 KiB pages.
    pub num_ranges: u32,
    /// Ignored.
    pub reserved: u32,
    /// Address of an array of [`DeviceFeatureDmaLoggingRange`].
    pub ranges: u64,
}

/// A range of addresses whose writes are to be logged.
#[doc(alias = "vfio_device_feature_dma_logging_range")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatureDmaLoggingRange {
    /// First address, a multiple of the page size.
    pub iova: u64,
    /// Bytes, a multiple of the page size. The end, exclusive, must be below
    /// 2^64.
    pub length: u64,
}

/// Data of [`DEVICE_FEATURE_DMA_LOGGING_REPORT`].
#[doc(alias = "vfio_device_feature_dma_logging_report")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatureDmaLoggingReport {
    /// First address to report on.
    pub iova: u64,
    /// Bytes to report on.
    pub length: u64,
    /// Bytes that one bit stands for: a power of two, 4096 or more. Need not
    /// be that of the start.
    pub page_size: u64,
    /// Address of an array of 64-bit words. Bits are set in it, never cleared.
    pub bitmap: u64,
}

/// [`DeviceFeatureBusMaster::op`]: stop the device's DMA.
pub const DEVICE_FEATURE_CLEAR_MASTER: u32 = 0;
/// [`DeviceFeatureBusMaster::op`]: allow it.
pub const DEVICE_FEATURE_SET_MASTER: u32 = 1;

/// Data of [`DEVICE_FEATURE_BUS_MASTER`].
#[doc(alias = "vfio_device_feature_bus_master")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatureBusMaster {
    /// `DEVICE_FEATURE_CLEAR_MASTER` or `DEVICE_FEATURE_SET_MASTER`.
    pub op: u32,
}

/// A part of a region that goes into a dma-buf.
#[doc(alias = "vfio_region_dma_range")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionDmaRange {
    /// Where it begins in the region.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// Data of [`DEVICE_FEATURE_DMA_BUF`].
#[doc(alias = "vfio_device_feature_dma_buf")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatureDmaBuf {
    /// Which region.
    pub region_index: u32,
    /// Flags for the new file, such as `O_CLOEXEC`.
    pub open_flags: u32,
    /// 0.
    pub flags: u32,
    /// Length of `dma_ranges`.
    pub nr_ranges: u32,
    /// The parts.
    pub dma_ranges: [RegionDmaRange; 0],
}

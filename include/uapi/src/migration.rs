// SPDX-License-Identifier: GPL-2.0
//! Migration of a device: states, and the stream that carries its content
//! (contract sections 3.6 and 5, rows F084-F093).
//!
//! A program moves a device from state to state with
//! [`DEVICE_FEATURE_MIG_DEVICE_STATE`]. Entering a state that saves or restores
//! gives a file to read the content from or to write it to.

use crate::request;

/// Asks, on the file that saves, how much there is to read: [`PrecopyInfo`].
/// Only in the two precopy states.
pub const MIG_GET_PRECOPY_INFO: u32 = request(21);

/// Feature: what states the device knows: [`DeviceFeatureMigration`]. GET.
pub const DEVICE_FEATURE_MIGRATION: u32 = 1;
/// Feature: the state: [`DeviceFeatureMigState`]. GET and SET.
pub const DEVICE_FEATURE_MIG_DEVICE_STATE: u32 = 2;
/// Feature: an estimate of what is left once the device has stopped:
/// [`DeviceFeatureMigDataSize`]. GET.
pub const DEVICE_FEATURE_MIG_DATA_SIZE: u32 = 9;
/// Feature: let [`PrecopyInfo::flags`] be an output. SET without data; lasts
/// until the device is closed.
#[allow(non_upper_case_globals)] // The name of the C macro.
pub const DEVICE_FEATURE_MIG_PRECOPY_INFOv2: u32 = 12;

/// [`DeviceFeatureMigration::flags`]: stop, stop-copy and resuming exist.
/// Always there.
pub const MIGRATION_STOP_COPY: u64 = 1 << 0;
/// [`DeviceFeatureMigration::flags`]: running without peer-to-peer DMA exists.
pub const MIGRATION_P2P: u64 = 1 << 1;
/// [`DeviceFeatureMigration::flags`]: saving while running exists.
pub const MIGRATION_PRE_COPY: u64 = 1 << 2;

/// Data of [`DEVICE_FEATURE_MIGRATION`].
#[doc(alias = "vfio_device_feature_migration")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatureMigration {
    /// `MIGRATION_*`.
    pub flags: u64,
}

/// State: the device failed; only a reset helps. Cannot be asked for.
pub const DEVICE_STATE_ERROR: u32 = 0;
/// State: neither DMA nor interrupts nor any change inside.
pub const DEVICE_STATE_STOP: u32 = 1;
/// State: full operation.
pub const DEVICE_STATE_RUNNING: u32 = 2;
/// State: stopped, and its content can be read.
pub const DEVICE_STATE_STOP_COPY: u32 = 3;
/// State: stopped, and new content is being written.
pub const DEVICE_STATE_RESUMING: u32 = 4;
/// State: running, but starting no DMA to other devices.
pub const DEVICE_STATE_RUNNING_P2P: u32 = 5;
/// State: running while its content can be read.
pub const DEVICE_STATE_PRE_COPY: u32 = 6;
/// State: the same, but starting no DMA to other devices.
pub const DEVICE_STATE_PRE_COPY_P2P: u32 = 7;
/// One more than the last state.
pub const DEVICE_STATE_NR: u32 = 8;

/// Data of [`DEVICE_FEATURE_MIG_DEVICE_STATE`].
#[doc(alias = "vfio_device_feature_mig_state")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatureMigState {
    /// `DEVICE_STATE_*`: the state, or the one to go to.
    pub device_state: u32,
    /// Out: the file that carries the content, or -1 if this step began none.
    pub data_fd: i32,
}

/// Data of [`DEVICE_FEATURE_MIG_DATA_SIZE`].
#[doc(alias = "vfio_device_feature_mig_data_size")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFeatureMigDataSize {
    /// Bytes.
    pub stop_copy_length: u64,
}

/// [`PrecopyInfo::flags`]: the device began anew with `initial_bytes`.
pub const PRECOPY_INFO_REINIT: u32 = 1 << 0;

/// Answer of [`MIG_GET_PRECOPY_INFO`]. Both numbers are estimates.
#[doc(alias = "vfio_precopy_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrecopyInfo {
    /// Bytes offered, at least 24.
    pub argsz: u32,
    /// Out, after opting in: `PRECOPY_INFO_*`. Otherwise what the caller put
    /// there.
    pub flags: u32,
    /// Out: bytes of the first pass still to be read.
    pub initial_bytes: u64,
    /// Out: bytes that changed since they were read.
    pub dirty_bytes: u64,
}

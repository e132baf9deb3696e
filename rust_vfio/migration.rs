// SPDX-License-Identifier: GPL-2.0

//! Migration: moving a device that is in use to another machine.
//!
//! User space moves the device through the states of [`logic::fsm`](crate::logic::fsm), and gets
//! files from which it reads the device's state, or to which it writes it. The driver owns the
//! state and the files, and serialises its callbacks; the core checks requests and installs the
//! files. It takes no lock.
//!
//! Corresponds to `vfio_ioctl_device_feature_migration()`,
//! `vfio_ioctl_device_feature_mig_device_state()`,
//! `vfio_ioctl_device_feature_migration_data_size()`,
//! `vfio_ioctl_device_feature_migration_precopy_info_v2()` and `vfio_mig_get_next_state()` in
//! `drivers/vfio/vfio_main.c`; contract 5.1 to 5.6.

use core::mem::size_of;

use kernel::{
    fs::file::{
        flags::O_CLOEXEC,
        File,
        FileDescriptorReservation, //
    },
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::aref::ARef, //
};

use crate::{
    core::feature_call::FeatureCall,
    kernel::returned::Failure,
    logic::{
        features::{
            Operation,
            SupportedOps, //
        },
        fsm::{
            self,
            Abilities,
            ArcRefusal, //
            MigrationState,
        }, //
    },
    trace,
    uapi::feature::{
        MigDataSize,
        MigState,
        Migration, //
    },
    views::device::Device, //
};

pub(crate) mod logging;

/// The value of `data_fd` where there is no file.
const NO_FILE: i32 = -1;

/// Handles VFIO_DEVICE_FEATURE_MIGRATION: tells user space which optional states the device has.
///
/// # Errors
///
/// - `ENOTTY` if the device cannot be migrated.
/// - `EINVAL` as [`FeatureCall::check`] says; the feature can only be read.
/// - `EFAULT` if the answer cannot be written.
#[doc(alias = "vfio_ioctl_device_feature_migration")]
pub(crate) fn get_flags(device: &Device, call: &FeatureCall) -> Result {
    if !device.can_migrate() {
        return Err(ENOTTY);
    }
    match call.check(SupportedOps::Get, size_of::<Migration>())? {
        Operation::Nothing => Ok(()),
        Operation::Get | Operation::Set => call.data().write(&Migration {
            flags: u64::from(device.migration_flags()),
        }),
    }
}

/// Handles VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: tells user space the state, or moves the device to
/// another one.
///
/// # Errors
///
/// If one of the last three happens, the device stays in the state that it has reached.
///
/// - `ENOTTY` if the device cannot be migrated.
/// - `EINVAL` as [`FeatureCall::check`] says; the feature can be read and written.
/// - `EFAULT` if the request cannot be read.
/// - Any failure of the driver's `migration_get_state`, or any errno of its `migration_set_state`,
///   among them `EINVAL` where no path leads to the wanted state.
/// - `EMFILE` if the process has no file descriptor left.
/// - `ENOMEM`.
/// - `EFAULT` if the answer cannot be written. If the driver failed too, its errno is lost.
#[doc(alias = "vfio_ioctl_device_feature_mig_device_state")]
pub(crate) fn state(device: &Device, call: &FeatureCall) -> Result<(), Failure> {
    if !device.can_migrate() {
        return Err(ENOTTY.into());
    }
    let operation = call.check(SupportedOps::GetOrSet, size_of::<MigState>())?;
    if operation == Operation::Nothing {
        return Ok(());
    }
    let mut state = call.data().read::<MigState>()?;
    state.data_fd = NO_FILE;
    if operation == Operation::Get {
        state.device_state = device.migration_state()?;
        return Ok(call.data().write(&state)?);
    }
    let moved = device.set_migration_state(state.device_state);
    trace::migration_state(device.bus_device(), state.device_state, &moved);
    match moved {
        Ok(Some(file)) => hand_out(call, state, file)?,
        Ok(None) => call.data().write(&state)?,
        Err(e) => {
            // User space is told that there is no file; if that fails, EFAULT replaces `e`.
            call.data().write(&state)?;
            return Err(e.into());
        }
    }
    Ok(())
}

/// Installs the file in a new descriptor of the calling process and tells user space its number.
///
/// # Errors
///
/// `EMFILE`, `ENOMEM`, `EFAULT`; the file is dropped then.
#[doc(alias = "vfio_ioct_mig_return_fd")]
fn hand_out(call: &FeatureCall, mut state: MigState, file: ARef<File>) -> Result {
    let fd = FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)?;
    state.data_fd = i32::try_from(fd.reserved_fd())?;
    // The last step that can fail: an installed descriptor cannot be taken back.
    call.data().write(&state)?;
    fd.fd_install(file);
    Ok(())
}

/// Handles VFIO_DEVICE_FEATURE_MIG_DATA_SIZE: tells user space how many bytes the device's state
/// will have once the device is stopped.
///
/// # Errors
///
/// - `ENOTTY` if the device cannot be migrated.
/// - `EINVAL` as [`FeatureCall::check`] says; the feature can only be read.
/// - Any failure of the driver's `migration_get_data_size`.
/// - `EFAULT` if the answer cannot be written.
#[doc(alias = "vfio_ioctl_device_feature_migration_data_size")]
pub(crate) fn data_size(device: &Device, call: &FeatureCall) -> Result<(), Failure> {
    if !device.can_migrate() {
        return Err(ENOTTY.into());
    }
    match call.check(SupportedOps::Get, size_of::<MigDataSize>())? {
        Operation::Nothing => Ok(()),
        Operation::Get | Operation::Set => Ok(call.data().write(&MigDataSize {
            stop_copy_length: u64::try_from(device.migration_data_size()?)?,
        })?),
    }
}

/// Handles VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: from now on, until the device is closed, the
/// driver may set flags in the answer to VFIO_MIG_GET_PRECOPY_INFO. Without this feature the flags
/// are whatever user space passed in.
///
/// # Errors
///
/// - `EINVAL` if the device cannot pre-copy.
/// - `EINVAL` as [`FeatureCall::check`] says; the feature can only be written.
#[doc(alias = "vfio_ioctl_device_feature_migration_precopy_info_v2")]
pub(crate) fn opt_in_to_precopy_info_v2(device: &Device, call: &FeatureCall) -> Result {
    if !abilities(device).contains(Abilities::PRE_COPY) {
        return Err(EINVAL);
    }
    if call.check(SupportedOps::Set, 0)? == Operation::Set {
        device.opt_in_to_precopy_info_v2();
    }
    Ok(())
}

/// Prints the migration state of an open device into fdinfo, if it has one.
pub(crate) fn show_state(device: &Device, m: &SeqFile) {
    if !device.can_migrate() {
        return;
    }
    if let Ok(state) = device.migration_state() {
        let name = MigrationState::from_raw(state).map_or("invalid", MigrationState::name);
        seq_print!(m, "vfio-migration-state:\t{name}\n");
    }
}

/// Returns which optional states the device has.
pub(crate) fn abilities(device: &Device) -> Abilities {
    Abilities::from_raw(device.migration_flags())
}

/// Returns the next state on the path from `current` to `wanted`, both numbers of the user ABI, for
/// a driver that implements single steps only.
///
/// Deviation: in the error state there is no kernel warning. C warns, which user space can cause
/// at will by asking for another state after the device has failed.
///
/// # Errors
///
/// An [`ArcRefusal`] if there is no path. Warns if the driver claims to be in a state that its
/// device does not have.
#[doc(alias = "vfio_mig_get_next_state")]
pub(crate) fn next_state(
    device: &Device,
    current: u32,
    wanted: u32,
) -> Result<MigrationState, ArcRefusal> {
    let next = fsm::next(abilities(device), current, wanted);
    kernel::warn_on!(next == Err(ArcRefusal::ImpossibleCurrent));
    next
}

// SPDX-License-Identifier: GPL-2.0

//! Migration: moving a device that is in use to another machine.
//!
//! User space moves the device through the states of [`logic::fsm`](crate::logic::fsm), and gets
//! files through which the device's state flows out or in. The driver owns the state and the
//! files; the core checks requests and installs the files. There is nothing to lock.
//!
//! Corresponds to the migration functions of `drivers/vfio/vfio_main.c`; contract sections 5.1 to
//! 5.6. Deviation: asking for the next state from the error state is `EINVAL` without a kernel
//! warning.

use core::mem::size_of;

use kernel::{
    fs::file::{
        flags::O_CLOEXEC,
        File,
        FileDescriptorReservation, //
    },
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    core::feature_call::FeatureCall,
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
    uapi::feature::{
        MigDataSize,
        MigState,
        Migration, //
    },
    views::device::Device, //
};

pub(crate) mod logging;

/// What a file descriptor is where there is no file.
const NO_FILE: i32 = -1;

/// VFIO_DEVICE_FEATURE_MIGRATION: the optional parts that the device has.
///
/// # Errors
///
/// `ENOTTY` if the device cannot be migrated, `EINVAL`, `EFAULT`.
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

/// VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: asks for the state, or moves the device to another one.
///
/// # Errors
///
/// `ENOTTY` if the device cannot be migrated, `EINVAL`, `EFAULT`, `EMFILE`, what the driver
/// returned. A state that was reached is kept even if its file could not be handed out.
pub(crate) fn state(device: &Device, call: &FeatureCall) -> Result {
    if !device.can_migrate() {
        return Err(ENOTTY);
    }
    let operation = call.check(SupportedOps::GetOrSet, size_of::<MigState>())?;
    if operation == Operation::Nothing {
        return Ok(());
    }
    let mut state = call.data().read::<MigState>()?;
    state.data_fd = NO_FILE;
    if operation == Operation::Get {
        state.device_state = device.migration_state()?;
        return call.data().write(&state);
    }
    match device.set_migration_state(state.device_state) {
        Ok(Some(file)) => hand_out(call, state, file),
        Ok(None) => call.data().write(&state),
        Err(e) => {
            // A caller that cannot be told about the file is told that.
            call.data().write(&state)?;
            Err(e)
        }
    }
}

/// Gives the caller a file descriptor for the file.
fn hand_out(call: &FeatureCall, mut state: MigState, file: ARef<File>) -> Result {
    let fd = FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)?;
    state.data_fd = i32::try_from(fd.reserved_fd())?;
    // The last step that can fail: an installed descriptor cannot be taken back.
    call.data().write(&state)?;
    fd.fd_install(file);
    Ok(())
}

/// VFIO_DEVICE_FEATURE_MIG_DATA_SIZE: how much there will be to copy.
///
/// # Errors
///
/// `ENOTTY` if the device cannot be migrated, `EINVAL`, `EFAULT`, what the driver returned.
pub(crate) fn data_size(device: &Device, call: &FeatureCall) -> Result {
    if !device.can_migrate() {
        return Err(ENOTTY);
    }
    match call.check(SupportedOps::Get, size_of::<MigDataSize>())? {
        Operation::Nothing => Ok(()),
        Operation::Get | Operation::Set => call.data().write(&MigDataSize {
            stop_copy_length: u64::try_from(device.migration_data_size()?)?,
        }),
    }
}

/// VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: user space has no garbage in the flags of
/// VFIO_MIG_GET_PRECOPY_INFO and wants to see what the driver sets there.
///
/// # Errors
///
/// `EINVAL`, also if the device cannot pre-copy.
pub(crate) fn opt_in_to_precopy_info_v2(device: &Device, call: &FeatureCall) -> Result {
    if !abilities(device).contains(Abilities::PRE_COPY) {
        return Err(EINVAL);
    }
    if call.check(SupportedOps::Set, 0)? == Operation::Set {
        device.opt_in_to_precopy_info_v2();
    }
    Ok(())
}

/// The optional parts that the device has.
pub(crate) fn abilities(device: &Device) -> Abilities {
    Abilities::from_raw(device.migration_flags())
}

/// The next step of a device on its way from one state to another, both by number, for a driver
/// that implements single steps only.
///
/// # Errors
///
/// [`ArcRefusal`], with a kernel warning if the driver claims to be in a state that its device does
/// not have.
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

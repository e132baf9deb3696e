// SPDX-License-Identifier: GPL-2.0
//! Migration: the state of a device, and the files that its data come from and
//! go to.

use std::{
    mem,
    os::fd::{AsFd, FromRawFd, OwnedFd},
};

use rustix::io::{Errno, Result};
use vfio_uapi::{self as uapi, DeviceFeature, PrecopyInfo};

use crate::{
    device::{feature_arg, Device},
    request::{self, Arg},
};

const GET: u32 = uapi::DEVICE_FEATURE_GET;
const SET: u32 = uapi::DEVICE_FEATURE_SET;

/// How much a data file of a running device has.
pub fn precopy_info(file: impl AsFd) -> Result<PrecopyInfo> {
    let arg = Arg::new(&PrecopyInfo {
        argsz: mem::size_of::<PrecopyInfo>() as u32,
        ..Default::default()
    });
    arg.send(file, uapi::MIG_GET_PRECOPY_INFO)?;
    Ok(arg.get(0))
}

/// The argument that takes a device to a state.
pub fn state_arg(state: u32) -> Result<Arg> {
    let mut data = [0; 8];
    data[..4].copy_from_slice(&state.to_ne_bytes());
    feature_arg(SET | uapi::DEVICE_FEATURE_MIG_DEVICE_STATE, &data)
}

/// What the migration of a device is about.
impl Device {
    /// Which parts of migration the device can do: `MIGRATION_*`.
    pub fn migration_flags(&self) -> Result<u64> {
        let mut data = [0; 8];
        self.feature(GET | uapi::DEVICE_FEATURE_MIGRATION, &mut data)?;
        Ok(u64::from_ne_bytes(data))
    }

    /// The state that it is in: `DEVICE_STATE_*`.
    pub fn migration_state(&self) -> Result<u32> {
        let mut data = [0; 8];
        self.feature(GET | uapi::DEVICE_FEATURE_MIG_DEVICE_STATE, &mut data)?;
        request::from_bytes(&data).ok_or(Errno::INVAL)
    }

    /// Takes it to a state. If that begins to save or to resume there is a file.
    pub fn set_migration_state(&self, state: u32) -> Result<Option<OwnedFd>> {
        self.send_migration_state(&state_arg(state)?)
    }

    /// The same with an argument that was made before.
    pub fn send_migration_state(&self, arg: &Arg) -> Result<Option<OwnedFd>> {
        arg.send(self, uapi::DEVICE_FEATURE)?;
        let number: i32 = arg.get(mem::size_of::<DeviceFeature>() + 4);
        // SAFETY: The request made this descriptor, and only we know of it.
        Ok((number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) }))
    }

    /// How many bytes will come while it is stopped.
    pub fn migration_data_size(&self) -> Result<u64> {
        let mut data = [0; 8];
        self.feature(GET | uapi::DEVICE_FEATURE_MIG_DATA_SIZE, &mut data)?;
        Ok(u64::from_ne_bytes(data))
    }
}

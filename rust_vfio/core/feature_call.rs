// SPDX-License-Identifier: GPL-2.0

//! The header of a VFIO_DEVICE_FEATURE request, which is the same for all features.
//!
//! There is no lock: a request lives as long as one ioctl.
//!
//! Corresponds to the beginning of `vfio_ioctl_device_feature()` and to `vfio_check_feature()`;
//! contract 5.5.

use kernel::prelude::*;

use crate::{
    kernel::uaccess::UserAddr,
    logic::{
        argsz,
        features::{
            Operation,
            Request,
            SupportedOps,
            HEADER, //
        }, //
    }, //
};

/// A request for one feature: what is to be done, and where its data is.
pub(crate) struct FeatureCall {
    request: Request,
    data: UserAddr,
    len: usize,
}

impl FeatureCall {
    /// Creates the request whose header is at the user address `arg` and has been read already:
    /// `argsz` (bytes, header included) and `flags`.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if `argsz` is less than the 8 bytes of the header.
    /// - `EINVAL` if `flags` has an unknown bit, or asks to read and to write at once.
    pub(crate) fn new(argsz: u32, flags: u32, arg: UserAddr) -> Result<Self> {
        let len = argsz::behind(argsz, HEADER).map_err(|_| EINVAL)?;
        Ok(Self {
            request: Request::parse(flags).map_err(|_| EINVAL)?,
            data: arg.offset(usize::try_from(HEADER)?),
            len: usize::try_from(len)?,
        })
    }

    /// Returns the number of the feature.
    pub(crate) fn index(&self) -> u32 {
        self.request.index()
    }

    /// Returns the flags, the number of the feature included.
    pub(crate) fn flags(&self) -> u32 {
        self.request.flags()
    }

    /// Returns the number of bytes behind the header.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the user address of the data, which follows the header.
    pub(crate) fn data(&self) -> UserAddr {
        self.data
    }

    /// Returns what to do with a feature that supports `supported` and has `needed` bytes of data.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the request asks for an operation that is not in `supported`.
    /// - `EINVAL` if it is no probe and asks for no operation.
    /// - `EINVAL` if it is no probe and has less than `needed` bytes of data.
    #[doc(alias = "vfio_check_feature")]
    pub(crate) fn check(&self, supported: SupportedOps, needed: usize) -> Result<Operation> {
        let operation = self.request.check(supported, self.len, needed);
        operation.map_err(|_| EINVAL)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! One VFIO_DEVICE_FEATURE request: the envelope, which is the same for all features.
//!
//! Contract section 5.5.

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
    /// Reads the envelope at `arg`, of which `argsz` and `flags` are known.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `argsz` is shorter than the envelope, or if the flags make no sense.
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

    /// Returns the size of the data, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the data is in user memory.
    pub(crate) fn data(&self) -> UserAddr {
        self.data
    }

    /// Decides what to do with a feature that supports `supported` and has `needed` bytes of data.
    ///
    /// # Errors
    ///
    /// `EINVAL`; see [`Request::check`].
    #[doc(alias = "vfio_check_feature")]
    pub(crate) fn check(&self, supported: SupportedOps, needed: usize) -> Result<Operation> {
        let operation = self.request.check(supported, self.len, needed);
        operation.map_err(|_| EINVAL)
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Chains of capabilities that follow the structure which an ioctl returns.
//!
//! The handler of an ioctl owns a [`CapBuffer`], adds one capability after the other, and makes the
//! links of the finished chain count from the structure in front of it. There is no lock: a buffer
//! lives as long as one ioctl.
//!
//! Corresponds to the `vfio_info_cap_*()` functions of `drivers/vfio/vfio_main.c`; contract 4.3.
//!
//! Deviation: a capability that is too small for its own header is `EINVAL`. C rounds its size up,
//! and if that is 0 it writes the header behind the end of the buffer.

use kernel::prelude::*;

use crate::logic::caps;

pub(crate) use crate::views::info_cap::CapBuffer;

impl CapBuffer {
    /// Adds a capability of `size` bytes, header included, and returns its offset in the buffer, in
    /// bytes. What follows the header is zero. May sleep.
    ///
    /// # Errors
    ///
    /// The buffer is empty afterwards.
    ///
    /// - `EINVAL` if `size` is less than the 8 bytes of a header.
    /// - `ENOMEM`.
    /// - `EINVAL` if the driver has broken the links of the chain.
    #[doc(alias = "vfio_info_cap_add")]
    pub(crate) fn add(&mut self, size: usize, id: u16, version: u16) -> Result<usize> {
        let result = self.try_add(size, id, version);
        if result.is_err() {
            self.clear();
        }
        result
    }

    fn try_add(&mut self, size: usize, id: u16, version: u16) -> Result<usize> {
        let at = self.len();
        self.grow(caps::padded(size).map_err(|_| EINVAL)?)?;
        caps::append(self.bytes_mut(), at, id, version).map_err(|_| EINVAL)?;
        Ok(at)
    }

    /// Adds a capability with a header and these contents. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`CapBuffer::add`].
    #[doc(alias = "vfio_info_add_capability")]
    pub(crate) fn add_copy(&mut self, id: u16, version: u16, contents: &[u8]) -> Result {
        let size = contents.len().checked_add(caps::HEADER).ok_or(EINVAL)?;
        let at = self.add(size, id, version)?;
        let behind = self.bytes_mut().get_mut(at..).unwrap_or_default();
        let behind = behind.get_mut(caps::HEADER..).unwrap_or_default();
        for (to, from) in behind.iter_mut().zip(contents) {
            *to = *from;
        }
        Ok(())
    }

    /// Makes the links of the finished chain count from `by` bytes in front of it. Warns unless
    /// `by` is a multiple of 8, since capabilities would not be aligned then.
    #[doc(alias = "vfio_info_cap_shift")]
    pub(crate) fn shift(&mut self, by: usize) {
        kernel::warn_on!(by % caps::ALIGN != 0);
        if self.len() > 0 {
            // Only a driver that changed links by itself can make this fail. The links up to the
            // broken one are shifted then.
            kernel::warn_on!(caps::shift(self.bytes_mut(), by).is_err());
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Capabilities behind the answer of an ioctl: how a chain is collected.
//!
//! Who answers an ioctl owns a [`CapBuffer`], adds one capability after the other, and shifts the
//! finished chain to where user space will find it. There is no lock: a buffer lives as long as
//! one ioctl.
//!
//! Corresponds to the `vfio_info_cap_*` functions of `drivers/vfio/vfio_main.c`; contract section
//! 4.3. Unlike there, a capability without room for its header is an error.

use kernel::prelude::*;

use crate::logic::caps;

pub(crate) use crate::views::info_cap::CapBuffer;

impl CapBuffer {
    /// Adds a capability of `size` bytes, header included, and returns where it begins. What is
    /// behind the header is zero. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or `EINVAL` if `size` is less than a header. Either way the buffer is empty then.
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

    /// Adds a capability with these contents behind its header. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`CapBuffer::add`].
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

    /// Makes the links of the finished chain count from `by` bytes in front of it. `by` is a
    /// multiple of 8, so that capabilities stay aligned; otherwise the kernel warns.
    #[doc(alias = "vfio_info_cap_shift")]
    pub(crate) fn shift(&mut self, by: usize) {
        kernel::warn_on!(by % caps::ALIGN != 0);
        if self.len() > 0 {
            // A driver that changes links by itself gets a chain that ends early.
            kernel::warn_on!(caps::shift(self.bytes_mut(), by).is_err());
        }
    }
}
